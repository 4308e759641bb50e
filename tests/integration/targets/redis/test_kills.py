"""A worker that is killed leaves nothing running, and a target that the next plan describes truly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backup_operator.vocabulary.choices import RedisStrategy
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.restoring import KEYS, backup_of, left_behind, restore, target
from tests.support.redis_server import RedisServer, wait_until
from tests.support.tcp_server import CuttingRelay

MINE = {(2, b"mine"): b"1"}
REPLACE = {"strategy": RedisStrategy.REPLACE, "confirm": "127.0.0.1/all"}
COMMANDS_BYTES = 2_700_000
"""About what the commands of the fixture's keys take."""


@contextmanager
def worker(directory, url, strategy, backup) -> Iterator[subprocess.Popen[str]]:
    """A restore in a process of its own, which is killed in the end."""
    scratch, rdb = directory / "scratch", directory / "rdb"
    scratch.mkdir(exist_ok=True)
    with backup.open() as chunks:
        rdb.write_bytes(b"".join(chunks))
    path = secret(directory, "KILLED_URL", url).path
    argv = ["tests.integration.targets.redis.killed_worker", str(scratch), path, str(strategy), str(rdb)]
    command = [sys.executable, "-m", *argv, json.dumps(backup.keys_per_database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def run_to(process: subprocess.Popen[str], step: str) -> None:
    """Let it go on until this step begins, and leave it waiting there."""
    assert process.stdout is not None
    while (reached := process.stdout.readline().strip()) != step:
        assert reached
        go_on(process)


def go_on(process: subprocess.Popen[str]) -> None:
    """Give leave to go on from where it waits."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def nothing_runs(directory) -> None:
    """No throw-away server outlives the worker."""
    wait_until(
        lambda: not any(name.startswith("process") for name in left_behind(directory)),
        "the end of the throw-away server",
    )


@pytest.mark.parametrize("step", ["surveyed", "look", "clear"])
def test_until_the_backup_is_loaded_and_checked_replace_has_dropped_nothing(tmp_path, plain, step):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer() as server, server.client(2) as client:
        client.set("mine", "1")
        with worker(tmp_path, server.url(), RedisStrategy.REPLACE, backup) as killed:
            run_to(killed, step)
        nothing_runs(tmp_path)
        assert strings(server) == MINE
        restore(tmp_path, server.url(), backup, **REPLACE)
        assert strings(server) == strings(plain)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9], ids=["early", "half way", "late"])
@pytest.mark.parametrize("strategy", [RedisStrategy.REPLACE, RedisStrategy.MERGE])
def test_a_worker_killed_while_it_writes_leaves_keys_that_the_next_plan_counts(tmp_path, plain, part, strategy):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server, server.client(2) as client:
        client.set("mine", "1")
        killed: list[subprocess.Popen[str]] = []

        def kill() -> None:
            killed[0].kill()

        with (
            CuttingRelay(server.port, int(part * COMMANDS_BYTES), at_the_cut=kill) as relay,
            worker(tmp_path, relay.url, strategy, backup) as process,
        ):
            killed.append(process)
            run_to(process, "write")
            go_on(process)
            process.wait(60)
        nothing_runs(tmp_path)
        with server.client() as written:
            wait_until(lambda: settled(written), "the end of what the server was sent")
            there = written.dbsize()
        plan = target(tmp_path, server.url()).survey([backup])
        mine = MINE if strategy is RedisStrategy.MERGE else {}
        assert mine.items() <= strings(server).items() <= (strings(plain) | mine).items()
        restore(tmp_path, server.url(), backup, **REPLACE)
        assert strings(server) == strings(plain)

    assert 0 < there < KEYS
    assert f"is not empty: it holds {there + len(mine):,} keys" in plan.obstacles[0]


@pytest.mark.parametrize("step", ["write", "count", "done"])
def test_a_worker_killed_between_two_steps_leaves_none_or_all_of_the_keys(tmp_path, plain, step):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer() as server, server.client(2) as client:
        client.set("mine", "1")
        with worker(tmp_path, server.url(), RedisStrategy.REPLACE, backup) as killed:
            run_to(killed, step)
        nothing_runs(tmp_path)
        assert strings(server) == ({} if step == "write" else strings(plain))


def strings(server) -> dict[tuple[int, bytes], bytes]:
    """The keys of the databases that these tests write, all of them strings without a time to live."""
    found: dict[tuple[int, bytes], bytes] = {}
    for database in (0, 2):
        with server.client(database) as client:
            keys = list(client.scan_iter(count=10_000))
            found |= {(database, key): text for key, text in zip(keys, client.mget(keys) if keys else [], strict=True)}
    return found


def settled(client) -> bool:
    """Whether no other client is connected any more, so that nothing more is written."""
    return len([each for each in client.client_list() if each["id"] != str(client.client_id())]) <= 1

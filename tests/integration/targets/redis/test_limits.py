"""Targets near their limits, or that take no writes: said in the plan, or by counts afterwards."""

import re
from typing import Any

import pytest
import redis

from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from tests.integration.targets.redis.restoring import KEYS, backup_of, refused, restore, target
from tests.support.redis_server import RedisServer, wait_until

REPLACE: dict[str, Any] = {"strategy": RedisStrategy.REPLACE, "confirm": "127.0.0.1/all"}
MERGE: dict[str, Any] = {"strategy": RedisStrategy.MERGE, "confirm": "127.0.0.1/all"}
LARGE_KEYS = 300_000


def used_bytes(client) -> int:
    return int(client.info("memory")["used_memory"])


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_replace_waits_until_what_it_dropped_is_freed(tmp_path, policy):
    with RedisServer() as source, source.client() as client:
        client.execute_command("DEBUG", "POPULATE", LARGE_KEYS, "new", 100)
        backup = backup_of(tmp_path, source.url())

    with RedisServer(settings={"maxmemory-policy": policy}) as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", LARGE_KEYS, "old", 100)
        # full: both data sets together are twice what it takes
        client.config_set("maxmemory", int(used_bytes(client) * 1.1))
        applied = restore(tmp_path, server.url(), backup, **REPLACE)
        evicted = client.info("stats")["evicted_keys"]

    assert applied.counts == {"db0": LARGE_KEYS}
    assert evicted == 0


def test_keys_that_a_full_target_dropped_are_counted_and_the_restore_fails(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def shrink(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", used_bytes(client) + 1_500_000)

    with RedisServer(settings={"maxmemory-policy": "allkeys-random"}) as server:
        found = refused(tmp_path, server.url(), backup, shrink)

    assert found.reason is Reason.RESTORE_FAILED
    assert re.search(r"and then [\d,]+ keys in database 0 were missing there$", found.message)
    assert re.search(rf"127.0.0.1:{server.port} evicted [1-9][\d,]+ keys meanwhile\.", found.detail)
    assert "It was empty before; this empties it again" in found.hint


def test_keys_of_others_that_a_merge_drove_out_are_said(tmp_path):
    with RedisServer() as source, source.client() as client:
        client.set("new", "x" * 500_000)
        backup = backup_of(tmp_path, source.url())

    with RedisServer(settings={"maxmemory-policy": "volatile-ttl"}) as server, server.client() as client:
        for number in range(5_000):
            client.set(f"old:{number}", "x" * 2_000, ex=1_000)
        client.config_set("maxmemory", used_bytes(client) + 100_000)
        plan = target(tmp_path, server.url(), **MERGE).survey([backup])
        applied = restore(tmp_path, server.url(), backup, **MERGE)

    assert any("a target that is full drops keys (volatile-ttl)" in line for line in plan.lines)
    evicted = re.compile(r"The server is full and evicted [1-9][\d,]+ keys meanwhile; none of the backup's\.")
    assert any(evicted.fullmatch(note) for note in applied.notes)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        pytest.param({"min-replicas-to-write": "1"}, "NOREPLICAS", id="too few replicas"),
        pytest.param({"maxmemory": "1"}, "OOM", id="full"),
    ],
)
def test_a_server_that_takes_no_writes_is_an_obstacle_in_its_own_words(tmp_path, plain, settings, word):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings=settings) as server:
        obstacles = target(tmp_path, server.url()).survey([backup]).obstacles
        found = refused(tmp_path, server.url(), backup)

    assert any(f"127.0.0.1:{server.port} takes no writes: {word}" in each for each in obstacles)
    assert found.reason is Reason.TARGET_UNSUITABLE


def test_replace_makes_room_in_a_server_that_takes_no_writes_because_it_is_full(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer() as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", LARGE_KEYS, "old", 100)
        client.config_set("maxmemory", int(used_bytes(client) * 0.9))
        with pytest.raises(redis.OutOfMemoryError):
            client.set("mine", "1")
        merge = target(tmp_path, server.url(), **MERGE).survey([backup]).obstacles
        applied = restore(tmp_path, server.url(), backup, **REPLACE)

    assert any("takes no writes: OOM" in each for each in merge)
    assert applied.counts == {"db0": KEYS}


def test_a_server_whose_snapshots_fail_is_not_planned_for(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings={"save": "3600 1"}) as server, server.client() as client:
        client.set("mine", "1")
        server.directory.chmod(0o500)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the failure of a snapshot")
        found = refused(tmp_path, server.url(), backup, **REPLACE)
        assert client.get("mine") == b"1"
        server.directory.chmod(0o700)

    assert found.reason is Reason.SNAPSHOT_FAILED
    assert found.message == "the target takes no writes, because its own snapshots fail"
    assert found.hint.endswith("INFO persistence")


def test_without_a_safety_backup_a_stopped_restore_does_not_promise_one(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def fill_up(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", used_bytes(client) + 1_000_000)

    with RedisServer() as server, server.client() as client:
        client.set("mine", "1")
        found = refused(tmp_path, server.url(), backup, fill_up, has_safety_backup=False, **REPLACE)

    assert found.message.endswith(" of 20,000 keys were written; what it held before was dropped")
    assert found.hint.startswith("No safety backup was made")

"""Files of the old scripts: without an entry, an RDB with the end mark of SYNC behind it, and append-only files."""

import os
from typing import Any

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.redis.restoring import artifact, backup_of, contents, left_behind, restore, target
from tests.support.redis_server import RedisServer, wait_until
from tests.support.source_redis import fill


def old_aof(content):
    return artifact(content, name="redis_aof_20231201_020000.aof.gz", kind=ArtifactKind.REDIS_AOF)


@pytest.fixture(scope="module")
def filled():
    with RedisServer() as server, server.client() as client:
        fill(client, users=50)
        yield server


def test_an_rdb_without_an_entry_and_with_the_end_mark_behind_it_restores(tmp_path, filled):
    with backup_of(tmp_path, filled.url()).open() as chunks:
        old = artifact(b"".join(chunks) + os.urandom(40), name="redis_20231201_020000.rdb.gz.gpg")

    with RedisServer() as server:
        plan = target(tmp_path, server.url()).survey([old])
        restore(tmp_path, server.url(), old)
        assert contents(server) == contents(filled)

    assert "no entry says what keys it holds" in plan.lines[0]


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_an_append_only_file_restores(tmp_path, preamble):
    settings = {"appendonly": "yes", "aof-use-rdb-preamble": preamble, "appendfsync": "always"}
    with RedisServer(version="redis-6.2", settings=settings) as old, old.client() as client:
        client.set("before the rewrite", "1")
        client.bgrewriteaof()
        wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the rewrite")
        wait_until(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "ok", "the rewrite")
        with client.pipeline(transaction=True) as pipe:
            pipe.rpush("list", "a", "b")
            pipe.incr("counter")
            pipe.execute()
        copied = old_aof((old.directory / "appendonly.aof").read_bytes())
        expected = contents(old)

    with RedisServer() as server:
        restore(tmp_path, server.url(), copied)
        assert contents(server) == expected


SET_A = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
CUT = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1"
MULTI = b"*1\r\n$5\r\nMULTI\r\n"


@pytest.mark.parametrize(
    ("end", "left_out_bytes"),
    [
        pytest.param(CUT, len(CUT), id="in a command"),
        pytest.param(
            MULTI + SET_A.replace(b"a", b"b") + CUT, len(CUT), id="in a transaction, of which nothing is kept"
        ),
        pytest.param(b"*", 1, id="in a length"),
    ],
)
def test_an_append_only_file_that_is_cut_at_its_end_restores_without_it_and_says_so(tmp_path, end, left_out_bytes):
    copied = old_aof(SET_A + end)

    with RedisServer() as server:
        into = target(tmp_path, server.url())
        plan = into.survey([copied])
        applied = into.apply([copied], lambda _: None)
        assert contents(server) == {(0, b"a"): ((b"string", b"1"), -1)}

    assert any(f"its last {left_out_bytes} bytes are left out" in line for line in plan.lines)
    assert applied.notes[1] == (
        f"The last {left_out_bytes} bytes of the append-only file, a cut command, were left out, "
        "and a transaction that they belong to."
    )
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "reason", "hint"),
    [
        pytest.param(
            SET_A + b"\0" * 100 + SET_A, Reason.RESTORE_FAILED, "redis-check-aof shows where", id="broken in the middle"
        ),
        pytest.param(
            b"*1\r\n$7\r\nGRAPH.X\r\n" + SET_A, Reason.MODULE_DATA_UNSUPPORTED, "at least as new", id="of a module"
        ),
        pytest.param(b"REDIS0009\xfa\x0caof-preamble\xc0\x01\xfe", Reason.RESTORE_FAILED, "", id="cut in its RDB"),
    ],
)
def test_an_append_only_file_that_is_damaged_leaves_the_target_untouched(tmp_path, content, reason, hint):
    with RedisServer() as server:
        into = target(tmp_path, server.url())
        with pytest.raises(TargetError) as caught:
            into.survey([old_aof(content)])
        into.close()
        assert contents(server) == {}

    assert caught.value.reason is reason
    assert hint in caught.value.hint
    assert left_behind(tmp_path) == []


def test_an_empty_append_only_file_restores_nothing_and_clears_nothing(tmp_path):
    replace: dict[str, Any] = {"strategy": RedisStrategy.REPLACE, "confirm": "127.0.0.1/all"}
    with RedisServer() as server, server.client() as client:
        client.set("mine", "1")
        into = target(tmp_path, server.url(), **replace)
        obstacles = into.survey([old_aof(b"")]).obstacles
        with pytest.raises(TargetError):
            into.apply([old_aof(b"")], lambda _: None)
        assert client.get("mine") == b"1"

    assert len(obstacles) == 1
    assert obstacles[0].startswith("redis_aof_20231201_020000.aof.gz holds no keys, and no entry says")


def test_an_append_only_file_that_an_entry_describes_may_not_be_cut(tmp_path):
    with RedisServer() as server, pytest.raises(TargetError):
        target(tmp_path, server.url()).survey([artifact(SET_A + CUT, {0: 1}, kind=ArtifactKind.REDIS_AOF)])


def test_an_empty_backup_restores_to_nothing(tmp_path):
    with RedisServer() as source:
        backup = backup_of(tmp_path, source.url())

    with RedisServer() as server:
        applied = restore(tmp_path, server.url(), backup)

    assert applied.counts == {}

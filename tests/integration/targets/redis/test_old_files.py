"""Files of the old scripts: without an entry, an RDB with the end mark of SYNC behind it, and append-only files."""

import os

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.redis.restoring import artifact, backup_of, contents, left_behind, restore, target
from tests.support.redis_server import RedisServer, wait_until
from tests.support.source_redis import fill


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
        copied = artifact((old.directory / "appendonly.aof").read_bytes(), name="redis_aof_20231201_020000.aof.gz")
        expected = contents(old)

    with RedisServer() as server:
        restore(tmp_path, server.url(), copied)
        assert contents(server) == expected


def test_an_append_only_file_that_is_cut_leaves_the_target_untouched(tmp_path):
    cut = artifact(
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1", name="redis_aof_1.aof.gz"
    )

    with RedisServer() as server:
        with pytest.raises(TargetError) as caught:
            target(tmp_path, server.url()).apply([cut], lambda _: None)
        assert contents(server) == {}

    assert caught.value.reason is Reason.RESTORE_FAILED
    assert left_behind(tmp_path) == []


def test_an_empty_backup_restores_to_nothing(tmp_path):
    with RedisServer() as source:
        backup = backup_of(tmp_path, source.url())

    with RedisServer() as server:
        applied = restore(tmp_path, server.url(), backup)

    assert applied.counts == {}

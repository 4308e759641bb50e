"""A backup that cannot be read or loaded leaves the target untouched."""

import pytest

from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED
from tests.integration.targets.redis.restoring import KEYS, artifact, backup_of, left_behind, refused, target
from tests.support.redis_server import RedisServer


def test_a_stream_that_breaks_leaves_the_target_untouched(tmp_path, plain):
    whole = backup_of(tmp_path, plain.url())
    with whole.open() as chunks:
        half = b"".join(chunks)[:100_000]
    broken = artifact(half, {0: KEYS}, breaks_with=DumpIncomplete("the file ends before its end mark"))

    with RedisServer() as server:
        into = target(tmp_path, server.url(), strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all")
        with server.client() as client:
            client.set("mine", "1")
        with pytest.raises(DumpIncomplete):
            into.apply([broken], lambda _: None)
        with server.client() as client:
            assert client.keys() == [b"mine"]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda rdb: rdb[:100_000], Reason.RESTORE_FAILED, id="an RDB that is cut"),
        pytest.param(lambda rdb: b"REDIS9999" + rdb[9:], Reason.MODULE_DATA_UNSUPPORTED, id="an RDB of the future"),
    ],
)
def test_what_the_throw_away_server_cannot_load_leaves_the_target_untouched(tmp_path, plain, change, reason):
    with backup_of(tmp_path, plain.url()).open() as chunks:
        bad = artifact(change(b"".join(chunks)), {0: KEYS})

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), bad)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is reason
    assert UNTOUCHED in found.detail


def test_fewer_keys_than_the_entry_says_leave_the_target_untouched(tmp_path, plain):
    with backup_of(tmp_path, plain.url()).open() as chunks:
        short = artifact(b"".join(chunks), {0: KEYS + 1})

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), short)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is Reason.VERIFICATION_FAILED
    assert found.message == "the backup's entry says 20,001 keys in database 0, and it loads 20,000 keys in database 0"


def test_a_redis_server_that_is_not_there_is_named(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    found = refused(tmp_path, plain.url("/1"), backup, redis_server="/nowhere/redis-server")

    assert found.message == "/nowhere/redis-server cannot be started"

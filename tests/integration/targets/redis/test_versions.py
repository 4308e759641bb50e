"""Newer to older servers, Redis to Valkey and back: what a server cannot hold is refused before anything is written."""

import pytest

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.redis.restoring import artifact, backup_of, contents, restore, target
from tests.support.redis_server import RedisServer, server_program
from tests.support.source_redis import FAR_AWAY_MS, fill

NEWEST = str(server_program("redis-8.2"))
"""The throw-away server of these tests, as in the backup image: newer than the sources."""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """The newest redis-check-rdb: the server under another name."""
    program = tmp_path_factory.mktemp("programs") / "redis-check-rdb"
    program.symlink_to(NEWEST)
    return str(program)


@pytest.fixture(scope="module")
def newest():
    """A Redis 8 with everything but what older ones lack."""
    with RedisServer(version="redis-8.2") as server, server.client() as client:
        fill(client, users=50)
        client.select(2)
        client.delete("hash:fields that expire")
        yield server


@pytest.mark.parametrize("version", ["redis-6.2", "host", "redis-8.2", "valkey-9.1"])
def test_a_backup_of_redis_8_restores_into_older_servers_and_valkey(tmp_path, newest, check, version):
    backup = backup_of(tmp_path, newest.url(), check=check)

    with RedisServer(version=version) as server:
        restore(tmp_path, server.url(), backup, redis_server=NEWEST, key_pattern="*")
        found, expected = contents(server), contents(newest)

    if version == "redis-6.2":
        expected = {place: (value, min(expires, 0)) for place, (value, expires) in expected.items()}
    assert found == expected


@pytest.mark.parametrize("version", ["host", "redis-8.2"])
def test_a_backup_of_valkey_restores_into_redis(tmp_path, check, version):
    with RedisServer(version="valkey-9.1") as source, source.client() as client:
        fill(client, users=50)
        client.execute_command("SELECT", 2)
        client.delete("hash:fields that expire")
        backup = backup_of(tmp_path, source.url(), check=check)
        with RedisServer(version=version) as server:
            restore(tmp_path, server.url(), backup, redis_server=NEWEST)
            assert contents(server) == contents(source)


@pytest.fixture
def fields_that_expire(tmp_path, check):
    """A backup that only Redis 7.4 and later can hold."""
    with RedisServer(version="redis-8.2") as source, source.client() as client:
        client.hset("hash", mapping={"stays": "1", "goes": "2"})
        client.execute_command("HPEXPIREAT", "hash", FAR_AWAY_MS, "FIELDS", 1, "goes")
        yield backup_of(tmp_path, source.url(), check=check)


@pytest.mark.parametrize("version", ["redis-6.2", "host"])
def test_what_an_older_server_cannot_hold_is_an_obstacle_of_the_plan(tmp_path, fields_that_expire, version):
    with RedisServer(version=version) as server:
        into = target(tmp_path, server.url(), redis_server=NEWEST)
        obstacles = into.survey([fields_that_expire]).obstacles
        with pytest.raises(TargetError) as caught:
            into.apply([fields_that_expire], lambda _: None)
        assert contents(server) == {}

    words = f"the backup needs HPEXPIREAT, which Redis has from 7.4 on, and 127.0.0.1:{server.port} does not know it"
    assert obstacles == (f"{words}. Restore into a newer server.",)
    assert caught.value.reason is Reason.TARGET_UNSUITABLE


@pytest.mark.parametrize("version", ["redis-8.2", "valkey-9.1"])
def test_fields_that_expire_come_back_in_a_server_that_has_them(tmp_path, fields_that_expire, version):
    with RedisServer(version=version) as server, server.client() as client:
        restore(tmp_path, server.url(), fields_that_expire, redis_server=NEWEST)
        times = client.execute_command("HPEXPIRETIME", "hash", "FIELDS", 2, "stays", "goes")

    assert times == [-1, FAR_AWAY_MS]


def test_vector_sets_are_refused_in_words_and_the_other_keys_restore(tmp_path, check):
    with RedisServer(version="redis-8.2") as source, source.client() as client:
        client.execute_command("VADD", "vectors", "VALUES", 2, "1", "0.5", "element")
        client.set("user:1", "anna")
        backup = backup_of(tmp_path, source.url(), check=check)

    with RedisServer(version="redis-8.2") as server:
        with pytest.raises(TargetError) as caught:
            target(tmp_path, server.url(), redis_server=NEWEST).survey([backup])
        assert contents(server) == {}
        applied = restore(tmp_path, server.url(), backup, redis_server=NEWEST, key_pattern="user:*")

    assert caught.value.reason is Reason.MODULE_DATA_UNSUPPORTED
    assert caught.value.hint.startswith("Vector sets do this to Redis")
    assert applied.counts == {"db0": 1}


def test_an_old_server_s_append_only_file_restores_through_the_newest(tmp_path):
    content = b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
    copied = artifact(content, name="redis_aof_20231201_020000.aof.gz", kind=ArtifactKind.REDIS_AOF)

    with RedisServer(version="redis-8.2") as server:
        restore(tmp_path, server.url(), copied, redis_server=NEWEST)
        assert contents(server) == {(3, b"a"): ((b"string", b"1"), -1)}

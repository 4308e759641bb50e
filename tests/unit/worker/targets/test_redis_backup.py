"""What is known of a Redis backup before it is loaded, and what stands in a target's way."""

from contextlib import nullcontext

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, RedisStrategy
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.redis_backup import memory_in, redis_backup
from backup_operator.worker.targets.redis_survey import described, overwritten

MIB = 1 << 20
HEAD = b"REDIS0011\xfa\x09redis-ver\x067.0.15\xfa\x08used-mem\xc2\x00\x00\x10\x00\xfa\x08aof-base\xc0\x00"


def stored(kind=ArtifactKind.REDIS_RDB, server=None, keys=None, head=HEAD) -> RestoredArtifact:
    return RestoredArtifact(
        kind=kind,
        name="redis_20260102_030405.rdb.gz.gpg",
        plain_bytes=40 * MIB,
        open=lambda: nullcontext(iter([head[:3], head[3:]])),
        keys_per_database=keys,
        server=server or {},
    )


def test_an_append_only_file_of_the_old_scripts_is_taken_too():
    assert redis_backup([stored(kind=ArtifactKind.REDIS_AOF, head=b"*2\r\n")]).memory_bytes is None


@pytest.mark.parametrize(
    ("encoded", "found"),
    [
        (b"\xc0\x64", 100),
        (b"\xc1\x00\x80", 32768),
        (b"\xc2\x00\x00\x10\x00", MIB),
        (b"\x0a4294967296", 2**32),
        (b"", None),
        (b"\x03abc", None),
    ],
)
def test_the_memory_of_the_source_is_read_from_the_head(encoded, found):
    assert memory_in(b"REDIS0011\xfa\x08used-mem" + encoded) == found


def test_an_rdb_without_that_field_says_nothing():
    assert memory_in(b"REDIS0003\xfe\x00") is None


def test_a_backup_of_one_database_has_its_share_of_the_memory():
    server = {"database": 2, "keysBefore": {"0": 300, "2": 100}}

    assert redis_backup([stored(server=server)]).memory_bytes == MIB // 4


@pytest.mark.parametrize("artifacts", [[], [stored(), stored()], [stored(kind=ArtifactKind.POSTGRES_PLAIN)]])
def test_anything_but_one_redis_artifact_is_refused(artifacts):
    with pytest.raises(TargetError, match="a Redis takes one RDB"):
        redis_backup(artifacts)


@pytest.mark.parametrize(
    ("source", "number", "keys"),
    [
        pytest.param("all", None, {0: 5, 3: 7}, id="everything to everything"),
        pytest.param("all", 3, {3: 7}, id="everything to one"),
        pytest.param("all", 1, {}, id="everything to one that it lacks"),
        pytest.param(3, None, {0: 5, 3: 7}, id="one to its own place"),
        pytest.param(3, 1, {1: 12}, id="one to another"),
    ],
)
def test_the_number_in_the_url_decides_which_keys_go_where(source, number, keys):
    backup = redis_backup([stored(server={"database": source}, keys={0: 5, 3: 7})])

    assert backup.keys(RedisUrl("cache", 6379, uses_tls=False, database=number)) == keys


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "no keys"),
        ({0: 1}, "1 key in database 0"),
        ({9: 3, 0: 1200}, "1,203 keys (1,200 in database 0, 3 in database 9)"),
        ({0: 2, 1: 1, 2: 3}, "6 keys (2 in database 0, 1 in database 1, 3 in database 2)"),
    ],
)
def test_keys_are_said_by_database(keys, words):
    assert described(keys) == words


@pytest.mark.parametrize(
    ("strategy", "number", "words"),
    [
        (RedisStrategy.FAIL_IF_NOT_EMPTY, 0, ""),
        (RedisStrategy.MERGE, 4, "cache.example/4"),
        (RedisStrategy.REPLACE, None, "cache.example/all"),
    ],
)
def test_what_confirm_must_say_names_host_and_database_without_port(strategy, number, words):
    assert overwritten(RedisUrl("cache.example", 7000, uses_tls=True, database=number), strategy) == words

"""What is known of a Redis backup before it is loaded, and what stands in a target's way."""

from contextlib import nullcontext

import pytest

from backup_operator.contract.order import SecretFile
from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind, ExistingKeys, RedisStrategy
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.redis_backup import memory_in, redis_backup
from backup_operator.worker.targets.redis_probe import Probed
from backup_operator.worker.targets.redis_survey import Surveyed, described, overwritten, plan_lines

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
        ({9: 3, 0: 1200}, "1,200 keys in database 0 and 3 in database 9"),
        ({0: 2, 1: 1, 2: 3}, "2 keys in database 0, 1 in database 1 and 3 in database 2"),
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


def test_a_plan_reads_like_a_page():
    url = RedisUrl("cache", 6379, uses_tls=True, database=4)
    surveyed = Surveyed(url, {"redis_version": "7.2.4", "db4": "keys=3,expires=0", "db0": "keys=9,expires=0"}, Probed())
    order = RedisTargetOrder(
        url=SecretFile(path="/secrets/url", described="key REDIS_URL of Secret prod/app"),
        strategy=RedisStrategy.MERGE,
        existing=ExistingKeys.REPLACE,
        key_pattern="user:*",
    )
    backup = redis_backup(
        [stored(server={"database": "all", "product": "Redis", "version": "8.0.2"}, keys={0: 5, 4: 200_000})]
    )

    assert plan_lines(surveyed, order, backup, 512 * MIB) == (
        "The backup is redis_20260102_030405.rdb.gz.gpg, 40.0 MiB of Redis 8.0.2: "
        "5 keys in database 0 and 200,000 in database 4.",
        "The target is Redis 7.2.4 at cache:6379, over TLS; database 4 of it holds 3 keys.",
        "The backup is loaded into a throw-away redis-server in the pod, which takes about 97.0 MiB of the 512.0 MiB "
        "that the pod may use, and its keys are counted there.",
        "The URL says /4: only that database's keys are restored, and no other is touched. "
        "Only keys that match user:* are restored.",
        "Merge, existing keys are replaced: each key of the backup takes the place of the target's, whole, in one "
        "transaction (a key of more than 16 MiB: its beginning); other keys stay as they are.",
        "Function libraries belong to no database and to no key: they are left alone.",
        "Then 200,000 keys are written as plain commands and counted; all of it takes about 6 s.",
        "A network restore of Redis is not atomic: while it runs, readers see a part of the keys. "
        "Stop the applications that write to this server first.",
    )

"""The plan of a restore into Redis: a page of sentences, in the order in which things happen."""

from contextlib import nullcontext

import pytest

from backup_operator.contract.order import SecretFile
from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind, ExistingKeys, RedisStrategy
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.redis_backup import Backup, Loaded
from backup_operator.worker.targets.redis_plan import Planned, plan_lines
from backup_operator.worker.targets.redis_probe import Probed
from backup_operator.worker.targets.redis_survey import Surveyed

MIB = 1 << 20
SECRET = SecretFile(path="/secrets/url", described="key REDIS_URL of Secret prod/app")
INFO = {"redis_version": "7.2.4", "db4": "keys=3,expires=0", "db0": "keys=9,expires=0", "connected_clients": "4"}
NOT_ATOMIC = (
    "A network restore of Redis is not atomic: while it runs, readers see a part of the keys. "
    "Stop the applications that use this server first."
)


def planned(*, database=None, loaded=None, keys=None, server=None, info=INFO, libraries=None, safety=True, **order):
    artifact = RestoredArtifact(
        kind=ArtifactKind.REDIS_RDB,
        name="redis_20260102_030405.rdb.gz.gpg",
        plain_bytes=40 * MIB,
        open=lambda: nullcontext(iter([])),
        keys_per_database=keys,
        server=server or {},
    )
    url = RedisUrl("cache", 6379, uses_tls=True, database=database)
    return Planned(
        surveyed=Surveyed(url, info, Probed(), libraries),
        order=RedisTargetOrder(url=SECRET, **order),
        backup=Backup(artifact, MIB),
        loaded=loaded,
        limit_bytes=512 * MIB,
        has_safety_backup=safety,
    )


def test_a_plan_reads_like_a_page():
    page = plan_lines(
        planned(
            database=4,
            keys={0: 5, 4: 200_000},
            server={"database": "all", "product": "Redis", "version": "8.0.2"},
            loaded=Loaded({0: 5, 4: 199_990}, 10, {4: 120_000}, 20 * MIB, seconds=1.2),
            strategy=RedisStrategy.MERGE,
            existing=ExistingKeys.REPLACE,
            key_pattern="user:*",
            safety=False,
        )
    )

    assert page == (
        "The backup is redis_20260102_030405.rdb.gz.gpg, 40.0 MiB of Redis 8.0.2: "
        "200,005 keys (5 in database 0, 200,000 in database 4).",
        "Loaded into a throw-away redis-server in the pod, which takes about 97.0 MiB of memory (the pod may use "
        "512.0 MiB): 199,995 keys (5 in database 0, 199,990 in database 4) are there; 10 keys expired since it was "
        "made. That took 1.2 s for this plan.",
        "The target is Redis 7.2.4 at cache:6379, over TLS; database 4 of it holds 3 keys. "
        "3 other clients are connected to it now.",
        "The URL says /4: only that database's keys are restored, and no other is touched. "
        "Only keys that match user:* are restored.",
        "No safety backup is made: what the restore drops or overwrites cannot be brought back.",
        "Merge, existing keys are replaced: each key of the backup takes the place of the target's, whole, in one "
        "transaction (a key of more than 16 MiB: its beginning); other keys stay as they are.",
        "Function libraries belong to no database and to no key: they are left alone.",
        "Then 120,000 keys are written as plain commands and counted; all of it takes about 5 s.",
        NOT_ATOMIC,
    )


def test_a_replace_names_the_libraries_that_go_and_come_and_the_room():
    limited = {**INFO, "maxmemory": str(64 * MIB), "used_memory_startup": str(MIB), "maxmemory_policy": "allkeys-lru"}
    page = plan_lines(
        planned(
            keys={0: 7},
            loaded=Loaded({0: 7}, 0, {0: 7}, 2 * MIB, libraries=("new",)),
            info={**limited, "connected_slaves": "1"},
            libraries={"old": b"#!lua name=old"},
            strategy=RedisStrategy.REPLACE,
        )
    )

    assert page[2:6] == (
        "The target is Redis 7.2.4 at cache:6379, over TLS; it holds 12 keys (9 in database 0, 3 in database 4). "
        "3 other clients are connected to it now. 1 replica of it follows every change.",
        "The data takes about 2.0 MiB there, and has room for 63.0 MiB at most: its maxmemory is 64.0 MiB, "
        "and a target that is full drops keys (allkeys-lru); dropped keys are counted afterwards.",
        "Replace: every database is emptied first, now 12 keys (9 in database 0, 3 in database 4); "
        "then the backup is written.",
        "The target's function libraries (old) are dropped. The function libraries of the backup (new) are loaded.",
    )


def test_a_cut_append_only_file_is_said_to_be_one():
    page = plan_lines(planned(loaded=Loaded({0: 1}, 0, {0: 1}, MIB, left_out_bytes=37)))

    assert page[0].endswith("; no entry says what keys it holds.")
    assert page[2].startswith("The append-only file ends in the middle of a command: its last 37 bytes are left out")
    assert page[-2] == "Then 1 key is written as plain commands and counted; all of it takes about 1 s."


@pytest.mark.parametrize(
    ("order", "first_word"),
    [
        ({"strategy": RedisStrategy.FAIL_IF_NOT_EMPTY}, "FailIfNotEmpty"),
        ({"strategy": RedisStrategy.REPLACE}, "Replace"),
        ({"strategy": RedisStrategy.MERGE, "existing": ExistingKeys.KEEP}, "Merge"),
    ],
)
def test_a_plan_whose_backup_does_not_fit_the_pod_says_all_that_is_known(order, first_word):
    page = plan_lines(planned(keys={0: 5}, **order))

    assert page[1] == (
        "It is loaded into a throw-away redis-server in the pod, which takes about 97.0 MiB of memory "
        "(the pod may use 512.0 MiB), and its keys are counted there."
    )
    assert any(line.startswith(first_word) for line in page)
    assert page[-2:] == (
        "Then 5 keys are written as plain commands and counted; all of it takes about 2 s.",
        NOT_ATOMIC,
    )

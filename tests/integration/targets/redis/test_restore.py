"""Restores into real servers: every type, value, time to live and database, by each strategy."""

import pytest

from tests.integration.targets.redis.restoring import backup_of, contents, left_behind, target
from tests.support.redis_server import RedisServer
from tests.support.source_redis import fill

ALL_DATABASES = range(16)


@pytest.fixture(scope="module")
def filled():
    with RedisServer() as server, server.client() as client:
        fill(client, users=1_000)
        yield server


@pytest.fixture
def empty():
    with RedisServer() as server:
        yield server


def test_every_type_value_database_time_to_live_and_function_comes_back(tmp_path, filled, empty):
    steps: list[str] = []
    backup = backup_of(tmp_path, filled.url())
    into = target(tmp_path, empty.url())

    plan = into.survey([backup])
    applied = into.apply([backup], steps.append)

    assert plan.obstacles == ()
    assert plan.overwritten == ""
    assert contents(empty) == contents(filled)
    with empty.client() as copy, filled.client() as original:
        assert copy.function_list(withcode=True) == original.function_list(withcode=True)
    assert applied.counts == {f"db{number}": keys for number, keys in (backup.keys_per_database or {}).items()}
    assert steps == ["load", "prepare", "write", "count"]
    assert left_behind(tmp_path) == []

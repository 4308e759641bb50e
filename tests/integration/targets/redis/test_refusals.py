"""Targets that a restore does not fit are refused before anything is written."""

import re
from typing import Any

import pytest

from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, TargetError
from tests.integration.redis.dumping import dump
from tests.integration.targets.redis.restoring import KEYS, backup_of, refused, target
from tests.support.redis_server import RedisServer


def test_data_that_does_not_fit_the_target_is_refused_before_anything_is_written(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer(settings={"maxmemory": "3mb"}) as server:
        found = refused(tmp_path, server.url(), backup)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is Reason.TARGET_UNSUITABLE
    assert re.search(
        r"the data takes about [\d.]+ MiB, and 127.0.0.1:\d+ has room for .*refuse the rest", found.message
    )


def test_data_larger_than_the_pods_memory_is_refused(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server:
        into = target(tmp_path, server.url(), memory_limit_bytes=64 << 20)
        obstacles = into.survey([backup]).obstacles
        found = refused(tmp_path, server.url(), backup, memory_limit_bytes=64 << 20)

    assert len(obstacles) == 1
    assert re.match(r"loading the backup takes about 1\d\d\.\d MiB of memory, and the pod has 64\.0 MiB", obstacles[0])
    assert found.reason is Reason.TARGET_UNSUITABLE


def test_two_restores_into_one_server_and_a_backup_beside_one_do_not_overlap(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    merge: dict[str, Any] = {"strategy": RedisStrategy.MERGE, "confirm": "127.0.0.1/all"}
    others: list[TargetError | SourceError] = []
    plans: list[tuple[str, ...]] = []

    def begin_others(step: str) -> None:
        if step == "write":
            (tmp_path / "other").mkdir()
            plans.append(target(tmp_path / "other", server.url(), **merge).survey([backup]).obstacles)
            others.append(refused(tmp_path / "other", server.url(), backup, **merge))
            with pytest.raises(SourceError) as caught:
                dump(tmp_path, server.url())
            others.append(caught.value)

    with RedisServer() as server:
        applied = target(tmp_path, server.url()).apply([backup], begin_others)
        dump(tmp_path, server.url())

    another = f"another restore is writing to 127.0.0.1:{server.port}, from 127.0.0.1:"
    assert plans[0][0].startswith(another)
    assert [found.reason for found in others] == [Reason.TARGET_IN_USE, Reason.RESTORE_RUNNING]
    assert others[0].message.startswith(another)
    assert others[1].retryable
    assert applied.counts == {"db0": KEYS}


def test_a_replica_is_refused_and_its_master_named(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings={"replicaof": f"127.0.0.1 {plain.port}"}) as replica:
        obstacles = target(tmp_path, replica.url()).survey([backup]).obstacles

    assert f"127.0.0.1:{replica.port} is a replica of 127.0.0.1:{plain.port}" in obstacles[0]


def test_a_node_of_a_cluster_is_refused_in_words(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings={"cluster-enabled": "yes"}) as node:
        obstacles = target(tmp_path, node.url()).survey([backup]).obstacles
        found = refused(tmp_path, node.url(), backup)

    assert obstacles[0].startswith(f"127.0.0.1:{node.port} is a node of a Redis Cluster")
    assert found.reason is Reason.CLUSTER_MODE_UNSUPPORTED


def test_a_server_with_fewer_databases_than_the_backup_needs_is_refused(tmp_path):
    with RedisServer() as source, source.client(9) as client:
        client.set("a", "1")
        backup = backup_of(tmp_path, source.url())
    with RedisServer(settings={"databases": "4"}) as server:
        obstacles = target(tmp_path, server.url()).survey([backup]).obstacles
        found = refused(tmp_path, server.url(), backup)

    assert obstacles[0].startswith(f"127.0.0.1:{server.port} has no database 9, and the backup needs it")
    assert found.reason is Reason.DATABASE_MISSING


def test_a_server_that_cannot_be_reached_is_told_as_a_target(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer() as gone:
        url = gone.url()

    with pytest.raises(TargetError) as caught:
        target(tmp_path, url).survey([backup])

    assert caught.value.reason is Reason.CONNECTION_REFUSED


def test_a_wrong_password_is_told(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(password="right") as server, pytest.raises(TargetError) as caught:
        target(tmp_path, server.url(password="wrong")).survey([backup])

    assert caught.value.reason is Reason.AUTHENTICATION_FAILED
    assert "wrong" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"

"""Failures of real servers: each with its own reason, and words that help."""

import errno
import socket
from collections.abc import Callable

import pytest
import redis

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SecretMissing, SourceError
from backup_operator.worker.sources.redis import RedisSource
from tests.integration.redis.dumping import dump, fault, source
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, wait_until
from tests.support.source_redis import fill


def read_meanwhile(made: RedisSource, meanwhile: Callable[[], object]) -> None:
    with made.dumps()[0].stream() as chunks:
        for _chunk in chunks:
            meanwhile()


def test_a_database_number_that_the_server_does_not_have_is_missing(tmp_path):
    with RedisServer(settings={"databases": "4"}) as server:
        found = fault(tmp_path, server.url("/4"))

    assert found.reason is Reason.DATABASE_MISSING
    assert found.hint.endswith("CONFIG GET databases")


def test_a_full_server_has_too_many_connections(tmp_path):
    with RedisServer(settings={"maxclients": "1"}) as server, _only_client(server) as client:
        client.ping()
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.TOO_MANY_CONNECTIONS
    assert found.retryable


def test_a_cluster_node_is_refused(tmp_path):
    with RedisServer(settings={"cluster-enabled": "yes", "cluster-port": str(free_port())}) as server:
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.CLUSTER_MODE_UNSUPPORTED
    assert not found.retryable


def test_a_server_that_loads_is_retried(tmp_path):
    with RedisServer() as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 200_000, "key", 30)
        _facts, whole = dump(tmp_path, server.url())
    (tmp_path / "dump.rdb").write_bytes(whole)
    slowly = {"key-load-delay": "1000", "loading-process-events-interval-bytes": "1024"}

    with RedisServer(rdb=tmp_path / "dump.rdb", settings=slowly, waits_for_start=False) as server:
        wait_until(lambda: _listens(server.port), "the server's port")
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.SERVER_LOADING
    assert found.retryable


def test_a_replica_that_lost_its_master_is_not_ready(tmp_path):
    with RedisServer(settings={"replicaof": f"127.0.0.1 {free_port()}"}) as server:
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.SERVER_NOT_READY
    assert found.retryable


def test_a_snapshot_that_cannot_be_written_has_failed(tmp_path):
    with RedisServer(settings={"repl-diskless-sync": "no"}) as server, server.client() as client:
        client.set("key", "value")
        server.directory.chmod(0o500)
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.SNAPSHOT_FAILED
    assert found.retryable


def test_a_server_that_dies_in_the_middle_gives_no_good_end(tmp_path):
    with RedisServer(settings={"rdb-key-save-delay": "200"}) as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000, "key", 300)
        made = source(tmp_path, server.url())
        made.preflight()
        with pytest.raises(SourceError) as caught:
            read_meanwhile(made, server.stop)

    assert caught.value.reason is Reason.CONNECTION_LOST
    assert caught.value.retryable


def test_a_connection_that_the_server_kills_gives_no_good_end(tmp_path):
    with RedisServer(settings={"rdb-key-save-delay": "200"}) as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000, "key", 300)
        made = source(tmp_path, server.url())
        made.preflight()
        with pytest.raises(SourceError) as caught:
            read_meanwhile(made, lambda: client.execute_command("CLIENT", "KILL", "TYPE", "replica"))

    assert caught.value.reason in (Reason.CONNECTION_LOST, Reason.SNAPSHOT_FAILED)
    assert caught.value.retryable


def test_a_missing_secret_is_named(tmp_path):
    made = source(tmp_path, "redis://127.0.0.1")
    (tmp_path / "REDIS_URL").unlink()

    with pytest.raises(SecretMissing, match="key REDIS_URL of Secret prod/app is missing"):
        made.preflight()


def test_nothing_at_the_port_refuses_the_connection(tmp_path):
    found = fault(tmp_path, f"redis://127.0.0.1:{free_port()}")

    assert found.reason is Reason.CONNECTION_REFUSED
    assert found.retryable


def test_an_unknown_host_is_not_resolved(tmp_path):
    found = fault(tmp_path, "redis://:s3cret@no-such-host.invalid")

    assert found.reason is Reason.NAME_NOT_RESOLVED
    assert found.hint.endswith("-- nslookup no-such-host.invalid")
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("host", ["redis..svc", ".redis", "x" * 64])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_host_that_is_no_name_is_not_resolved(tmp_path, scheme, host):
    found = fault(tmp_path, f"{scheme}://:s3cret@{host}")

    assert found.reason is Reason.NAME_NOT_RESOLVED
    assert "s3cret" not in repr(found)


def test_a_network_without_a_way_is_unreachable(tmp_path, monkeypatch):
    def no_way(*_: object) -> socket.socket:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", no_way)

    assert fault(tmp_path, "redis://192.0.2.1").reason is Reason.NETWORK_UNREACHABLE


def test_a_valkey_that_cannot_send_its_field_ttls_is_explained(tmp_path):
    with RedisServer(version="valkey-9.1") as server, server.client() as client:
        client.hset("hash", mapping={"field": "value"})
        client.execute_command("HEXPIRE", "hash", 100_000, "FIELDS", 1, "field")
        found = fault(tmp_path, server.url())

    assert found.retryable
    assert "Valkey cannot send hash fields with a time to live" in found.hint


def test_a_missing_reader_is_said_before_the_dump(tmp_path):
    with RedisServer() as server, server.client() as client:
        fill(client, users=1)
        made = source(tmp_path, server.url(), check="/nowhere/redis-check-rdb")
        with pytest.raises(SourceError, match="cannot be started"):
            made.preflight()


def _only_client(server: RedisServer) -> redis.Redis:
    """A connected client, once the server has noticed that the one which asked whether it has started is gone."""
    connected: list[redis.Redis] = []

    def is_let_in() -> bool:
        try:
            connected.append(server.client(single_connection_client=True))
        except redis.RedisError:
            return False
        return True

    wait_until(is_let_in, "room for a client")
    return connected[0]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Failures of real and played servers: each with its own reason, and words that help."""

import errno
import socket
import threading
import traceback
from collections.abc import Callable

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SecretMissing, SourceError, WorkerError
from backup_operator.worker.sources import redis_sync, redis_wire
from backup_operator.worker.sources.redis import RedisSource
from tests.integration.redis.dumping import dump, inspect, source
from tests.integration.redis.fakes import INFO, FakeRedis, bulk, sent_and_closed
from tests.support.redis_server import RedisServer, free_port, wait_until
from tests.support.source_redis import fill

LEAST = "backup on >secret +ping +info +replconf +sync"
MARK = b"m" * 40


def fault(tmp_path, url: str) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        dump(tmp_path, url)
    return caught.value


def read_meanwhile(made: RedisSource, meanwhile: Callable[[], object]) -> None:
    with made.dumps()[0].stream() as chunks:
        for _chunk in chunks:
            meanwhile()


@pytest.fixture(scope="module")
def rdb(tmp_path_factory):
    with RedisServer() as server, server.client() as client:
        client.execute_command(
            "FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
        )
        client.set("key", "value", ex=100_000)
        client.rpush("list", *range(200))
        client.xadd("stream", {"a": "b"})
        client.execute_command("SELECT", 3)
        client.hset("hash", mapping={str(number): "x" * 100 for number in range(200)})
        _facts, whole = dump(tmp_path_factory.mktemp("rdb"), server.url())
    return whole


@pytest.mark.parametrize(
    ("login", "reason", "word"),
    [
        (":wrong@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user default"),
        ("nobody:wrong@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user nobody"),
        ("", Reason.AUTHENTICATION_FAILED, "asks for a password, and the URL holds none"),
        ("nobody@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user nobody"),
    ],
    ids=["wrong password", "unknown user", "no password", "a user without a password"],
)
def test_a_refused_login_is_an_authentication_failure(tmp_path, login, reason, word):
    with RedisServer(settings={"requirepass": "right-password"}, password="right-password") as server:
        found = fault(tmp_path, f"redis://{login}127.0.0.1:{server.port}")

    assert found.reason is reason
    assert word in found.message
    assert "--askpass PING" in found.hint
    assert "wrong" not in found.message + found.detail.replace("WRONGPASS", "") + found.hint
    assert not found.retryable


def test_a_password_that_the_server_does_not_have_is_an_authentication_failure(tmp_path):
    with RedisServer() as server:
        found = fault(tmp_path, server.url(password="surplus-password"))

    assert found.reason is Reason.AUTHENTICATION_FAILED
    assert "has none for the user default" in found.message
    assert "surplus" not in found.message + found.detail + found.hint


def test_a_server_that_repeats_the_password_in_its_error_is_not_repeated(tmp_path):
    with RedisServer(settings={"rename-command": 'AUTH ""'}) as server:
        found = fault(tmp_path, server.url(user="backup", password="s3cret" * 40))

    assert "unknown command 'AUTH'" in found.detail
    cause: BaseException | None = found
    while cause is not None:
        assert "s3cret" not in "".join(traceback.format_exception_only(cause)) + repr(vars(cause))
        cause = cause.__cause__


@pytest.mark.parametrize("version", ["redis-6.2", "host"])
def test_percent_encoded_passwords_and_user_names_enter(tmp_path, version):
    with RedisServer(version=version, users=["bäckup@up on >s3cret:@/ü +ping +info +replconf +sync"]) as server:
        facts, rdb = dump(tmp_path, server.url(user="bäckup@up", password="s3cret:@/ü"))

    assert facts.server["role"] == "master"
    assert inspect(rdb).keys == 0


def test_the_least_permissions_are_enough_with_and_without_a_database(tmp_path):
    with RedisServer(users=[LEAST]) as server, server.client() as client:
        client.set("key", "value")
        for tail in ("", "/0"):
            _facts, rdb = dump(tmp_path, server.url(tail, user="backup", password="secret"))
            assert inspect(rdb).keys == 1


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("+ping", Reason.PERMISSION_DENIED),
        ("+info", Reason.PERMISSION_DENIED),
        ("+replconf", Reason.SYNC_FORBIDDEN),
        ("+sync", Reason.SYNC_FORBIDDEN),
    ],
)
def test_a_missing_permission_names_the_command_that_grants_it(tmp_path, missing, reason):
    with RedisServer(users=[LEAST.replace(f" {missing}", "")]) as server:
        found = fault(tmp_path, server.url(user="backup", password="secret"))

    assert found.reason is reason
    assert found.hint == "redis-cli ACL SETUSER backup +ping +info +replconf +sync"
    assert missing[1:] in found.detail


def test_a_renamed_sync_is_forbidden(tmp_path):
    with RedisServer(settings={"rename-command": 'SYNC ""'}) as server:
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.SYNC_FORBIDDEN
    assert "rename-command" in found.hint
    assert not found.retryable


def test_a_database_number_that_the_server_does_not_have_is_missing(tmp_path):
    with RedisServer(settings={"databases": "4"}) as server:
        found = fault(tmp_path, server.url("/4"))

    assert found.reason is Reason.DATABASE_MISSING
    assert found.hint.endswith("CONFIG GET databases")


def test_a_full_server_has_too_many_connections(tmp_path):
    with RedisServer(settings={"maxclients": "1"}) as server, server.client(single_connection_client=True) as client:
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


def test_a_host_that_keeps_silent_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(redis_wire, "REPLY_SECONDS", 0.2)
    with FakeRedis(PING=b"") as server:
        found = fault(tmp_path, server.url)

    assert found.reason is Reason.CONNECTION_TIMED_OUT
    assert found.retryable


def test_a_snapshot_that_stops_in_the_middle_times_out(tmp_path, monkeypatch, rdb):
    monkeypatch.setattr(redis_sync, "SILENCE_SECONDS", 0.2)
    with FakeRedis(SYNC=b"\n\n$EOF:" + MARK + b"\r\n" + rdb[:100]) as server:
        found = fault(tmp_path, server.url)

    assert found.reason is Reason.CONNECTION_TIMED_OUT


def test_something_else_than_redis_is_told_apart(tmp_path):
    with FakeRedis(PING=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        found = fault(tmp_path, server.url)

    assert "no Redis server" in found.message
    assert "HTTP/1.1" in found.detail


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", Reason.SERVER_LOADING),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", Reason.SNAPSHOT_FAILED),
        (b"-ERR BGSAVE failed, replication can't continue\r\n", Reason.SNAPSHOT_FAILED),
        (b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n", Reason.SERVER_NOT_READY),
        (b"-ERR unknown command 'SYNC', with args beginning with: \r\n", Reason.SYNC_FORBIDDEN),
        (b"-ERR SYNC is not supported by this service\r\n", Reason.SYNC_FORBIDDEN),
        (b"-NOPERM this user has no permissions to run the 'sync' command\r\n", Reason.SYNC_FORBIDDEN),
        (b"+OK\r\n", Reason.CONNECTION_LOST),
        (None, Reason.CONNECTION_LOST),
    ],
)
def test_an_answer_to_sync_that_is_no_snapshot_has_its_reason(tmp_path, answer, reason):
    with FakeRedis(SYNC=answer) as server:
        assert fault(tmp_path, server.url).reason is reason


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (INFO.replace(b"loading:0", b"loading:1"), Reason.SERVER_LOADING),
        (INFO.replace(b"standalone", b"sentinel"), Reason.CLUSTER_MODE_UNSUPPORTED),
        (INFO.replace(b"standalone", b"cluster"), Reason.CLUSTER_MODE_UNSUPPORTED),
        (INFO.replace(b"role:master", b"role:slave\r\nmaster_link_status:down"), Reason.SERVER_NOT_READY),
    ],
    ids=["loading", "sentinel", "cluster", "replica without a link"],
)
def test_what_a_server_says_of_itself_is_judged_before_the_dump(tmp_path, info, reason):
    with FakeRedis(INFO=bulk(info)) as server:
        made = source(tmp_path, server.url)
        with pytest.raises(SourceError) as caught:
            made.preflight()

    assert caught.value.reason is reason


def test_a_connection_lost_for_a_failed_snapshot_is_told_by_info(tmp_path, rdb):
    failed = bulk(INFO + b"rdb_last_bgsave_status:err\r\n")
    with FakeRedis(INFO=failed, SYNC=sent_and_closed(b"\n\n")) as server:
        found = fault(tmp_path, server.url)

    assert found.reason is Reason.SNAPSHOT_FAILED


@pytest.mark.parametrize("form", ["mark", "length"])
def test_a_snapshot_that_is_cut_anywhere_is_never_a_good_end(tmp_path, rdb, form):
    head = b"\n$EOF:" + MARK + b"\r\n" if form == "mark" else b"\n$%d\r\n" % len(rdb)
    whole = head + rdb + (MARK if form == "mark" else b"")
    for end in [*range(1, 120), *range(120, len(whole) - 60, 97), *range(len(whole) - 60, len(whole))]:
        with FakeRedis(SYNC=sent_and_closed(whole[:end])) as server:
            found = fault(tmp_path, server.url)

        assert found.retryable, f"cut at {end}"


@pytest.mark.parametrize("piece_bytes", [1, 39, 40, 41, 4096])
def test_the_mark_is_found_however_the_stream_is_cut(tmp_path, rdb, piece_bytes):
    stream = b"\n\n$EOF:" + MARK + b"\r\n" + rdb + MARK
    pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
    with FakeRedis(SYNC=sent_and_closed(*pieces)) as server:
        _facts, found = dump(tmp_path, server.url)

    assert found == rdb


def test_writes_that_follow_the_mark_are_not_part_of_the_dump(tmp_path, rdb):
    stream = b"$EOF:" + MARK + b"\r\n" + rdb + MARK + b"*1\r\n$4\r\nPING\r\n"
    with FakeRedis(SYNC=sent_and_closed(stream)) as server:
        _facts, found = dump(tmp_path, server.url)

    assert found == rdb


def test_a_flipped_bit_in_the_snapshot_is_found_by_its_checksum(tmp_path, rdb):
    for position in range(200, len(rdb), 149):
        flipped = bytearray(rdb)
        flipped[position] ^= 0x10
        with FakeRedis(SYNC=b"$%d\r\n" % len(rdb) + bytes(flipped)) as server:
            for tail in ("", "/0"):
                assert isinstance(fault(tmp_path, server.url + tail), DumpIncomplete), f"byte {position}"


def test_an_rdb_version_that_no_reader_of_ours_knows_is_refused_at_its_first_bytes(tmp_path):
    endless = threading.Event()

    def newer(connection: socket.socket) -> None:
        connection.sendall(b"$1000000000\r\nREDIS0099")
        endless.wait(30)

    with FakeRedis(SYNC=newer) as server:
        found = fault(tmp_path, server.url)
    endless.set()

    assert found.reason is Reason.MODULE_DATA_UNSUPPORTED
    assert "its version is 99" in found.message
    assert not found.retryable


def test_valkey_s_own_rdb_version_is_refused_in_words(tmp_path):
    with FakeRedis(SYNC=b"$1000000000\r\nVALKEY080") as server:
        found = fault(tmp_path, server.url)

    assert found.reason is Reason.MODULE_DATA_UNSUPPORTED
    assert "Valkey's own RDB version 80" in found.message


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


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Failures that a server plays: each with its own reason, and no good end wherever the stream is cut."""

import socket
import threading

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.sources import redis_sync, redis_wire
from tests.integration.redis.dumping import dump, fault, source
from tests.integration.redis.fakes import INFO, FakeRedis, bulk, sent_and_closed
from tests.support.redis_server import RedisServer

MARK = b"m" * 40


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

"""Dumps of real servers: complete, equal to what redis-cli takes, and loaded again key by key."""

import subprocess
import threading
from pathlib import Path

import pytest

from backup_operator.worker.sources.base import KeyCount
from tests.integration.redis.dumping import dump, everything, inspect, loaded, source
from tests.support.redis_server import RedisServer
from tests.support.source_redis import fill

ALL_DATABASES = range(16)
ONE_SNAPSHOT_FOR_TWO = {"repl-diskless-sync-delay": "60", "repl-diskless-sync-max-replicas": "2"}
"""It begins as soon as both wait for it, however far apart they came."""


@pytest.fixture(scope="module")
def filled():
    with RedisServer() as server, server.client() as client:
        fill(client, users=2_000)
        client.execute_command("SELECT", 0)
        yield server


def counts(server: RedisServer) -> dict[int, KeyCount]:
    with server.client() as client:
        keyspace = client.info("keyspace")
    return {int(name[2:]): KeyCount(found["keys"], found["expires"]) for name, found in keyspace.items()}


def test_a_dump_loads_into_a_fresh_server_with_every_value_and_time_to_live(tmp_path, filled):
    facts, rdb = dump(tmp_path, filled.url())

    with loaded(tmp_path, rdb) as fresh, fresh.client() as copy, filled.client() as original:
        assert everything(copy, ALL_DATABASES) == everything(original, ALL_DATABASES)
        assert copy.function_list() == original.function_list()
    assert facts.server["keysBefore"] == {str(number): count.keys for number, count in counts(filled).items()}
    assert facts.encrypted_connection is False


def test_the_inspector_counts_the_keys_of_every_database_wherever_chunks_are_cut(tmp_path, filled):
    _facts, rdb = dump(tmp_path, filled.url())

    for chunk_bytes in (1 << 20, 4099, 7):
        contents = inspect(rdb, chunk_bytes=chunk_bytes)

        assert contents.keys_per_database == counts(filled)
        assert contents.details["checksum"] == "CRC64"
        assert contents.details["functionLibraries"] == 1


def test_a_dump_has_the_bytes_that_redis_cli_takes_from_the_same_snapshot(tmp_path):
    with RedisServer(settings=ONE_SNAPSHOT_FOR_TWO) as server, server.client() as client:
        fill(client, users=500)
        taken = tmp_path / "taken.rdb"
        command = ["redis-cli", "-h", server.host, "-p", str(server.port), "--rdb", str(taken)]
        other = threading.Thread(target=lambda: subprocess.run(command, check=True, capture_output=True))
        other.start()
        _facts, rdb = dump(tmp_path, server.url())
        other.join()
        assert client.info("stats")["total_forks"] == 1, "both are served by one snapshot"

    assert rdb == taken.read_bytes()


@pytest.mark.parametrize("diskless", ["yes", "no"], ids=["ends with a mark", "begins with a length"])
@pytest.mark.parametrize("version", ["redis-6.2", "host"])
def test_both_forms_of_the_stream_are_read(tmp_path, version, diskless):
    with RedisServer(version=version, settings={"repl-diskless-sync": diskless}) as server, server.client() as client:
        client.mset({f"key {number}": "value" * number for number in range(1000)})
        client.xadd("stream", {"field": "value"})
        client.xgroup_create("stream", "group", id="0")
        client.zadd("zset", {"a": 1.5})
        client.rpush("list", *range(1000))

        _facts, rdb = dump(tmp_path, server.url())

        with loaded(tmp_path, rdb) as fresh, fresh.client() as copy:
            assert copy.dbsize() == 1003
            assert copy.lrange("list", 0, -1) == client.lrange("list", 0, -1)
    assert inspect(rdb).keys == 1003


def test_database_n_of_the_url_limits_the_dump_to_it(tmp_path, filled):
    expected = counts(filled)
    for database in sorted(expected):
        facts, rdb = dump(tmp_path, filled.url(f"/{database}"))

        assert facts.server["database"] == database
        assert inspect(rdb).keys_per_database == {database: expected[database]}
        with loaded(tmp_path, rdb) as fresh, fresh.client() as copy, filled.client() as original:
            assert everything(copy, ALL_DATABASES) == everything(original, [database])
            assert copy.function_list() == original.function_list()


def test_a_dump_of_the_only_database_with_keys_is_not_changed_by_the_filter(tmp_path):
    with RedisServer(settings=ONE_SNAPSHOT_FOR_TWO) as server, server.client() as client:
        client.mset({f"key {number}": "value" for number in range(1000)})
        dumps = {}
        whole = source(tmp_path, server.url())
        whole.preflight()

        def take_whole() -> None:
            with whole.dumps()[0].stream() as chunks:
                dumps["whole"] = b"".join(chunks)

        other = threading.Thread(target=take_whole)
        other.start()
        _facts, dumps["database 0"] = dump(tmp_path, server.url("/0"))
        other.join()

    assert dumps["whole"] == dumps["database 0"]


def test_an_empty_server_gives_a_valid_empty_dump_and_a_warning(tmp_path):
    with RedisServer() as server:
        facts, rdb = dump(tmp_path, server.url())

        assert "holds no keys at all" in facts.warnings[0]
        assert inspect(rdb).keys == 0
        with loaded(tmp_path, rdb) as fresh, fresh.client() as copy:
            assert copy.dbsize() == 0


def test_an_empty_database_beside_full_ones_is_said(tmp_path, filled):
    facts, rdb = dump(tmp_path, filled.url("/14"))

    assert facts.warnings == (
        f"Database 14 of 127.0.0.1:{filled.port} holds no keys; others do: {sorted(counts(filled))}.",
    )
    assert inspect(rdb).keys == 0


def test_a_server_without_checksums_gives_a_whole_dump(tmp_path):
    with RedisServer(settings={"rdbchecksum": "no"}) as server, server.client() as client:
        client.set("key", "value")
        client.execute_command("SELECT", 1)
        client.set("other", "value")

        _facts, rdb = dump(tmp_path, server.url())
        _facts, cut_out = dump(tmp_path, server.url("/1"))

    assert rdb[-8:] == bytes(8)
    assert (inspect(rdb).keys, inspect(rdb).details["checksum"]) == (2, "none")
    assert (inspect(cut_out).keys, inspect(cut_out).details["checksum"]) == (1, "CRC64")


def test_keys_with_access_statistics_are_counted(tmp_path):
    for policy in ("allkeys-lfu", "allkeys-lru"):
        settings = {"maxmemory-policy": policy, "maxmemory": "500mb"}
        with RedisServer(settings=settings) as server, server.client() as client:
            client.mset({f"key {number}": "value" for number in range(300)})
            client.set("expiring", "value", ex=10_000)
            client.rpush("list", "element")

            _facts, rdb = dump(tmp_path, server.url())

            assert inspect(rdb, chunk_bytes=11).keys_per_database == {0: KeyCount(302, 1)}


def test_a_large_value_and_a_large_collection_are_passed_over_in_small_chunks(tmp_path):
    with RedisServer(settings={"rdbcompression": "no"}) as server, server.client() as client:
        client.set("large", b"\xff" * 30_000_000)
        client.execute_command("DEBUG", "POPULATE", 50_000, "key", 30)
        for start in range(0, 100_000, 10_000):
            client.hset("hash", mapping={f"field {number}": "x" * 30 for number in range(start, start + 10_000)})
            client.zadd("zset", {f"member {number}": number / 7 for number in range(start, start + 10_000)})

        _facts, rdb = dump(tmp_path, server.url("/0"))

        assert inspect(rdb, chunk_bytes=1000).keys_per_database == {0: KeyCount(50_003, 0)}
        with loaded(tmp_path, rdb) as fresh, fresh.client() as copy:
            assert copy.strlen("large") == 30_000_000
            assert copy.zrange("zset", 0, -1, withscores=True) == client.zrange("zset", 0, -1, withscores=True)


def test_a_million_keys_are_counted(tmp_path):
    with RedisServer() as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 1_000_000, "key", 20)

        _facts, rdb = dump(tmp_path, server.url())

    assert inspect(rdb, chunk_bytes=1 << 20).keys_per_database == {0: KeyCount(1_000_000, 0)}


def test_the_last_forty_bytes_are_the_rdb_s_own_and_not_the_end_mark(tmp_path, filled):
    _facts, rdb = dump(tmp_path, filled.url())

    assert rdb[-9] == 0xFF
    checked = subprocess.run(["redis-check-rdb", "/dev/stdin"], input=rdb, capture_output=True, check=False)
    assert b"Checksum OK" in checked.stdout


def test_a_dump_can_be_left_early(tmp_path, filled):
    made = source(tmp_path, filled.url())
    made.preflight()

    with made.dumps()[0].stream() as chunks:
        assert next(chunks).startswith(b"REDIS")

    with filled.client() as client:
        assert client.ping()
    made.close()
    made.close()


def test_a_replica_is_dumped_and_said_to_be_one(tmp_path, filled):
    with RedisServer(settings={"replicaof": f"127.0.0.1 {filled.port}"}) as replica, replica.client() as client:
        from tests.support.redis_server import wait_until

        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica's link")

        facts, rdb = dump(tmp_path, replica.url())

    assert any("is a replica" in warning for warning in facts.warnings)
    assert inspect(rdb).keys_per_database == counts(filled)


def test_quotes_around_the_url_are_taken_off_and_said(tmp_path: Path, filled):
    facts, rdb = dump(tmp_path, f'"{filled.url("/15")}"\n')

    assert "enclosed in quotes" in facts.warnings[0]
    assert inspect(rdb).keys == 1

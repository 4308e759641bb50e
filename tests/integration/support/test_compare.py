"""The comparison that the end-to-end tests lean on: equal after a stock dump and load, and blind to no difference."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support import source_redis
from tests.support.compare import (
    PostgresDatabase,
    assert_databases_are_equal,
    assert_redis_servers_are_equal,
    key_counts,
)
from tests.support.polling import wait_until
from tests.support.postgres_server import SUPERUSER_PASSWORD, PostgresServer, run_unprivileged
from tests.support.redis_server import PATIENCE_SECONDS
from tests.support.shell import LocalShell

EVERYTHING = Path(__file__).resolve().parents[2] / "golden/source/everything.sql"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(major=15) as started:
        yield started


@pytest.fixture(scope="module")
def source(server: PostgresServer) -> PostgresDatabase:
    made = database(server, "source")
    made.shell.run("psql", "-Xq", "--set=ON_ERROR_STOP=1", "--dbname=source", f"--file={EVERYTHING}")
    return made


def database(server: PostgresServer, name: str) -> PostgresDatabase:
    server.create_database(name)
    connection = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres"}
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": SUPERUSER_PASSWORD, **connection}
    return PostgresDatabase(LocalShell(environment=environment), (), name)


def loaded_copy(server: PostgresServer, source: PostgresDatabase, name: str) -> PostgresDatabase:
    copy = database(server, name)
    dump = source.shell.run("pg_dump", f"--dbname={source.name}")
    copy.shell.run("psql", "-Xq", "--set=ON_ERROR_STOP=1", f"--dbname={name}", stdin=dump)
    return copy


def test_a_stock_dump_and_load_of_everything_is_equal(server, source):
    assert_databases_are_equal(source, loaded_copy(server, source, "copy"))


def test_every_table_counts_under_its_quoted_name(source):
    rows = source.rows_per_table()
    assert rows["app.users"] == 2003
    assert rows["public.empty"] == 0
    assert rows["public.columnless"] == 2
    assert rows['"Archive 2023"."Odd.Name ""with"" quotes"'] == 2
    assert rows['public."line\nbreak"'] == 3
    assert "app.conversations" not in rows, "a partitioned table has no rows of its own"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE app.users SET home.z = 4 WHERE id = 1000", id="a composite's field"),
        pytest.param("UPDATE app.conversations SET attachment = '\\x00ff0b' WHERE id = 3", id="a byte in a partition"),
        pytest.param("DELETE FROM public.columnless WHERE ctid = '(0,1)'", id="a row without columns"),
        pytest.param("SELECT nextval('app.countdown')", id="a sequence's value"),
        pytest.param("SELECT lo_put(424242, 5, '\\x00')", id="a byte of a large object"),
        pytest.param("ALTER LARGE OBJECT 424243 OWNER TO app_owner", id="a large object's owner"),
        pytest.param("REVOKE SELECT ON app.chicken FROM app_reader", id="a grant"),
        pytest.param("COMMENT ON TABLE app.users IS 'people'", id="a comment"),
        pytest.param("ALTER POLICY \"only happy ones\" ON app.users USING (true)", id="a row security policy"),
        pytest.param("REFRESH MATERIALIZED VIEW \"Archive 2023\".unfilled", id="a filled materialised view"),
    ],
)  # fmt: skip
def test_a_single_difference_is_seen(server, source, change):
    copy = loaded_copy(server, source, "changed")
    copy.query(f"SET client_min_messages = error; {change}")
    with pytest.raises(AssertionError):
        assert_databases_are_equal(source, copy)
    server.execute("DROP DATABASE changed")


@contextmanager
def local_redis(directory: Path) -> Iterator[redis.Redis]:
    """A throw-away server behind a socket; loads a dump.rdb that lies there."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)
    socket = f"{directory}/socket"
    argv = ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", str(directory), "--save", ""]
    with subprocess.Popen(run_unprivileged(argv), stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(unix_socket_path=socket, socket_timeout=PATIENCE_SECONDS)
        try:
            wait_until(lambda: _answers(client), bool, for_what="the start of Redis")
            yield client
        finally:
            client.close()
            process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def two_redis(public_place: Path) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    first, second = public_place / "a", public_place / "b"
    with local_redis(first) as source:
        source_redis.fill(source, users=50)
        source.save()
        second.mkdir()
        shutil.copy(first / "dump.rdb", second / "dump.rdb")
        (second / "dump.rdb").chmod(0o644)
        with local_redis(second) as restored:
            yield source, restored


def test_a_redis_with_everything_equals_its_own_rdb(two_redis):
    source, restored = two_redis
    assert_redis_servers_are_equal(source, restored)
    assert key_counts(restored) == key_counts(source)
    assert key_counts(source)[9] == (100, 50)
    assert set(key_counts(source)) == {0, 1, 2, 3, 9, 15}


@pytest.mark.parametrize(
    ("database", "command"),
    [
        pytest.param(0, ("PEXPIREAT", "expires", source_redis.FAR_AWAY_MS + 1), id="a millisecond of a time to live"),
        pytest.param(1, ("LSET", "list:long", "9999", "other"), id="an element of a list"),
        pytest.param(1, ("SADD", "set:integers", "201"), id="a member of a set"),
        pytest.param(2, ("ZADD", "zset:small", "3.1415926535897936", "pi"), id="the last bit of a score"),
        pytest.param(3, ("XACK", "stream", "readers", "4-1"), id="a pending entry of a stream's group"),
        pytest.param(15, ("DEL", "alone in database 15"), id="a whole database"),
        pytest.param(0, ("FUNCTION", "FLUSH"), id="the functions"),
    ],
)
def test_a_single_difference_of_two_redis_is_seen(two_redis, database, command):
    source, restored = two_redis
    restored.execute_command("SELECT", database)
    restored.execute_command(*command)
    with pytest.raises(AssertionError):
        assert_redis_servers_are_equal(source, restored)

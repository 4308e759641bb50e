"""SQL checks on a real server: read-only whatever they say, and inside of a transaction that stays as it is."""

import signal
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from backup_operator.contract.restore import CheckOrder
from backup_operator.worker.alarms import stopped_from_outside
from backup_operator.worker.checks.sql import run_sql_checks
from backup_operator.worker.errors import DeadlineExceeded
from tests.support.postgres_server import PostgresServer, wait_until

BACKED_UP_AT = datetime(2023, 12, 1, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server():
    with PostgresServer(15) as running:
        running.execute("create table users (id int, at timestamptz, on_day date, local timestamp)")
        running.execute(
            "insert into users select n, '2023-12-01 01:30Z', '2023-12-01', '2023-12-01 03:30'"
            " from generate_series(1, 1000) n"
        )
        running.execute("alter database postgres set timezone = 'Europe/Berlin'")
        running.execute("create function grow() returns bigint language sql as 'insert into users values (0);select 1'")
        yield running


@pytest.fixture
def connection(server):
    with server.connect() as connected:
        yield connected


def _ask(connection, sql, timeout_seconds=300, **limits):
    check = CheckOrder(name="users", sql=sql, **limits)
    (found,) = run_sql_checks(connection, [check], BACKED_UP_AT, timeout_seconds=timeout_seconds)
    return found.passed, found.found


@pytest.mark.parametrize(
    ("sql", "limits", "passed", "told"),
    [
        ("select count(*) from users", {"minimum": 1000}, True, "1000"),
        ("select count(*) from users;", {"minimum": 1001}, False, "1000"),
        ("select count(*) from users -- of today", {"equals": "1000"}, True, "1000"),
        ("with a as (select 1 as b) select b from a", {"equals": "1"}, True, "1"),
        ("select '100 %' || id from users where id = 1", {"equals": "100 %1"}, True, "100 %1"),
        ("select exists (select from users)", {"equals": "true"}, True, "t"),
        ("select '{\"a\": [1, 2]}'::jsonb", {"equals": '{"a": [1, 2]}'}, True, '{"a": [1, 2]}'),
        ("select max(id) from users where false", {"minimum": 0}, False, "NULL"),
        ("select id from users where false", {"minimum": 0}, False, "no row"),
        ("select id from users", {"minimum": 0}, False, "more than one row"),
        ("select 1, 2", {"minimum": 0}, False, "2 columns"),
        ("select count(*) from orders", {"minimum": 0}, False, 'relation "orders" does not exist'),
        (
            "selec 1",
            {"minimum": 0},
            False,
            'syntax error at or near "selec"; checks only read: write one query, SELECT or WITH',
        ),
        (
            "delete from users",
            {"minimum": 0},
            False,
            'syntax error at or near "delete"; checks only read: write one query, SELECT or WITH',
        ),
        (
            "with a as (delete from users returning 1) select count(*) from a",
            {"minimum": 0},
            False,
            "DECLARE CURSOR must not contain data-modifying statements in WITH; checks only read: write one query, "
            "SELECT or WITH",
        ),
        ("select 1 from from", {"minimum": 0}, False, 'syntax error at or near "from"'),
        ("select 1 / 0", {"minimum": 0}, False, "division by zero"),
    ],
)
def test_one_value_is_compared_and_all_else_is_told(connection, sql, limits, passed, told):
    assert _ask(connection, sql, **limits) == (passed, told)


@pytest.mark.parametrize(
    ("column", "hours", "passed"),
    [("at", 1, True), ("at", 0.25, False), ("local", 0, True), ("on_day", 0, True), ("on_day - 2", 12, False)],
)
def test_the_newest_row_is_no_older_than_it_may_be(connection, column, hours, passed):
    found, _ = _ask(connection, f"select max({column}) from users", newest_within=timedelta(hours=hours))

    assert found is passed


def test_a_time_that_no_calendar_has_is_told(connection):
    assert _ask(connection, "select 'infinity'::timestamptz", newest_within=timedelta(1))[0] is False


WRITES = [
    "delete from users",
    "with a as (delete from users returning 1) select count(*) from a",
    "select grow()",
    "select 1; delete from users",
    "select 1; commit; delete from users",
    "commit",
    "select set_config('transaction_read_only', 'off', false)",
    "select 1 into other",
    "select lo_create(4711)",
]


@pytest.mark.parametrize("sql", WRITES)
def test_a_check_writes_nothing(server, connection, sql):
    passed, _ = _ask(connection, sql, equals="nothing of the kind")

    assert not passed
    assert server.rows("select count(*) from users") == [(1000,)]
    assert server.rows("select count(*) from pg_largeobject_metadata") == [(0,)]
    assert _ask(connection, "select 1", minimum=1) == (True, "1")


@pytest.mark.parametrize("sql", WRITES)
def test_a_check_leaves_the_transaction_around_it_as_it_is(server, connection, sql):
    connection.execute("begin")
    connection.execute("create table fresh as select 42 as id")
    connection.execute("select set_config('search_path', '', false)")
    before = connection.execute("select pg_current_xact_id()::text").fetchone()

    checks = [
        CheckOrder(name="ours", sql="select id from fresh", equals="42"),
        CheckOrder(name="hostile", sql=sql, equals="nothing of the kind"),
        CheckOrder(name="ours again", sql="select count(*) from users", equals="1000"),
    ]
    found = run_sql_checks(connection, checks, BACKED_UP_AT)

    assert [each.passed for each in found] == [True, False, True]
    assert connection.execute("select pg_current_xact_id()::text").fetchone() == before
    assert connection.execute("select current_setting('search_path')").fetchone() == ("",)
    connection.execute("insert into public.fresh values (43)")
    connection.execute("rollback")
    assert server.rows("select count(*) from pg_class where relname = 'fresh'") == [(0,)]


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside of a transaction"])
def test_a_query_that_takes_too_long_is_ended(connection, inside):
    if inside:
        connection.execute("begin")

    assert _ask(connection, "select pg_sleep(60)::text", 1, equals="") == (
        False,
        "no answer within 1 s (canceling statement due to statement timeout)",
    )
    assert connection.execute("select current_setting('statement_timeout')").fetchone() == ("0",)


def test_of_millions_of_rows_two_are_fetched(connection):
    assert _ask(connection, "select generate_series(1, 1000000000)", minimum=1) == (False, "more than one row")


def test_a_lost_connection_is_no_check_that_fails(server, connection):
    server.execute(f"select pg_terminate_backend({connection.info.backend_pid})")

    with pytest.raises(psycopg.OperationalError):
        _ask(connection, "select 1", minimum=1)


def test_a_check_that_hangs_when_the_restore_is_stopped_is_named(server):
    checks = [CheckOrder(name="quick", sql="select 1"), CheckOrder(name="slow", sql="select pg_sleep(60)::text")]

    def deadline_passes_while_it_hangs() -> None:
        asked = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
        wait_until(lambda: server.rows(asked) != [], "the check that hangs")
        signal.pthread_kill(this_thread, signal.SIGALRM)

    this_thread = threading.get_ident()
    connection = server.connect()
    passing = threading.Thread(target=deadline_passes_while_it_hangs)
    passing.start()
    with pytest.raises(DeadlineExceeded) as failure, stopped_from_outside(timedelta(hours=1), tried_again=False):
        run_sql_checks(connection, checks, BACKED_UP_AT)
    passing.join()
    connection.close()

    assert failure.value.detail == "the check 'slow' was being asked"
    assert "make a new request with a longer spec.job.deadline" in failure.value.hint

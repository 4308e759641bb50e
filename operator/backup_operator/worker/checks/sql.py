"""Room `worker.checks`: questions to a restored PostgreSQL database; called by `worker.targets.postgres_*`.

Each runs read-only, in a transaction or savepoint that is rolled back, as one statement behind DECLARE CURSOR: that
takes nothing but a query, so that a check can neither write nor end the transaction of a restore in place, and of a
query that yields millions of rows two are fetched.
Source: https://www.postgresql.org/docs/current/sql-declare.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

import psycopg
from psycopg.pq import TransactionStatus

from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.worker.checks.judge import Value, found, judged
from backup_operator.worker.errors import WorkerError

STATEMENT_TIMEOUT_SECONDS = 300
_NAME = "backup_operator_check"
_QUERIES = ("select", "with", "values", "table", "(")
_SYNTAX_ERROR, _WRITES, _CANCELLED = "42601", "0A000", "57014"
_READ_ONLY = "checks only read: write one query, SELECT or WITH"


def run_sql_checks(
    connection: psycopg.Connection,
    checks: Sequence[CheckOrder],
    backed_up_at: datetime | None,
    *,
    timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
) -> tuple[CheckFound, ...]:
    """What each finds; a query that the server refuses is a check that does not pass, told in the server's words.

    Works on an idle connection in autocommit mode, and inside of an open transaction, which stays as it is.
    Raises: psycopg.OperationalError when the connection is lost; a WorkerError that stops the restore names the check
    that was being asked.
    """
    return tuple(_run(connection, check, backed_up_at, timeout_seconds) for check in checks)


def _run(
    connection: psycopg.Connection, check: CheckOrder, backed_up_at: datetime | None, timeout_seconds: int
) -> CheckFound:
    try:
        with _read_only(connection, timeout_seconds):
            return _ask(connection, check, backed_up_at)
    except psycopg.Error as exc:
        if connection.broken or connection.closed:
            raise
        return found(check, _refusal(exc, check.sql, timeout_seconds), passed=False)
    except WorkerError as error:
        error.detail = "; ".join(filter(None, (error.detail, f"the check {check.name!r} was being asked")))
        raise


def _refusal(error: psycopg.Error, query: str, timeout_seconds: int) -> str:
    """Why the server did not answer, in its words, and what they mean for a check."""
    said = error.diag.message_primary or str(error)
    if error.sqlstate == _CANCELLED:
        return f"no answer within {timeout_seconds} s ({said})"
    is_query = query.lstrip().lower().startswith(_QUERIES)
    if error.sqlstate == _WRITES or (error.sqlstate == _SYNTAX_ERROR and not is_query):
        return f"{said}; {_READ_ONLY}"
    return said


def _ask(connection: psycopg.Connection, check: CheckOrder, backed_up_at: datetime | None) -> CheckFound:
    # asked for in binary form, psycopg takes the protocol that allows one statement only
    connection.execute(f"declare {_NAME} no scroll cursor for {check.sql}".encode(), binary=True)
    cursor = connection.execute(f"fetch 2 from {_NAME}".encode())
    rows = cursor.fetchall()
    if not rows:
        return found(check, "no row", passed=False)
    if len(rows) > 1:
        return found(check, "more than one row", passed=False)
    if len(rows[0]) != 1:
        return found(check, f"{len(rows[0])} columns", passed=False)
    return judged(check, _value(cursor, rows[0][0]), backed_up_at, connection.info.timezone)


def _value(cursor: psycopg.Cursor, loaded: object) -> Value:
    """The value as the server writes it; a time as a time, for comparing."""
    if isinstance(loaded, date):
        return loaded
    written = cursor.pgresult.get_value(0, 0) if cursor.pgresult else None
    return written.decode(errors="replace") if written is not None else None


@contextmanager
def _read_only(connection: psycopg.Connection, timeout_seconds: int) -> Iterator[None]:
    """What happens inside writes nothing and leaves nothing; a restore's own settings do not hold in it."""
    inside = connection.info.transaction_status is not TransactionStatus.IDLE
    connection.execute(f"savepoint {_NAME}".encode() if inside else b"begin")
    try:
        # a dump sets an empty search_path, row_security and more for its own session
        connection.execute("reset all")
        connection.execute("set transaction read only")
        connection.execute("select pg_catalog.set_config('statement_timeout', %s, true)", [f"{timeout_seconds}s"])
        yield
    finally:
        # a statement that a signal left in the middle is ended by whoever opened the connection
        if connection.info.transaction_status is not TransactionStatus.ACTIVE:
            _undo(connection, inside=inside)


def _undo(connection: psycopg.Connection, *, inside: bool) -> None:
    if not inside:
        connection.execute("rollback")
        return
    connection.execute(f"rollback to savepoint {_NAME}".encode())
    connection.execute(f"release savepoint {_NAME}".encode())

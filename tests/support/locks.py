"""Holds a table of a PostgreSQL in a pod, so that whoever wants to replace it must wait. Used by the e2e tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import objects
from tests.support.compare import PostgresDatabase
from tests.support.polling import wait_until
from tests.support.restores import RESTORE_SECONDS

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name LIKE 'backup-operator%'"
    " AND wait_event_type = 'Lock'"
)


@contextmanager
def reader_of(table: str, database: PostgresDatabase) -> Iterator[None]:
    """A transaction that has read the table, and stays open while the context lasts: dumps pass it, drops wait."""
    hold = f"BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE; SELECT pg_sleep(3600);"
    holder = f"psql -Xq {' '.join(objects.POSTGRES)} --dbname={database.name} --command='{hold}'"
    database.shell.run("bash", "-c", f"setsid {holder} >/dev/null 2>&1 </dev/null & disown")
    is_held = f"SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND granted"
    wait_until(lambda: database.query(is_held), lambda found: found != ["0"], for_what=f"the lock on {table}")
    try:
        yield
    finally:
        others = "datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
        database.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


def wait_for_a_waiting_restore(database: PostgresDatabase) -> None:
    """Until a restore into the database waits for a lock: it has begun, and is in the middle of its transaction."""
    wait_until(
        lambda: database.query(_WAITING.format(name=database.name)),
        lambda found: found != ["0"],
        for_what=f"a restore that waits in {database.name}",
        timeout_seconds=RESTORE_SECONDS,
    )

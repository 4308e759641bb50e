"""Room `worker.sources`: keeps backups and restores of one database apart; called by `sources.postgres`, `targets.*`.

Advisory locks of sessions: a backup holds the shared one in the database that it dumps, a restore the exclusive one in
the database that it replaces. Any number of backups may run at once, a restore runs alone. The server gives the lock
back when its session ends, however that comes about.

Source: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, TargetError

_LOCK_CLASS = 0x62616B75
"""`baku`: the first half of our advisory locks' keys."""
_PATIENCE_SECONDS = 3
"""How long a restore waits: a session that has just ended may hold its lock for a moment longer."""
NO_TIME_LIMITS: LiteralString = """
select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings
where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
               'idle_session_timeout')
"""
"""Limits that are set for the role or the database are meant for others."""
_SHARED: LiteralString = "select pg_catalog.pg_advisory_lock_shared(%s, %s)"
_EXCLUSIVE: LiteralString = "select pg_catalog.pg_advisory_lock(%s, %s)"
_HOLDERS: LiteralString = """
select distinct on (l.pid) l.mode, l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
       coalesce(extract(epoch from now() - a.backend_start)::int, 0)
from pg_locks l left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.pid <> pg_backend_pid()
  and l.database in (select oid from pg_database where datname in (current_database(), %s))
  and l.classid = %s::bigint::oid and l.objid = (%s::bigint & 4294967295)::oid
order by l.pid limit 5
"""


def lock_key(database: str) -> int:
    """The second half of the advisory lock's key: a signed 32-bit number made from the name."""
    return int.from_bytes(hashlib.sha256(database.encode()).digest()[:4], "big", signed=True)


def hold_for_backup(connection: psycopg.Connection, database: str, *, patience_seconds: int) -> None:
    """Take the shared lock for as long as the connection is open, or until `let_go`.

    A server that knows no such locks is backed up without. Raises: SourceError RestoreRunning when a restore still
    holds it after the wait.
    """
    try:
        _take(connection, _SHARED, database, patience_seconds)
    except psycopg.errors.LockNotAvailable as exc:
        holders = "; ".join(lock_holders(connection, database)) or "it has just ended"
        raise SourceError(
            Reason.RESTORE_RUNNING,
            f"A restore into the database {database!r} is running; a backup of it now would hold a mixture.",
            detail=f"Waited {patience_seconds} s for: {holders}.",
            hint="Nothing is to be done: the next run makes the backup. Look at restores with: kubectl get rr -A",
        ) from exc
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction):
        return


@contextmanager
def held_for_restore(connection: psycopg.Connection, database: str) -> Iterator[None]:
    """The exclusive lock, in the database of the connection, given back afterwards.

    Raises: TargetError TargetInUse when a backup or another restore holds it.
    """
    try:
        _take(connection, _EXCLUSIVE, database, _PATIENCE_SECONDS)
    except psycopg.errors.LockNotAvailable as exc:
        raise TargetError(
            Reason.TARGET_IN_USE,
            f"A backup of the database {database!r}, or another restore into it, is running.",
            detail="; ".join(lock_holders(connection, database)) or "It has just ended.",
            hint="Wait for it (kubectl get jobs -A -l app.kubernetes.io/managed-by=backup-operator), then make a new "
            "RestoreRequest.",
        ) from exc
    try:
        yield
    finally:
        let_go(connection)


def let_go(connection: psycopg.Connection) -> None:
    """Give back every lock of ours at once: the server would notice the end of the session a moment later."""
    with suppress(psycopg.Error):
        connection.execute("select pg_catalog.pg_advisory_unlock_all()")


def lock_holders(connection: psycopg.Connection, database: str) -> list[str]:
    """Who holds the lock of this database, backup or restore, in words. Raises: psycopg.Error."""
    rows = connection.execute(_HOLDERS, [database, _LOCK_CLASS, lock_key(database)]).fetchall()
    return [
        f"{'a backup' if mode == 'ShareLock' else 'a restore'}, process {pid} "
        f"({application or 'unnamed'}, role {user or 'unknown'}, for {seconds} s)"
        for mode, pid, user, application, seconds in rows
    ]


def _take(connection: psycopg.Connection, lock: LiteralString, database: str, patience_seconds: int) -> None:
    before = connection.execute("select current_setting('lock_timeout')").fetchone() or ("0",)
    connection.execute("select pg_catalog.set_config('lock_timeout', %s, false)", [f"{patience_seconds}s"])
    try:
        connection.execute(lock, [_LOCK_CLASS, lock_key(database)])
    finally:
        connection.execute("select pg_catalog.set_config('lock_timeout', %s, false)", [before[0]])

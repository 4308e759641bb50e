"""Room `worker.targets`: where a restore works: login, server, clients; made by `targets.postgres`.

Databases are made and renamed from another one, so a site has a connection to some database that is neither.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg

from backup_operator.contract.restore import PostgresTargetOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_clients import Client
from backup_operator.worker.sources.postgres_connection import Login
from backup_operator.worker.sources.postgres_lock import NO_TIME_LIMITS, held_for_restore
from backup_operator.worker.targets.postgres_names import with_suffix

APPLICATION = "backup-operator"
"""How every connection of ours, of backups too, calls itself to the server."""
_CANCEL_TIMEOUT_SECONDS = 5
_SETTLED_WITHIN_SECONDS = 15
_SETTLED_INTERVAL_SECONDS = 0.1
_ELSEWHERE = ("postgres", "defaultdb", "template1")
"""Databases that most servers have, to work from when the URL's own is replaced or missing."""
_SERVER: LiteralString = """
select current_setting('server_version_num')::int, current_setting('server_version'), u.rolname::text, u.rolsuper,
       u.rolsuper or u.rolcreatedb,
       current_setting('max_locks_per_transaction')::int,
       current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int,
       pg_is_in_recovery()
from pg_roles u where u.rolname = current_user
"""


@dataclass(frozen=True)
class TargetServer:
    """What the server says about itself and about our role."""

    number: int
    """server_version_num, for example 150018."""
    version: str
    user: str
    is_superuser: bool
    may_create_databases: bool
    locks_per_slot: int
    """max_locks_per_transaction."""
    lock_slots: int
    """Connections and prepared transactions that it makes room for; locks are shared by all of them."""
    in_recovery: bool

    @property
    def lock_capacity(self) -> int:
        """How many locks it holds, to be had by one transaction when no other needs them."""
        return self.locks_per_slot * self.lock_slots

    def locks_per_slot_for(self, locks: int) -> int:
        """What max_locks_per_transaction must be for one transaction to have so many, and others some."""
        return self.locks_per_slot + -(-locks // self.lock_slots)


@dataclass(frozen=True)
class Site:
    """All that the strategies share."""

    order: PostgresTargetOrder
    login: Login
    """Into a database that is neither made nor replaced, except InPlace."""
    server: TargetServer
    clients: tuple[Client, ...]
    scratch: Path
    database: str
    """What is made or overwritten."""
    named_by_us: bool
    """Whether the name holds the time of this run, so that an approval cannot pin it."""
    at: datetime
    checks: Checks = field(default_factory=Checks)

    @property
    def temporary(self) -> str:
        """The name under which a database is built."""
        wanted = self.database.removesuffix(f"_restored_{self.stamp}") if self.named_by_us else self.database
        return with_suffix(wanted, f"_restoring_{self.stamp}")

    @property
    def before(self) -> str:
        """The name under which the replaced database stays."""
        return with_suffix(self.database, f"_before_{self.stamp}")

    @property
    def stamp(self) -> str:
        """The time of this restore, as in names."""
        return stamp(self.at)

    def login_to(self, database: str) -> Login:
        """The login for another database of the server."""
        return with_parameters(self.login, dbname=database)

    @contextmanager
    def connected(self, database: str | None = None) -> Iterator[psycopg.Connection]:
        """A connection in autocommit mode, closed afterwards. Raises: SourceError."""
        connection = (self.login if database is None else self.login_to(database)).connect()
        try:
            self._without_time_limits(connection)
            yield connection
        finally:
            _end_statement(connection)
            connection.close()

    @contextmanager
    def locked(self, database: str | None = None) -> Iterator[None]:
        """No backup of what is made or overwritten, and no other restore into it, meanwhile; locked in this database.

        Raises: SourceError, TargetError TargetInUse.
        """
        with self.connected(database) as connection, held_for_restore(connection, self.database):
            yield

    def settled(self, pid: int, database: str) -> int | None:
        """The OID of this database once that session of ours has ended, whatever it was committing.

        None where there is no such database, or nobody can be asked.
        """
        with suppress(psycopg.Error, SourceError), self.connected() as connection:
            end = time.monotonic() + _SETTLED_WITHIN_SECONDS
            while connection.execute("select from pg_stat_activity where pid = %s", [pid]).fetchone():
                if time.monotonic() > end:
                    return None
                time.sleep(_SETTLED_INTERVAL_SECONDS)
            row = connection.execute("select oid from pg_database where datname = %s", [database]).fetchone()
            return int(row[0]) if row else None
        return None

    def _without_time_limits(self, connection: psycopg.Connection) -> None:
        """Limits that are set for the role or the database are meant for others."""
        connection.execute(NO_TIME_LIMITS)


def with_parameters(login: Login, **changed: str) -> Login:
    """The same login with other parameters of libpq."""
    return replace(login, parameters={**login.parameters, **changed})


def _end_statement(connection: psycopg.Connection) -> None:
    """A statement that was left in the middle is cancelled, since the server would only notice at its end."""
    if connection.info.transaction_status is psycopg.pq.TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_TIMEOUT_SECONDS)


def stamp(at: datetime) -> str:
    """The time as names have it, for example `20231201_020000`."""
    return at.strftime("%Y%m%d_%H%M%S")


def read_target_server(connection: psycopg.Connection) -> TargetServer:
    """What the server is. Raises: psycopg.Error."""
    row = connection.execute(_SERVER).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server does not know the role that is connected")
    return TargetServer(*row)


def server_identity(connection: psycopg.Connection, login: Login, server: TargetServer) -> str:
    """What tells this server from every other: its system identifier, or its place and version where that is hidden."""
    try:
        row = connection.execute("select system_identifier::text from pg_catalog.pg_control_system()").fetchone()
    except psycopg.Error:
        row = None
    return f"system {row[0]}" if row else f"{login.place.server} PostgreSQL {server.number // 10000}"


def connect_beside(login: Login, avoided: str | None) -> tuple[Login, psycopg.Connection]:
    """A connection to the URL's database, or another where that is missing or `avoided`. Raises: SourceError."""
    names = [login.parameters["dbname"], *_ELSEWHERE]
    missing: SourceError | None = None
    for name in dict.fromkeys(name for name in names if name != avoided):
        candidate = with_parameters(login, dbname=name)
        try:
            return candidate, candidate.connect()
        except SourceError as exc:
            if exc.reason not in (Reason.DATABASE_MISSING, Reason.PERMISSION_DENIED):
                raise
            missing = missing or exc
    raise missing or SourceError(Reason.DATABASE_MISSING, "The server has no other database to work from.")

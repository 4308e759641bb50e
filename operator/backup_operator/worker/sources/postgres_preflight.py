"""Room `worker.sources`: looks at a PostgreSQL server before anything is dumped; called by `sources.postgres`.

Everything that can be known to fail is found here, with names, rather than after an hour of dumping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_catalog import Catalog, Relation
from backup_operator.worker.sources.postgres_connection import Login
from backup_operator.worker.sources.postgres_faults import Place
from backup_operator.worker.sources.postgres_filters import Selection
from backup_operator.worker.sources.postgres_names import quote_name, quote_qualified

_NAMED = 5
"""So many tables are named in a message; the others are counted."""
_TRANSACTION_POOLER_PORT = 6543
_POOLER_TRIES = 3
_SERVER: LiteralString = """
select current_setting('server_version_num')::int, current_setting('server_version'), current_database()::text,
       pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, pg_is_in_recovery(),
       has_table_privilege('pg_catalog.pg_authid', 'SELECT'), u.rolsuper
from pg_database d, pg_roles u where d.datname = current_database() and u.rolname = current_user
"""
_BLOCKERS: LiteralString = """
select l.relation::regclass::text, l.pid, l.mode, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
       coalesce(a.state, ''), coalesce(extract(epoch from now() - a.xact_start)::int, 0)
from pg_locks l left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation' and l.granted and l.mode = 'AccessExclusiveLock' and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
order by 7 desc limit 5
"""


@dataclass(frozen=True)
class Server:
    """What the server says about itself and about our role."""

    number: int
    """server_version_num, for example 150018."""
    version: str
    database: str
    encoding: str
    collation: str
    character_type: str
    in_recovery: bool
    reads_passwords: bool
    is_superuser: bool


def read_server(connection: psycopg.Connection) -> Server:
    """What the server is. Raises: psycopg.Error."""
    row = connection.execute(_SERVER).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server does not know its own database")
    return Server(*row)


def text_codec(connection: psycopg.Connection, server: Server) -> str:
    """Python's name of the database's encoding, in which pg_dump writes and reads names; UTF-8 where there is none."""
    if server.encoding in ("UTF8", "SQL_ASCII"):
        return "utf-8"
    connection.execute(sql.SQL("set client_encoding to {}").format(sql.Identifier(server.encoding)))
    try:
        return connection.info.encoding
    except psycopg.NotSupportedError:
        return "utf-8"
    finally:
        connection.execute("set client_encoding to 'UTF8'")


def database_size_bytes(connection: psycopg.Connection) -> int | None:
    """The size of the database, or None where the role may not ask."""
    try:
        row = connection.execute("select pg_database_size(current_database())").fetchone()
    except psycopg.Error:
        return None
    return int(row[0]) if row else None


def refuse_transaction_pooler_port(place: Place) -> None:
    """Refuse Supabase's transaction pooler by its port, without connecting. Raises: SourceError."""
    if place.port == _TRANSACTION_POOLER_PORT and ".supabase." in place.host:
        raise _pooler(place, f"Port {_TRANSACTION_POOLER_PORT} of Supabase is the pooler in transaction mode.")


def refuse_transaction_pooler(connection: psycopg.Connection, login: Login) -> bool:
    """Refuse a pooler in transaction mode, told by its behaviour; answers whether two connections at once are allowed.

    While one connection is open but idle, a second one gets a server process of its own, unless a pooler has lent the
    first one's process on: then both see the same process id. Others may use the pooler too, so it is tried some times.
    Raises: SourceError.
    """
    try:
        second = psycopg.connect(login.conninfo(), autocommit=True)
    except psycopg.Error:
        # a limit of one connection: pg_dump, alone, may have it
        return False
    with second:
        processes = [(_backend(connection), _backend(second)) for _ in range(_POOLER_TRIES)]
    firsts, seconds = ({pair[0] for pair in processes}, {pair[1] for pair in processes})
    if firsts & seconds or len(firsts) > 1 or len(seconds) > 1:
        raise _pooler(login.place, "Two connections at once shared a server process, or one had several in turn.")
    return True


def refuse_another_database(server: Server, place: Place) -> None:
    """Refuse a server that led us into another database than asked for. Raises: SourceError."""
    if server.database != place.database:
        raise SourceError(
            Reason.DATABASE_MISSING,
            f"The URL asks for the database {place.database!r}, but {place.server} connected to {server.database!r}.",
            detail="A pooler in between maps database names.",
            hint=f"Write the database's own name into the URL in {place.secret}.",
        )


def refuse_unreadable(catalog: Catalog, selection: Selection, place: Place) -> None:
    """Refuse schemas, tables and sequences that the role may not read whole, naming them. Raises: SourceError."""
    read = [each for each in selection.relations(catalog) if each.is_read_by_dump]
    closed = [name for name in selection.schemas if not catalog.schemas[name].usable]
    closed = [name for name in closed if any(each.schema == name for each in read)]
    if closed:
        raise _denied(place, f"use the schema {_listed([quote_name(name) for name in closed])}")
    unreadable = [each for each in read if not each.readable]
    if unreadable:
        what = "sequence" if all(each.kind == "S" for each in unreadable) else "table"
        raise _denied(place, f"read the {what} {_listed(_qualified(unreadable))}")
    hidden = [each for each in read if each.rows_filtered and each.oid not in selection.oids_without_rows]
    if hidden:
        raise SourceError(
            Reason.PERMISSION_DENIED,
            f"Row security hides rows of the table {_listed(_qualified(hidden))} from the role {place.user!r}.",
            detail="A backup without those rows would not be whole, so pg_dump refuses it.",
            hint=f"Type in psql: ALTER ROLE {quote_name(place.user)} BYPASSRLS; or back up as the tables' owner.",
        )


def rows_elsewhere(catalog: Catalog, selection: Selection) -> tuple[str, ...]:
    """A warning that names foreign tables, whose rows are on another server and in no dump of this one."""
    foreign = [each for each in selection.relations(catalog) if each.kind == "f"]
    if not foreign:
        return ()
    names = _listed(_qualified(foreign))
    return (f"Rows of the foreign table {names} are on another server and not in the backup.",)


def blockers(connection: psycopg.Connection) -> str:
    """Who holds locks that a dump waits for, in words; empty when nobody does. Raises: psycopg.Error."""
    return "; ".join(
        f"{table} is locked ({mode}) by process {pid}, role {user or 'unknown'}, "
        f"application {application or 'unnamed'}, {state or 'state unknown'}, for {seconds} s"
        for table, pid, mode, user, application, state, seconds in connection.execute(_BLOCKERS).fetchall()
    )


def _backend(connection: psycopg.Connection) -> int:
    row = connection.execute("select pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _qualified(relations: Sequence[Relation]) -> list[str]:
    return [quote_qualified(each.schema, each.name) for each in relations]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _denied(place: Place, what: str) -> SourceError:
    return SourceError(
        Reason.PERMISSION_DENIED,
        f"The role {place.user!r} may not {what}.",
        hint=f"Type in psql: GRANT pg_read_all_data TO {quote_name(place.user)}; (from PostgreSQL 14), or leave it out "
        "with schemas.exclude or tables.exclude.",
    )


def _pooler(place: Place, detail: str) -> SourceError:
    return SourceError(
        Reason.POOLER_TRANSACTION_MODE,
        f"{place.server} is a pooler in transaction mode; pg_dump needs a session.",
        detail=detail,
        hint="Use the pooler in session mode (Supabase: the same host with port 5432, user postgres.PROJECT_REF) "
        f"or the server itself: correct the URL in {place.secret}.",
    )

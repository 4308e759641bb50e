"""Room `worker.targets`: makes, dresses and drops whole databases; called by `targets.postgres_*`."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
from psycopg import sql

_FACTS: LiteralString = """
select d.oid::bigint, r.rolname::text, pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
       d.datconnlimit, d.datallowconn, d.datacl is null, shobj_description(d.oid, 'pg_database'),
       (select t.spcname::text from pg_tablespace t where t.oid = d.dattablespace)
from pg_database d join pg_roles r on r.oid = d.datdba where d.datname = %s
"""
_SETTINGS: LiteralString = """
select coalesce(r.rolname::text, ''), unnest(s.setconfig)
from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
where s.setdatabase = (select oid from pg_database where datname = %s) order by 1, 2
"""
_GRANTS: LiteralString = """
select case when a.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(a.grantee)) end, a.privilege_type,
       a.is_grantable
from pg_database d, aclexplode(d.datacl) a where d.datname = %s order by 1, 2
"""
_LARGEST: LiteralString = """
select case c.relkind when 'm' then 'materialized view' else 'table' end, format('%I.%I', n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and n.nspname !~ '^(pg_|information_schema)'
order by pg_total_relation_size(c.oid) desc limit 100
"""
_END_OTHERS: LiteralString = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
"""
_QUOTED_LISTS = frozenset(
    {
        "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries",
        "shared_preload_libraries", "unix_socket_directories",
    }
)  # fmt: skip
"""Settings whose value is a list of quoted names. Source: GUC_LIST_QUOTE in guc_tables.c, as pg_dump has it"""
_SINCE = {"icu": 150000, "builtin": 170000}
"""Providers of locales by the server_version_num that can give them to a database."""
_INVALID_LOCALE = ("22023", "42809", "22000", "42704", "XX000")


@dataclass(frozen=True)
class Setting:
    """`ALTER DATABASE … SET`, or for one role in it."""

    role: str
    name: str
    value: str


@dataclass(frozen=True)
class DatabaseFacts:
    """What a database is, beside its content."""

    oid: int
    owner: str
    encoding: str
    collation: str
    character_type: str
    connection_limit: int
    allows_connections: bool
    has_default_grants: bool
    comment: str | None
    tablespace: str


@dataclass(frozen=True)
class Form:
    """What a database is made with; empty where the server decides."""

    encoding: str = ""
    collation: str = ""
    character_type: str = ""
    tablespace: str = ""
    provider: str = ""
    """libc, icu or builtin."""
    locale: str = ""
    """The provider's own name of the locale; empty for libc."""
    icu_rules: str = ""


def read_database(connection: psycopg.Connection, name: str) -> DatabaseFacts | None:
    """What this database is, or None when there is none. Raises: psycopg.Error."""
    row = connection.execute(_FACTS, [name]).fetchone()
    return DatabaseFacts(*row) if row else None


def read_settings(connection: psycopg.Connection, name: str) -> list[Setting]:
    """The settings kept with this database. Raises: psycopg.Error."""
    rows = connection.execute(_SETTINGS, [name]).fetchall()
    return [Setting(role, *text.split("=", 1)) for role, text in rows]


def recorded_settings(server: Mapping[str, object]) -> list[Setting]:
    """The settings that the backup's entry recorded of its database."""
    found = server.get("databaseSettings", ())
    recorded = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    texts = [
        (str(each.get("role", "")), str(each["setting"]))
        for each in recorded
        if isinstance(each, Mapping) and "setting" in each
    ]
    return [Setting(role, *text.split("=", 1)) for role, text in texts if "=" in text]


def create_database(connection: psycopg.Connection, name: str, form: Form, server_number: int) -> tuple[str, ...]:
    """Make an empty database as the form says, or as near as the server can; answers what had to differ.

    Raises: psycopg.Error.
    """
    for attempt in _attempts(form, server_number):
        try:
            connection.execute(_create(name, attempt, server_number))
        except psycopg.Error as exc:
            if attempt == Form() or exc.sqlstate not in _INVALID_LOCALE:
                raise
        else:
            return _different(form, attempt)
    return ()


def _attempts(form: Form, server_number: int) -> list[Form]:
    """From what is wanted to what every server can make."""
    known = form.provider not in _SINCE or server_number >= _SINCE[form.provider]
    libc = replace(form, provider="libc" if form.provider else "", locale="", icu_rules="")
    without_locale = Form(encoding=form.encoding, tablespace=form.tablespace)
    return list(dict.fromkeys([*([form] if known else []), libc, without_locale, Form()]))


def _different(wanted: Form, made: Form) -> tuple[str, ...]:
    """What had to differ, in words."""
    if made == wanted:
        return ()
    if made.collation:
        return (
            f"The server has no locale {wanted.locale!r} of the provider {wanted.provider}; the database was made with "
            f"the C library's {made.collation!r}: text sorts otherwise.",
        )
    encoding = "" if made.encoding == wanted.encoding else f" and no encoding {wanted.encoding} with its own"
    return (
        f"The server has no locale {wanted.locale or wanted.collation!r}{encoding}; the database was made with the "
        "server's own.",
    )


def _create(name: str, form: Form, server_number: int) -> sql.Composed:
    parts = [sql.SQL("create database {} template template0").format(sql.Identifier(name))]
    options: list[tuple[LiteralString, str]] = [
        ("encoding", form.encoding),
        ("lc_collate", form.collation),
        ("lc_ctype", form.character_type),
    ]
    if form.provider and server_number >= _SINCE["icu"]:
        options += [("locale_provider", form.provider)]
        options += [("icu_locale" if form.provider == "icu" else "builtin_locale", form.locale)]
        options += [("icu_rules", form.icu_rules)]
    parts += [sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(value)) for option, value in options if value]
    if form.tablespace:
        parts.append(sql.SQL("tablespace {}").format(sql.Identifier(form.tablespace)))
    return sql.SQL(" ").join(parts)


def free_room(connection: psycopg.Connection) -> None:
    """Give the room of the largest tables of this database back at once, before it is dropped.

    DROP DATABASE asks for a checkpoint before it deletes a file, and on a full disk that one stops the whole server.
    Raises: psycopg.Error. Source: dropdb in dbcommands.c, CheckPointReplicationOrigin in origin.c
    """
    connection.execute("set lock_timeout = '5s'")
    connection.execute(_END_OTHERS)
    for kind, name in connection.execute(_LARGEST).fetchall():
        with suppress(psycopg.errors.DependentObjectsStillExist, psycopg.errors.UndefinedTable):
            connection.execute(f"drop {kind} {name} cascade".encode())


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Drop it, whoever is connected to it. Raises: psycopg.Error."""
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def rename_database(connection: psycopg.Connection, old: str, new: str) -> None:
    """Rename it; waits up to 5 s for others to leave it. Raises: psycopg.Error."""
    connection.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new)))


def keep_settings(connection: psycopg.Connection, name: str, settings: Iterable[Setting]) -> tuple[str, ...]:
    """Give the database these settings; answers those that the server or the role does not allow, in words.

    Raises: psycopg.Error when the connection is lost.
    """
    refused = []
    for setting in settings:
        try:
            with connection.transaction():
                _keep_setting(connection, name, setting)
        except psycopg.DatabaseError as exc:
            if connection.closed:
                raise
            of_role = f" of role {setting.role}" if setting.role else ""
            refused.append(f"The setting {setting.name}{of_role} was left out: {exc.diag.message_primary}.")
    return tuple(refused)


def _keep_setting(connection: psycopg.Connection, name: str, setting: Setting) -> None:
    """A list of quoted names is set as it is and taken over from there; anything else is a literal."""
    whose = sql.SQL("alter database {}").format(sql.Identifier(name))
    if setting.role:
        whose = sql.SQL("alter role {} in database {}").format(sql.Identifier(setting.role), sql.Identifier(name))
    option = sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split("."))
    if setting.name in _QUOTED_LISTS:
        connection.execute("select pg_catalog.set_config(%s, %s, true)", [setting.name, setting.value])
        connection.execute(sql.SQL("{} set {} from current").format(whose, option))
    else:
        connection.execute(sql.SQL("{} set {} to {}").format(whose, option, sql.Literal(setting.value)))


def copy_properties(connection: psycopg.Connection, old: str, facts: DatabaseFacts, new: str) -> tuple[str, ...]:
    """Owner, grants, comment, connection limit and settings of `old` for `new`; answers what was not allowed.

    Raises: psycopg.Error.
    """
    name = sql.Identifier(new)
    connection.execute(sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(facts.owner)))
    limit = sql.Literal(facts.connection_limit)
    connection.execute(sql.SQL("alter database {} connection limit {}").format(name, limit))
    if facts.comment is not None:
        connection.execute(sql.SQL("comment on database {} is {}").format(name, sql.Literal(facts.comment)))
    if not facts.has_default_grants:
        _copy_grants(connection, old, facts.owner, new)
    return keep_settings(connection, new, read_settings(connection, old))


def _copy_grants(connection: psycopg.Connection, old: str, owner: str, new: str) -> None:
    name = sql.Identifier(new)
    for whose in (sql.SQL("public"), sql.Identifier(owner)):
        connection.execute(sql.SQL("revoke all on database {} from {}").format(name, whose))
    for grantee, privilege, grantable in connection.execute(_GRANTS, [old]).fetchall():
        option = sql.SQL(" with grant option" if grantable and grantee != "PUBLIC" else "")
        # the server quoted the grantee and named the privilege
        statement = sql.SQL("grant {} on database {} to {}{}").format(
            sql.SQL(privilege), name, sql.SQL(grantee), option
        )
        connection.execute(statement)

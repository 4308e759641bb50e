"""Room `worker.sources`: what is kept beside a database's content, for the entry; called by `sources.postgres`.

A dump without `--create` holds none of it: locale, settings, owner, grants, comment, connection limit.
Source: https://www.postgresql.org/docs/current/catalog-pg-database.html
"""

from typing import LiteralString

import psycopg
from psycopg import sql

_LOCALE_PROVIDER_SINCE = 150000
_RULES_SINCE = 160000
_LOCALE_RENAMED_SINCE = 170000
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_PROPERTIES: LiteralString = """
select pg_get_userbyid(datdba)::text, datconnlimit, shobj_description(oid, 'pg_database'), datacl is null
from pg_database where datname = current_database()
"""
_GRANTS: LiteralString = """
select case when a.grantee = 0 then '' else pg_get_userbyid(a.grantee)::text end, a.privilege_type, a.is_grantable
from pg_database d, aclexplode(d.datacl) a where d.datname = current_database() order by 1, 2
"""
_SETTINGS: LiteralString = """
select coalesce(pg_get_userbyid(nullif(s.setrole, 0)), '')::text, each,
       position('.' in split_part(each, '=', 1)) = 0 or coalesce(k.vartype, 'string') <> 'string'
from pg_db_role_setting s cross join unnest(s.setconfig) as each
left join pg_settings k on lower(k.name) = lower(split_part(each, '=', 1))
where s.setdatabase = (select oid from pg_database where datname = current_database())
order by 1, 2
"""


def read_properties(connection: psycopg.Connection, server_number: int) -> dict[str, object]:
    """What a restore into a new database needs to know, JSON-ready. Raises: psycopg.Error."""
    return {**_locale(connection, server_number), **_settings(connection), "databaseProperties": _dress(connection)}


def _locale(connection: psycopg.Connection, server_number: int) -> dict[str, object]:
    """Provider, and the provider's own name of the locale; empty for libc, whose names every server has."""
    if server_number < _LOCALE_PROVIDER_SINCE:
        return {"localeProvider": "libc"}
    locale = "datlocale" if server_number >= _LOCALE_RENAMED_SINCE else "daticulocale"
    rules = "daticurules" if server_number >= _RULES_SINCE else "null"
    row = connection.execute(
        sql.SQL(
            "select datlocprovider::text, {}::text, {}::text from pg_database where datname = current_database()"
        ).format(sql.SQL(locale), sql.SQL(rules))
    ).fetchone()
    provider, name, tailoring = row or ("c", None, None)
    found = {"localeProvider": _PROVIDERS.get(provider, provider), "locale": name, "icuRules": tailoring}
    return {key: value for key, value in found.items() if value}


def _settings(connection: psycopg.Connection) -> dict[str, object]:
    """The settings, and the names of those whose values stay out: applications keep secrets in their own settings."""
    settings, withheld = [], []
    for role, setting, is_safe in connection.execute(_SETTINGS).fetchall():
        if is_safe:
            settings.append({"role": role, "setting": setting})
        else:
            withheld.append({"role": role, "name": setting.partition("=")[0]})
    return {"databaseSettings": settings, **({"settingsWithheld": withheld} if withheld else {})}


def _dress(connection: psycopg.Connection) -> dict[str, object]:
    row = connection.execute(_PROPERTIES).fetchone()
    if row is None:
        return {}
    owner, connection_limit, comment, has_default_grants = row
    found: dict[str, object] = {"owner": owner, "connectionLimit": connection_limit}
    if comment is not None:
        found["comment"] = comment
    if not has_default_grants:
        found["grants"] = [
            {"grantee": grantee, "privilege": privilege, "grantable": grantable}
            for grantee, privilege, grantable in connection.execute(_GRANTS).fetchall()
        ]
    return found

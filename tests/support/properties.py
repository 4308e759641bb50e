"""What a PostgreSQL database is beside its content, as a plain value. Used by the e2e tests of restores."""

import json
from typing import Any

from tests.support.compare import PostgresDatabase

_FORM = """
SELECT json_build_object(
  'encoding', pg_encoding_to_char(encoding), 'collate', datcollate, 'ctype', datctype,
  'settings', (SELECT json_agg(setrole::regrole::text || ' ' || setting ORDER BY setrole, setting)
               FROM pg_db_role_setting, unnest(setconfig) AS setting WHERE setdatabase = d.oid))
FROM pg_database d WHERE datname = current_database()
"""
_STANDING = """
SELECT json_build_object(
  'owner', pg_get_userbyid(datdba), 'limit', datconnlimit,
  'grants', (SELECT json_agg(grant_item::text ORDER BY grant_item::text) FROM unnest(datacl) AS grant_item),
  'comment', shobj_description(d.oid, 'pg_database'), 'allows connections', datallowconn)
FROM pg_database d WHERE datname = current_database()
"""


def form_of(database: PostgresDatabase) -> dict[str, Any]:
    """Encoding, locale and settings: what a backup records and every restore into a new database gives back."""
    return dict(json.loads(" ".join(database.query(_FORM))))


def standing_of(database: PostgresDatabase) -> dict[str, Any]:
    """Owner, grants, connection limit and comment: what a database keeps that takes another's place."""
    return dict(json.loads(" ".join(database.query(_STANDING))))


def dress(database: PostgresDatabase, owner: str, reader: str) -> None:
    """Give the database settings, an owner, grants, a limit and a comment; both roles exist."""
    name = '"' + database.name.replace('"', '""') + '"'
    database.query(
        f"""
        ALTER DATABASE {name} SET work_mem = '7MB'; ALTER DATABASE {name} SET search_path = "$user", app, public;
        ALTER ROLE {reader} IN DATABASE {name} SET statement_timeout = '7s';
        ALTER DATABASE {name} OWNER TO {owner}; ALTER DATABASE {name} CONNECTION LIMIT 17;
        COMMENT ON DATABASE {name} IS 'it''s ours'; REVOKE CONNECT ON DATABASE {name} FROM public;
        GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {reader} WITH GRANT OPTION;
        """
    )

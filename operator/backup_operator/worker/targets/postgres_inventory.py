"""Room `worker.targets`: what a database holds that a backup could replace; called by `targets.postgres_replace`.

Members of extensions and what belongs to the system are no part of it. Source:
https://www.postgresql.org/docs/current/catalogs.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from backup_operator.worker.targets.postgres_contents import BackupContents, Created

Address = tuple[int, int]
"""classid and objid, as in pg_depend."""
Key = tuple[str, str, str, str]
"""Group of kinds that share their names, schema, name, arguments."""

_OBJECTS: LiteralString = r"""
with found (kind, schema, name, arguments, classid, objid, owner) as (
  select 'RELATION', relnamespace, relname, '', 'pg_class'::regclass, oid, relowner from pg_class
    where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and relpersistence <> 't'
  union all select 'TYPE', t.typnamespace, t.typname, '', 'pg_type'::regclass, t.oid, t.typowner
    from pg_type t left join pg_class c on c.oid = t.typrelid
    where t.typelem = 0 and coalesce(c.relkind, 'c') = 'c' and t.typtype <> 'm' and t.typtype <> 'p'
  union all select 'FUNCTION', pronamespace, proname, pg_get_function_identity_arguments(oid), 'pg_proc'::regclass, oid,
    proowner from pg_proc
  union all select 'OPERATOR', oprnamespace, oprname,
    coalesce(nullif(oprleft, 0)::regtype::text, 'NONE') || ', ' || coalesce(nullif(oprright, 0)::regtype::text, 'NONE'),
    'pg_operator'::regclass, oid, oprowner from pg_operator
  union all select 'COLLATION', collnamespace, collname, '', 'pg_collation'::regclass, oid, collowner from pg_collation
  union all select 'CONVERSION', connamespace, conname, '', 'pg_conversion'::regclass, oid, conowner from pg_conversion
  union all select 'TEXT SEARCH CONFIGURATION', cfgnamespace, cfgname, '', 'pg_ts_config'::regclass, oid, cfgowner
    from pg_ts_config
  union all select 'TEXT SEARCH DICTIONARY', dictnamespace, dictname, '', 'pg_ts_dict'::regclass, oid, dictowner
    from pg_ts_dict
  union all select 'STATISTICS', stxnamespace, stxname, '', 'pg_statistic_ext'::regclass, oid, stxowner
    from pg_statistic_ext
  union all select 'SCHEMA', null, nspname, '', 'pg_namespace'::regclass, oid, nspowner from pg_namespace
  union all select 'EXTENSION', null, extname, '', 'pg_extension'::regclass, oid, extowner from pg_extension
  union all select 'PUBLICATION', null, pubname, '', 'pg_publication'::regclass, oid, pubowner from pg_publication
  union all select 'EVENT TRIGGER', null, evtname, '', 'pg_event_trigger'::regclass, oid, evtowner from pg_event_trigger
  union all select 'SERVER', null, srvname, '', 'pg_foreign_server'::regclass, oid, srvowner from pg_foreign_server
  union all select 'FOREIGN DATA WRAPPER', null, fdwname, '', 'pg_foreign_data_wrapper'::regclass, oid, fdwowner
    from pg_foreign_data_wrapper
  union all select 'LANGUAGE', null, lanname, '', 'pg_language'::regclass, oid, lanowner from pg_language
)
select f.kind, coalesce(n.nspname, '')::text, f.name::text, f.arguments, f.classid::bigint, f.objid::bigint,
       pg_has_role(current_user, f.owner, 'MEMBER'), pg_describe_object(f.classid, f.objid, 0)
from found f left join pg_namespace n on n.oid = f.schema
where coalesce(n.nspname, f.name) !~ '^pg_' and coalesce(n.nspname, f.name) <> 'information_schema'
  and (f.objid >= 16384 or (f.kind = 'SCHEMA' and f.name = 'public'))
  and not exists (select from pg_depend d where d.classid = f.classid and d.objid = f.objid and d.deptype = 'e')
"""
_GROUPS = {
    "TABLE": "RELATION",
    "FOREIGN TABLE": "RELATION",
    "VIEW": "RELATION",
    "MATERIALIZED VIEW": "RELATION",
    "SEQUENCE": "RELATION",
    "DOMAIN": "TYPE",
    "PROCEDURE": "FUNCTION",
    "AGGREGATE": "FUNCTION",
}
_PUBLIC: Key = ("SCHEMA", "", "public", "")
"""Dumps speak of it without making it, since initdb does."""
_PART = r'(?:"(?:[^"]|"")*"|[^".(]+)'
_NAME = re.compile(rf"({_PART})(?:\.({_PART}))?(?:\s*\((.*)\))?", re.DOTALL)
_WITHOUT_SCHEMA = frozenset(
    {"SCHEMA", "EXTENSION", "PUBLICATION", "EVENT TRIGGER", "SERVER", "FOREIGN DATA WRAPPER", "LANGUAGE"}
)


@dataclass(frozen=True)
class Item:
    """An object of the target."""

    key: Key
    address: Address
    is_ours: bool
    """Whether our role may alter and drop it."""
    described: str
    """As the server calls it, for example `table public.users`."""

    @property
    def kind(self) -> str:
        """The group of kinds, in capitals."""
        return self.key[0]


def read_inventory(connection: psycopg.Connection) -> dict[Key, Item]:
    """Everything that a backup could replace. Needs an empty search_path. Raises: psycopg.Error."""
    found: dict[Key, Item] = {}
    for kind, schema, name, arguments, classid, objid, is_ours, described in connection.execute(_OBJECTS).fetchall():
        key = (kind, schema, name, arguments)
        found[key] = Item(key, (classid, objid), is_ours, described or name)
    return found


def keys_of(contents: BackupContents) -> list[Key]:
    """What the backup makes, in the same terms, each once; functions and operators by their signatures."""
    by_name = [each for each in contents.created if _group(each.kind) not in ("FUNCTION", "OPERATOR")]
    keys = (_key(each) for each in (*by_name, *contents.signatures))
    return list(dict.fromkeys([_PUBLIC, *(key for key in keys if key is not None)]))


def unquoted(written: str) -> str:
    """The name as it is."""
    return written[1:-1].replace('""', '"') if written.startswith('"') else written.strip()


def names(items: Iterable[Item]) -> list[str]:
    """How the server calls these, sorted."""
    return sorted(each.described for each in items)


def _group(kind: str) -> str:
    return _GROUPS.get(kind, kind)


def _key(created: Created) -> Key | None:
    found = _NAME.fullmatch(created.name)
    if found is None:
        return None
    first, second, arguments = found[1], found[2], (found[3] or "").strip()
    group = _group(created.kind)
    if second is None:
        schema = "" if group in _WITHOUT_SCHEMA else "public"
        return (group, schema, unquoted(first), arguments)
    return (group, unquoted(first), unquoted(second), "" if arguments == "*" else arguments)

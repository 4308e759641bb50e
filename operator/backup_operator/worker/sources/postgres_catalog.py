"""Room `worker.sources`: what PostgreSQL's catalog holds, read once a run; called by `sources.postgres_preflight`.

Only metadata is read here, without locks on tables. Source: https://www.postgresql.org/docs/current/catalogs.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

import psycopg

_TABLES: LiteralString = """
select c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
       has_table_privilege(c.oid, 'SELECT') as readable,
       row_security_active(c.oid) and c.relkind in ('r', 'p') as filtered,
       exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         as of_extension,
       exists (select from pg_extension e where c.oid = any (e.extconfig)) as extension_config,
       coalesce((select array_agg(i.inhrelid::bigint) from pg_inherits i where i.inhparent = c.oid and c.relkind = 'p'),
                '{}') as partitions
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname !~ '^pg_(toast|temp)' and n.nspname <> 'pg_catalog'
  and n.nspname <> 'information_schema' and c.relpersistence <> 't'
order by 2, 3
"""
_SCHEMAS: LiteralString = """
select n.nspname::text, has_schema_privilege(n.oid, 'USAGE'),
       (select count(*) from pg_proc p where p.pronamespace = n.oid and not exists (
          select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'))
       + (select count(*) from pg_type t where t.typnamespace = n.oid and t.typtype in ('e', 'd', 'r') and not exists (
          select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'))
       as other_objects,
       exists (select from pg_depend d where d.classid = 'pg_namespace'::regclass and d.objid = n.oid
               and d.deptype = 'e')
from pg_namespace n
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1
"""
_EXTENSIONS: LiteralString = """
select e.extname::text, e.extversion, n.nspname::text
from pg_extension e join pg_namespace n on n.oid = e.extnamespace order by 1
"""


@dataclass(frozen=True)
class Relation:
    """A table, partitioned table (p), view, materialised view, foreign table or sequence (S) of the user's."""

    oid: int
    schema: str
    name: str
    kind: str
    readable: bool
    rows_filtered: bool
    of_extension: bool
    extension_config: bool
    partitions: tuple[int, ...]
    """The oids of its direct partitions."""

    @property
    def is_table(self) -> bool:
        """Whether a table filter can name it."""
        return self.kind != "S"

    @property
    def is_read_by_dump(self) -> bool:
        """Whether pg_dump reads from it: rows of tables, states of sequences."""
        return self.kind in ("r", "p", "S") and (not self.of_extension or self.extension_config)


class Schema(NamedTuple):
    """A schema of the user's; `other_objects` counts functions and types."""

    name: str
    usable: bool
    other_objects: int
    of_extension: bool


class Extension(NamedTuple):
    """An extension and the schema that it was put into."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True)
class Catalog:
    """What the database holds, system schemas apart."""

    schemas: Mapping[str, Schema]
    relations: Mapping[int, Relation]
    extensions: tuple[Extension, ...]
    large_objects: int = 0
    roles: tuple[str, ...] = ()

    def tables_of(self, schemas: Iterable[str]) -> list[Relation]:
        """The relations in these schemas."""
        wanted = set(schemas)
        return [relation for relation in self.relations.values() if relation.schema in wanted]

    def with_partitions(self, oids: Iterable[int]) -> set[int]:
        """These relations and all that are below them as partitions."""
        found: set[int] = set()
        waiting = list(oids)
        while waiting:
            oid = waiting.pop()
            if oid in self.relations and oid not in found:
                found.add(oid)
                waiting.extend(self.relations[oid].partitions)
        return found


def read_catalog(connection: psycopg.Connection) -> Catalog:
    """Read the catalog. Raises: psycopg.Error."""
    relations = [_relation(row) for row in connection.execute(_TABLES).fetchall()]
    objects = connection.execute("select count(*) from pg_largeobject_metadata").fetchone() or (0,)
    roles = connection.execute(
        "select rolname::text from pg_roles where rolname !~ '^pg_' order by 1 limit 500"
    ).fetchall()
    return Catalog(
        schemas={row[0]: Schema(*row) for row in connection.execute(_SCHEMAS).fetchall()},
        relations={relation.oid: relation for relation in relations},
        extensions=tuple(Extension(*row) for row in connection.execute(_EXTENSIONS).fetchall()),
        large_objects=objects[0],
        roles=tuple(row[0] for row in roles),
    )


def _relation(row: tuple[Any, ...]) -> Relation:
    oid, schema, name, kind, *flags, partitions = row
    readable, filtered, of_extension, extension_config = flags
    return Relation(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        readable=readable,
        rows_filtered=filtered,
        of_extension=of_extension,
        extension_config=extension_config,
        partitions=tuple(partitions),
    )

"""Room `worker.sources`: which part of a Supabase database is the provider's; called by `sources.postgres`.

The lists are data, with a version: supabase_profile.json. Patterns in them are matched with the catalog, so that
pg_dump gets exact names only.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import LiteralString

import psycopg
from pydantic import BaseModel, ConfigDict

from backup_operator.vocabulary.choices import Profile
from backup_operator.worker.sources.postgres_catalog import Catalog, Relation
from backup_operator.worker.sources.postgres_names import exact_pattern, quote_name, quote_qualified

_DATA_FILE = "supabase_profile.json"
_PREAMBLE = """\
-- Rows of schemas that the provider makes itself. Load them into a project that has those tables, before the main dump,
-- whose foreign keys need them. No trigger fires while they are loaded.
{statements}
SET session_replication_role = replica;

"""
_STATEMENTS_HEADING = (
    "Made by the project's owner on the provider's tables, so in no dump. Run them after the main dump:"
)
_TRIGGERS: LiteralString = """
select pg_get_triggerdef(t.oid) || ';'
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
where not t.tgisinternal and c.relnamespace::regnamespace::text = any (%(schemas)s)
  and p.pronamespace::regnamespace::text <> all (%(schemas)s)
order by 1
"""
_POLICIES: LiteralString = """
select format('CREATE POLICY %%I ON %%I.%%I AS %%s FOR %%s TO %%s%%s%%s;',
              policyname, schemaname, tablename, permissive, cmd,
              (select string_agg(case when role = 'public' then 'PUBLIC' else quote_ident(role) end, ', ')
               from unnest(roles) role),
              ' USING (' || qual || ')', ' WITH CHECK (' || with_check || ')')
from pg_policies where schemaname = any (%(schemas)s) order by 1
"""
_PUBLISHED: LiteralString = """
select pubname::text, format('ALTER PUBLICATION %%I ADD TABLE ONLY %%I.%%I;', pubname, schemaname, tablename)
from pg_publication_tables where schemaname <> all (%(schemas)s) order by 2
"""
_PUBLICATIONS: LiteralString = "select pubname::text from pg_publication order by 1"


class SupabaseLists(BaseModel):
    """The lists of supabase_profile.json; names may hold `*`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    host_suffixes: tuple[str, ...]
    provider_schemas: tuple[str, ...]
    schemas_with_rows: tuple[str, ...]
    tables_without_rows: tuple[str, ...]
    reserved_roles: tuple[str, ...]
    provider_publications: tuple[str, ...]
    unwanted_statements: tuple[str, ...]
    """Regular expressions for first lines of statements that a project has already or only its superuser may run."""


@dataclass(frozen=True)
class ProviderPlan:
    """How a provider's database is dumped: what the main dump leaves out, and what is an artifact of its own."""

    schemas: tuple[str, ...]
    """Schemas that the main dump leaves out."""
    rows_of: tuple[tuple[str, str], ...]
    """(schema, table) of the provider's whose rows are the user's."""
    statements: tuple[str, ...] = ()
    """What the user made on the provider's tables: triggers, policies, published tables."""
    unwanted: re.Pattern[bytes] | None = None
    """Statements that are taken out of a plain main dump."""
    published: tuple[str, ...] = ()
    """What the user published, which a custom main dump cannot hold apart from the provider's publications."""
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def preamble(self, *, with_published: bool) -> bytes:
        """What stands before the rows; the statements as comments, since they can run after the main dump only."""
        statements = self.statements + (self.published if with_published else ())
        commented = [_STATEMENTS_HEADING, *statements] if statements else []
        lines = "\n".join(commented).splitlines()
        return _PREAMBLE.format(statements="\n".join(f"--   {line}" for line in lines)).encode()

    def row_options(self) -> list[str]:
        """Options of pg_dump that choose the rows of `rows_of`."""
        return [f"--table={exact_pattern(*names)}" for names in self.rows_of]


def plan_provider(profile: Profile, host: str, catalog: Catalog) -> ProviderPlan | None:
    """The plan for a Supabase database, or None for any other; `Auto` goes by the host's name."""
    lists = supabase_lists()
    if profile is Profile.GENERIC or (profile is Profile.AUTO and not is_supabase_host(host, lists)):
        return None
    schemas = tuple(name for name in catalog.schemas if _matches(name, lists.provider_schemas))
    tables = [
        each
        for each in catalog.tables_of(_only(schemas, lists.schemas_with_rows))
        if each.kind in ("r", "p") and not _matches(f"{each.schema}.{each.name}", lists.tables_without_rows)
    ]
    unreadable = [each for each in tables if not each.readable or not catalog.schemas[each.schema].usable]
    readable = [each for each in tables if each not in unreadable]
    return ProviderPlan(
        schemas=schemas,
        rows_of=tuple((each.schema, each.name) for each in readable),
        unwanted=re.compile("|".join(lists.unwanted_statements).encode()),
        warnings=_not_in_the_backup(unreadable),
        facts={"profile": f"{Profile.SUPABASE} {lists.version}", "providerSchemas": list(schemas)},
    )


def with_statements(plan: ProviderPlan, connection: psycopg.Connection) -> ProviderPlan:
    """The plan with what the user made on the provider's tables. Raises: psycopg.Error."""
    schemas = {"schemas": list(plan.schemas)}
    made = [row[0] for query in (_TRIGGERS, _POLICIES) for row in connection.execute(query, schemas).fetchall()]
    published = connection.execute(_PUBLISHED, schemas).fetchall()
    own = [
        row[0]
        for row in connection.execute(_PUBLICATIONS).fetchall()
        if not _matches(row[0], supabase_lists().provider_publications)
    ]
    created = [f"CREATE PUBLICATION {quote_name(name)};" for name in own]
    return replace(plan, statements=tuple(made), published=(*created, *(row[1] for row in published)))


def is_supabase_host(host: str, lists: SupabaseLists) -> bool:
    """Whether the host is one of Supabase's."""
    return host.lower().rstrip(".").endswith(lists.host_suffixes)


@cache
def supabase_lists() -> SupabaseLists:
    """The lists that this release knows."""
    text = files("backup_operator.worker.sources").joinpath(_DATA_FILE).read_text(encoding="utf-8")
    return SupabaseLists.model_validate(json.loads(text))


def _not_in_the_backup(tables: Sequence[Relation]) -> tuple[str, ...]:
    if not tables:
        return ()
    names = ", ".join(quote_qualified(each.schema, each.name) for each in tables)
    return (f"Rows of {names} are not in the backup: the role may not read them.",)


def _only(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    wanted = tuple(patterns)
    return [name for name in names if _matches(name, wanted)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

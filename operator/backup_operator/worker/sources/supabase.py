"""Room `worker.sources`: which part of a Supabase database is the provider's; called by `sources.postgres`.

The lists are data, with a version: supabase_profile.json. Patterns in them are matched with the catalog, so that
pg_dump gets exact names only.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from backup_operator.vocabulary.choices import Profile
from backup_operator.worker.sources.postgres_catalog import Catalog
from backup_operator.worker.sources.postgres_names import exact_pattern, quote_qualified

_DATA_FILE = "supabase_profile.json"
_PREAMBLE = b"""\
-- Rows of schemas that the provider makes itself. Load them into a project that has those tables, before the main dump:
-- triggers and foreign keys are not fired while they are loaded.
SET session_replication_role = replica;

"""


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


@dataclass(frozen=True)
class ProviderPlan:
    """How a provider's database is dumped: what the main dump leaves out, and what is an artifact of its own."""

    schemas: tuple[str, ...]
    """Schemas that the main dump leaves out."""
    rows_of: tuple[tuple[str, str], ...]
    """(schema, table) of the provider's whose rows are the user's."""
    preamble: bytes = _PREAMBLE
    options: tuple[str, ...] = ()
    """Options of pg_dump for the main dump."""
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

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
        options=("--no-publications",),
        warnings=tuple(
            f"Rows of {quote_qualified(each.schema, each.name)} are not in the backup: the role may not read them."
            for each in unreadable
        ),
        facts={"profile": f"{Profile.SUPABASE} {lists.version}", "providerSchemas": list(schemas)},
    )


def is_supabase_host(host: str, lists: SupabaseLists) -> bool:
    """Whether the host is one of Supabase's."""
    return host.lower().rstrip(".").endswith(lists.host_suffixes)


@cache
def supabase_lists() -> SupabaseLists:
    """The lists that this release knows."""
    text = files("backup_operator.worker.sources").joinpath(_DATA_FILE).read_text(encoding="utf-8")
    return SupabaseLists.model_validate(json.loads(text))


def _only(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    wanted = tuple(patterns)
    return [name for name in names if _matches(name, wanted)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

"""Room `worker.sources`: turns the order's names into what pg_dump leaves out; called by `sources.postgres_preflight`.

Every name is looked up in the catalog first: pg_dump itself folds case, takes `*` and `?` as wildcards and says nothing
when an exclusion matches nothing.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from backup_operator.contract.order import PostgresOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.postgres_catalog import Catalog, Relation
from backup_operator.worker.sources.postgres_names import exact_pattern, quote_name, quote_qualified, read_name


@dataclass(frozen=True)
class Selection:
    """What is dumped: the schemas that are left, and exact names of what is left out."""

    schemas: tuple[str, ...]
    excluded_schemas: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """(schema, table), partitions of a partitioned table included."""
    excluded_rows: tuple[tuple[str, str], ...] = ()
    """(schema, table) whose definition is dumped without rows."""
    oids_without_rows: frozenset[int] = field(default_factory=frozenset)

    def options(self) -> list[str]:
        """Options of pg_dump that leave out what is not selected."""
        return [
            *(f"--exclude-schema={exact_pattern(name)}" for name in self.excluded_schemas),
            *(f"--exclude-table={exact_pattern(*names)}" for names in self.excluded),
            *(f"--exclude-table-data={exact_pattern(*names)}" for names in self.excluded_rows),
        ]

    def relations(self, catalog: Catalog) -> list[Relation]:
        """The relations that are dumped."""
        left_out = set(self.excluded)
        return [each for each in catalog.tables_of(self.schemas) if (each.schema, each.name) not in left_out]


def select(order: PostgresOrder, catalog: Catalog, provider_schemas: Iterable[str] = ()) -> Selection:
    """What the order dumps of this catalog; `provider_schemas` are left out besides.

    Raises: SourceError FilterMatchesNothing for a name that is not there.
    """
    provider = set(provider_schemas)
    _refuse_unknown_schemas(order, catalog)
    wanted = set(order.schemas.include) or set(catalog.schemas) - provider
    kept = tuple(name for name in catalog.schemas if name in wanted and name not in order.schemas.exclude)
    excluded = _tables("tables.exclude", order.tables.exclude, catalog)
    without_rows = _tables("tables.excludeData", order.tables.exclude_data, catalog)
    return Selection(
        schemas=kept,
        excluded_schemas=tuple(name for name in catalog.schemas if name not in kept),
        excluded=_names(catalog, excluded, kept),
        excluded_rows=_names(catalog, without_rows - excluded, kept),
        oids_without_rows=frozenset(without_rows),
    )


def _refuse_unknown_schemas(order: PostgresOrder, catalog: Catalog) -> None:
    for where, names in (("schemas.include", order.schemas.include), ("schemas.exclude", order.schemas.exclude)):
        for name in names:
            if name not in catalog.schemas:
                raise _matches_nothing(where, name, "schema", [(each, each) for each in catalog.schemas])


def _tables(where: str, written: Iterable[str], catalog: Catalog) -> set[int]:
    tables = [each for each in catalog.relations.values() if each.is_table]
    found: set[int] = set()
    for text in written:
        name = read_name(text)
        matching = [
            each.oid
            for each in tables
            if name is not None and each.name == name.table and name.schema in (None, each.schema)
        ]
        if not matching:
            known = [(each.name, quote_qualified(each.schema, each.name)) for each in tables]
            raise _matches_nothing(where, text, "table", known)
        found |= catalog.with_partitions(matching)
    return found


def _names(catalog: Catalog, oids: Iterable[int], schemas: Iterable[str]) -> tuple[tuple[str, str], ...]:
    kept = set(schemas)
    relations = (catalog.relations[oid] for oid in oids)
    return tuple(sorted((each.schema, each.name) for each in relations if each.schema in kept))


def refuse_nothing(selection: Selection, catalog: Catalog) -> None:
    """Refuse a selection that leaves nothing. Raises: SourceError SourceEmpty."""
    others = sum(catalog.schemas[name].other_objects for name in selection.schemas)
    if selection.relations(catalog) or others or catalog.large_objects:
        return
    left_out = ", ".join(quote_name(name) for name in selection.excluded_schemas[:10])
    raise SourceError(
        Reason.SOURCE_EMPTY,
        "There is nothing to back up: no table, view, sequence, function or type is left.",
        detail=f"Left out are the schemas {left_out}." if left_out else "The database holds no objects of a user.",
        hint="Look whether the URL names the right database, and at schemas and tables in the policy.",
    )


def _matches_nothing(where: str, text: str, what: str, known: list[tuple[str, str]]) -> SourceError:
    """The error for a name that is not there; `known` are names as they are and as they are written."""
    read = read_name(text) if what == "table" else None
    sought = (read.table if read else text).strip('"').lower()
    by_folded: dict[str, list[str]] = {}
    for name, written in known:
        by_folded.setdefault(name.lower(), []).append(written)
    near = [
        written for name in difflib.get_close_matches(sought, by_folded, n=3, cutoff=0.6) for written in by_folded[name]
    ]
    detail = f"Near names are: {', '.join(near[:5])}." if near else f"The database has {len(known)} {what}s."
    quoting = " Names with capitals, dots or blanks are written in double quotes." if what == "table" else ""
    return SourceError(
        Reason.FILTER_MATCHES_NOTHING,
        f"The name {text!r} in spec.source.postgres.{where} matches no {what} of the database.",
        detail=detail,
        hint=f"Correct the name in the policy, or take it out.{quoting}",
    )

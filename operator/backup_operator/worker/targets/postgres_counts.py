"""Room `worker.targets`: counts rows in the target and compares with the backup; called by `targets.postgres_*`."""

from collections.abc import Iterable, Mapping

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.words import numbered

_TABLES_A_QUERY = 100
_NAMED = 5


def count_rows(connection: psycopg.Connection, tables: Iterable[str]) -> dict[str, int]:
    """Rows of each table by name as SQL writes it, those of children apart. Raises: psycopg.Error."""
    names = list(tables)
    found: dict[str, int] = {}
    for start in range(0, len(names), _TABLES_A_QUERY):
        batch = names[start : start + _TABLES_A_QUERY]
        # the names are quoted as pg_dump quoted them, in a verified backup
        counts = [f"select {number}, count(*) from only {name}" for number, name in enumerate(batch)]  # noqa: S608
        for number, rows in connection.execute(" union all ".join(counts).encode()).fetchall():
            found[batch[number]] = rows
    return found


def refuse_differences(found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Refuse a table that does not hold as many rows as the backup. Raises: TargetError CheckFailed naming them."""
    differing = [
        f"{table}: {numbered(found.get(table, 0), 'row')} in place of {rows:,}"
        for table, rows in expected.items()
        if found.get(table) != rows
    ]
    if not differing:
        return
    more = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
    raise TargetError(
        Reason.CHECK_FAILED,
        f"{len(differing)} of {len(expected)} tables do not hold the rows that the backup counted.",
        detail="; ".join(differing[:_NAMED]) + more,
        hint="A trigger, a rule or a policy of the target may have swallowed rows; look at those of the named tables.",
    )

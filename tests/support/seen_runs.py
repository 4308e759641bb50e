"""Room `tests.support`: runs as they are compared with each other, one an hour."""

from dataclasses import replace
from typing import Any

from backup_operator.contract.report import Comparison
from backup_operator.rules.plausibility import SMALLEST_BYTES, KeyFigures, SeenRun, compare_newest

Tables = dict[str, int]
BIG = 20 * SMALLEST_BYTES
APP: Tables = {"public.users": 1000, "public.orders": 3000, "public.notes": 0}


def name_of(number: int) -> str:
    """The name of the run that begins so many hours on."""
    return f"backup_202611{1 + number // 24:02}_{number % 24:02}0000"


def rows(tables: Tables, size_bytes: int = BIG, **changes: Any) -> SeenRun:
    """A run of a database."""
    return SeenRun("", "spec", size_bytes, rows_per_table=tables, **changes)


def keys(lasting: int, expiring: int = 0, size_bytes: int = BIG, **changes: Any) -> SeenRun:
    """A run of a Redis."""
    return SeenRun("", "spec", size_bytes, keys=KeyFigures(lasting, expiring), **changes)


def named(runs: list[SeenRun]) -> list[SeenRun]:
    """The runs, begun one an hour."""
    return [replace(run, name=name_of(number)) for number, run in enumerate(runs)]


def comparison_of(*runs: SeenRun, accepted: int | None = None) -> Comparison:
    """How the last of them looks beside the others, where the run of that number has been accepted."""
    compared = compare_newest(named(list(runs)), "" if accepted is None else name_of(accepted))
    assert compared is not None
    return compared

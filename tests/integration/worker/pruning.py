"""Stores to prune, and pruning at a moment; used by the tests of retention on real files."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_operator.contract.order import RetentionOrder
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.prune import Pruning, prune
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.workplace import Workplace
from tests.support.store_content import KEYS, write_run

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LAST_TWO = RetentionOrder(keep_last=2, minimum=1)


def opened(mount: Path, before_step: Callable[[str], None] | None = None) -> Store:
    return open_store(mount, "prod/app-db", described="claim prod/backups", create=True, before_step=before_step)


def pruning(retention: RetentionOrder = LAST_TWO, **changes) -> Pruning:
    return replace(Pruning(retention, SourceKind.POSTGRES, "prod/app-db"), **changes)


def at(now: datetime) -> Workplace:
    return Workplace(now=lambda: now, host="pod-1")


def prune_at(store: Store, now: datetime, retention: RetentionOrder = LAST_TWO, **changes):
    return prune(store, KEYS, pruning(retention, **changes), at(now))


def name_of(day: datetime) -> str:
    return f"backup_{day:%Y%m%d_%H%M%S}"


def files_of(*runs: str, globals_too: bool = True) -> set[str]:
    kinds = [("backup_", ".sql.gz.gpg"), *([("globals_", ".sql.gz.gpg")] if globals_too else [])]
    artifacts = {run.replace("backup_", prefix) + suffix for run in runs for prefix, suffix in kinds}
    return artifacts | {f"{run}.json" for run in runs}


def of_runs(store: Store) -> set[str]:
    return {name for name in store.names() if name not in {"audit.jsonl", ".lock"}}


def written(store: Store, days: int, **changes) -> list[str]:
    """Good runs of so many nights up to NIGHT, oldest first."""
    return [write_run(store, NIGHT - number * DAY, **changes) for number in reversed(range(days))]

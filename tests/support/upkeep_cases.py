"""What is known of a store, and what should be said of it. Used by the unit tests of `rules.upkeep`."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_operator.api.backuppolicy import (
    BackupRecord,
    ComparisonStatus,
    RetentionPreview,
    RetentionStatus,
)
from backup_operator.rules.conditions import Runs
from backup_operator.rules.upkeep import Wish
from backup_operator.vocabulary.conditions import ConditionStatus
from backup_operator.vocabulary.reasons import Reason

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
GIB = 1 << 30
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
WISH = Wish("prod", "app-db", "backups", usage_limit_percent=90, retention_digest="now")
DRY = replace(WISH, dry_run=True)
ACCEPT = "kubectl -n prod annotate bp app-db --overwrite backup.agentsflow.ai/accepted-backup=backup_9"


def good(ended: datetime = NOW - HOUR) -> BackupRecord:
    return BackupRecord(
        name="backup_9", started_at=ended - HOUR, completed_at=ended, duration_seconds=3600, size_bytes=2048
    )


def runs(**known: Any) -> Runs:
    return Runs(namespace="prod", cronjob="app-db", **{"last_good": good(), **known})


def applied(**changes: Any) -> RetentionStatus:
    known: dict[str, Any] = {
        "kept": 12,
        "deleted": 0,
        "freed_bytes": 0,
        "applied_at": NOW - HOUR,
        "rules_digest": "now",
    }
    return RetentionStatus(**{**known, **changes})


def preview(count: int, at: datetime = NOW) -> RetentionPreview:
    return RetentionPreview(at=at, count=count, bytes=count * GIB, names=tuple(f"backup_{n}" for n in range(count))[:5])


def out_of_line(**changes: Any) -> ComparisonStatus:
    known = {"run": "backup_9", "compared_with": 7, "reason": Reason.ROWS_COLLAPSED, "since_run": "backup_8"}
    return ComparisonStatus(**{**known, "message": "backup_9 holds 3 rows; expected about 900", **changes})


@dataclass(frozen=True)
class Case:
    known: dict[str, Any]
    status: ConditionStatus | None
    reason: Reason | None = None
    words: tuple[str, ...] = ()
    wish: Wish = WISH
    runs: Runs = field(default_factory=runs)

"""Room `contract`: what a worker answers; written by `worker.cli` as the termination message, read by `controller`.

At most 4096 bytes: of a longer termination message the kubelet keeps only the last 4096, so `encode` drops the oldest
backups first, then cuts texts, then drops what each rule of retention keeps and the names of others' files. Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import re
from collections.abc import Iterable
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason

REPORT_LIMIT_BYTES = 4096
LISTED_BACKUPS = 20
LISTED_DELETIONS = 5
_TEXT_LIMIT = 600
_SHORT_TEXT_LIMIT = 160
_SHORTEST_TEXT_LIMIT = 80
_MOST_RULES = 9


class _Letter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BackupLine(_Letter):
    """One backup of the catalog, as short as it can be; exactly one of rows and keys is set."""

    name: str
    started_at: AwareDatetime
    completed_at: AwareDatetime
    size_bytes: int
    """Stored size of all its artifacts."""
    rows: int | None = None
    keys: int | None = None
    verified: bool = True


class StorageUse(_Letter):
    """Use of the volume and of the store, in bytes."""

    used_bytes: int
    capacity_bytes: int
    store_bytes: int
    full_at: AwareDatetime | None = None
    """When the volume is full if runs go on at their pace and grow as they did; None: not within sight."""

    @property
    def used_percent(self) -> int:
        """Use of the volume, rounded up, 0 to 100."""
        return -(-100 * self.used_bytes // self.capacity_bytes) if self.capacity_bytes else 0


class Fault(_Letter):
    """Why a run failed: PostgreSQL's message, detail, hint."""

    reason: Reason
    message: str
    detail: str = ""
    hint: str = ""
    retryable: bool = False


class Catalog(_Letter):
    """What the store holds: `backups` newest first, at most 20."""

    count: int
    locked: int | None = None
    """Backups beside them that another passphrase was used for; None for none."""
    oldest_at: AwareDatetime | None = None
    old_files: int | None = None
    """Files of the old scripts; they are no backups of the catalog, and never deleted. None for none."""
    foreign_files: int | None = None
    """Files that nobody of us wrote; never deleted. None for none."""
    other_names: tuple[str, ...] = ()
    """The first few of both."""
    backups: tuple[BackupLine, ...] = ()


class Departure(_Letter):
    """A run that retention will delete, and the start of the run after which it does, at the present pace."""

    run: str
    at: AwareDatetime


class RetentionResult(_Letter):
    """What retention did after a good run."""

    applied_at: AwareDatetime
    kept: int
    """Runs that stay by the plan."""
    held_back: int = 0
    """Those of them that only `minimum` keeps: FloorReached."""
    deleted: tuple[str, ...] = ()
    """Oldest first; a letter that grows too long names the first few."""
    deleted_count: int = 0
    freed_bytes: int = 0
    left: tuple[str, ...] = ()
    """Runs that should have gone and are there yet, with a word why; at most 3."""
    next_to_go: Departure | None = None
    """None: nothing goes within sight."""
    rules: tuple[str, ...] = ()
    """What each rule keeps and lets go next, one line each."""
    stopped: str = ""
    """Why it could not be done to its end; empty when it could. The next good run goes on."""
    dry_run: bool = False
    """True: nothing was deleted, by order or because an inventory deletes nothing; `going` would."""
    going: tuple[str, ...] = ()
    """Of a dry run: the runs that would go, oldest first; a letter that grows too long names the first few."""
    going_count: int = 0
    going_bytes: int = 0
    blocked: int = 0
    """Runs that would go by the rules and stay because the newest backup is implausible: RetentionBlocked."""
    rules_digest: str = ""
    """That of the order."""


class Comparison(_Letter):
    """How the newest backup looks beside those before it."""

    run: str
    """The newest backup."""
    compared_with: int
    """How many earlier ones it was compared with; 0: there was nothing to compare."""
    reason: Reason | None = None
    """SizeCollapsed, RowsCollapsed, KeysCollapsed or TableVanished; None: it is in line."""
    since_run: str = ""
    """The first of the runs in a row, up to the newest, that are not in line; empty when it is."""
    message: str = ""
    """What was found and what was expected, in one sentence; empty when it is in line."""
    accepted: bool = False
    """True: it is not in line with what was before `accepted_run`, and that was accepted."""


class Report(_Letter):
    """How a worker's job ended; `fault` is set when it failed, `backup` when it made one."""

    version: Literal[1] = 1
    kind: Literal["Backup", "Inventory"] = "Backup"
    outcome: Outcome
    run: str = ""
    started_at: AwareDatetime
    completed_at: AwareDatetime
    backup: BackupLine | None = None
    fault: Fault | None = None
    warnings: tuple[str, ...] = ()
    storage: StorageUse | None = None
    catalog: Catalog | None = None
    retention: RetentionResult | None = None
    """Set when the order asked for retention and the run was good."""
    comparison: Comparison | None = None
    """Set when there is a backup to speak of."""


def encode(report: Report) -> bytes:
    """The report as JSON of at most REPORT_LIMIT_BYTES."""
    return first_that_fits(one.model_dump_json(exclude_none=True) for one in _shorter_and_shorter(report))


def decode(letter: str | bytes) -> Report:
    """The report in a termination message. Raises: pydantic.ValidationError when it is none."""
    return Report.model_validate_json(letter)


def _shorter_and_shorter(report: Report) -> list[Report]:
    candidates = [report]
    for limit in (_TEXT_LIMIT, _SHORT_TEXT_LIMIT):
        cut = _with_texts_cut(report, limit)
        candidates += [_with_backups_cut(cut, kept) for kept in range(LISTED_BACKUPS, -1, -1)]
    shortest = _without_rules(_with_backups_cut(report, 0))
    return [*candidates, *(_with_texts_cut(shortest, limit) for limit in (_SHORT_TEXT_LIMIT, _SHORTEST_TEXT_LIMIT))]


def _with_backups_cut(report: Report, kept: int) -> Report:
    if report.catalog is None:
        return report
    catalog = report.catalog.model_copy(update={"backups": report.catalog.backups[:kept]})
    return report.model_copy(update={"catalog": catalog})


def _with_texts_cut(report: Report, limit: int) -> Report:
    fault = report.fault and cut_fault(report.fault, limit)
    warnings = tuple(cut_text(warning, limit) for warning in report.warnings[:3])
    retention = report.retention and _cut_retention(report.retention, limit)
    comparison = report.comparison and report.comparison.model_copy(
        update={"message": cut_text(report.comparison.message, limit)}
    )
    return report.model_copy(
        update={"fault": fault, "warnings": warnings, "retention": retention, "comparison": comparison}
    )


def _cut_retention(result: RetentionResult, limit: int) -> RetentionResult:
    return result.model_copy(
        update={
            "deleted": result.deleted[:LISTED_DELETIONS],
            "going": result.going[:LISTED_DELETIONS],
            "left": tuple(cut_text(text, _SHORT_TEXT_LIMIT) for text in result.left[:3]),
            "rules": tuple(cut_text(line, _SHORT_TEXT_LIMIT) for line in result.rules[:_MOST_RULES]),
            "stopped": cut_text(result.stopped, limit),
        }
    )


def _without_rules(report: Report) -> Report:
    retention = report.retention and report.retention.model_copy(update={"left": (), "rules": ()})
    catalog = report.catalog and report.catalog.model_copy(update={"other_names": ()})
    return report.model_copy(update={"retention": retention, "catalog": catalog})


def first_that_fits(letters: Iterable[str]) -> bytes:
    """The first letter that a termination message takes whole. Raises: ValueError when none does."""
    for letter in letters:
        encoded = letter.encode()
        if len(encoded) <= REPORT_LIMIT_BYTES:
            return encoded
    raise ValueError(f"however much is left out of the report, it is longer than {REPORT_LIMIT_BYTES} bytes")


def cut_fault(fault: Fault, limit: int) -> Fault:
    """The fault with each of its texts within `limit` bytes of UTF-8."""
    return fault.model_copy(
        update={name: cut_text(getattr(fault, name), limit) for name in ("message", "detail", "hint")}
    )


def cut_text(text: str, limit: int) -> str:
    """The text within `limit` bytes of UTF-8, an ellipsis where something went.

    A control character takes six bytes of JSON, and nobody reads it: a question mark stands for it.
    """
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", text)
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "…"

"""Room `rules`: the part of a policy's status that speaks of its store, from what workers report; pure.

Called by `rules.status`. The newest report is the truth about the store. What retention really did stays known beside
what an inventory or a dry run foretells. A report that comes from a clock that was ahead is taken at its Job's time: no
backup is fresh for longer because its node was wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from backup_operator.api.backuppolicy import (
    LISTED_BACKUPS,
    BackupPolicyStatus,
    BackupRecord,
    ComparisonStatus,
    ListedBackup,
    OtherFiles,
    StorageStatus,
)
from backup_operator.api.meta import size_in_words, to_the_second
from backup_operator.contract.report import BackupLine, Catalog, Comparison, Report, StorageUse
from backup_operator.rules.conditions import CLOCK_SKEW
from backup_operator.rules.retained import with_result
from backup_operator.vocabulary.choices import Outcome


@dataclass(frozen=True)
class Letter:
    """A report, and when the API server made the Job that it is of."""

    report: Report
    job_created_at: datetime


def stored(before: BackupPolicyStatus, letters: Iterable[Letter], now: datetime) -> BackupPolicyStatus:
    """The status with everything that these reports say of the store, in whatever order they are given."""
    reports = [_at_our_time(letter, now) for letter in letters]
    status = before
    for report in sorted((one for one in reports if _not_older(one, before, now)), key=_catalog_is_of):
        status = _with_report(status, report, now)
    return status


def usual_duration(status: BackupPolicyStatus) -> timedelta | None:
    """How long a run of this policy takes, the median of those that are listed; None while there is none."""
    known = [one.duration_seconds for one in status.backups if one.duration_seconds is not None]
    return timedelta(seconds=round(median(known))) if known else None


def backup_record(line: BackupLine, warnings: tuple[str, ...] = ()) -> BackupRecord:
    """A line of the catalog as the status shows it."""
    return BackupRecord(
        name=line.name,
        started_at=to_the_second(line.started_at),
        completed_at=to_the_second(line.completed_at),
        duration_seconds=_seconds(line),
        size_bytes=line.size_bytes,
        rows=line.rows,
        keys=line.keys,
        verified=line.verified,
        warnings=warnings or None,
    )


def _at_our_time(letter: Letter, now: datetime) -> Report:
    """The report; one of a moment that is still to come is moved back to when its Job was made."""
    report = letter.report
    if report.completed_at <= now + CLOCK_SKEW:
        return report
    ahead = report.started_at - letter.job_created_at
    moved: dict[str, object] = {
        "started_at": report.started_at - ahead,
        "completed_at": report.completed_at - ahead,
        "backup": report.backup and _moved_back(report.backup, ahead),
        "retention": report.retention
        and report.retention.model_copy(update={"applied_at": report.retention.applied_at - ahead}),
    }
    return report.model_copy(update=moved)


def _moved_back(line: BackupLine, ahead: timedelta) -> BackupLine:
    return line.model_copy(update={"started_at": line.started_at - ahead, "completed_at": line.completed_at - ahead})


def _catalog_is_of(report: Report) -> tuple[datetime, bool]:
    """The moment up to which a report's catalog holds every backup for sure; a run's own comes after an inventory's.

    An inventory may read the store just before a run commits and end after it: it speaks for the moment it began.
    """
    is_run = report.kind == "Backup"
    return (report.completed_at if is_run else report.started_at, is_run)


def _not_older(report: Report, before: BackupPolicyStatus, now: datetime) -> bool:
    """Whether a report may say something about the store that the status does not know."""
    last = before.last_successful_backup
    if last is None or last.completed_at > now + CLOCK_SKEW:
        return True
    moment, is_run = _catalog_is_of(report)
    known = to_the_second(moment)
    return known >= last.completed_at if is_run else known > last.completed_at


def _with_report(status: BackupPolicyStatus, report: Report, now: datetime) -> BackupPolicyStatus:
    changes: dict[str, object] = {}
    if report.storage is not None:
        changes |= {"storage": _storage(report, report.storage, status.storage), "used": _used_words(report.storage)}
    if report.catalog is not None:
        changes |= _catalog_fields(report.catalog)
    if report.backup is not None and report.outcome is Outcome.SUCCEEDED:
        changes["last_successful_backup"] = backup_record(report.backup, report.warnings)
    elif report.catalog is not None and (report.catalog.backups or not report.catalog.count):
        changes["last_successful_backup"] = _newest_in(report.catalog, status, now)
    if report.retention is not None:
        changes["retention"] = with_result(status.retention, report.retention, of_run=report.kind == "Backup")
    if report.comparison is not None:
        changes["comparison"] = _comparison(report.comparison)
    elif report.catalog is not None and not report.catalog.count and not report.catalog.locked:
        changes["comparison"] = None
    return status.model_copy(update=changes)


def _newest_in(catalog: Catalog, status: BackupPolicyStatus, now: datetime) -> BackupRecord | None:
    """The newest verified backup of a catalog; what is known of the same one says more.

    One that is known stays the newest when a changed passphrase keeps the worker from opening its entry: as long as
    there are no fewer entries than before. One that began in the future, by a clock that was ahead, is the newest only
    if that is how it is known.
    """
    known = status.last_successful_backup
    newest = next((line for line in catalog.backups if line.verified and _counts(line, known, now)), None)
    if catalog.locked and known and (newest is None or newest.started_at < known.started_at):
        entries_before = (status.backup_count or 0) + (status.locked_backups or 0)
        if catalog.count + catalog.locked >= entries_before:
            return known
    if newest is None or (known is not None and known.name == newest.name):
        return known if newest else None
    return backup_record(newest)


def _counts(line: BackupLine, known: BackupRecord | None, now: datetime) -> bool:
    return line.started_at <= now + CLOCK_SKEW or (known is not None and known.name == line.name)


def _catalog_fields(catalog: Catalog) -> dict[str, object]:
    return {
        "backups": tuple(_listed(line) for line in catalog.backups[:LISTED_BACKUPS]),
        "backup_count": catalog.count,
        "locked_backups": catalog.locked,
        "oldest_backup_at": catalog.oldest_at and to_the_second(catalog.oldest_at),
        "other_files": _other_files(catalog),
    }


def _listed(line: BackupLine) -> ListedBackup:
    return ListedBackup(
        name=line.name,
        time=to_the_second(line.started_at),
        duration_seconds=_seconds(line),
        size=size_in_words(line.size_bytes),
        size_bytes=line.size_bytes,
        rows=line.rows,
        keys=line.keys,
        verified=line.verified,
    )


def _seconds(line: BackupLine) -> int:
    return round((line.completed_at - line.started_at).total_seconds())


def _other_files(catalog: Catalog) -> OtherFiles | None:
    if not catalog.old_files and not catalog.foreign_files:
        return None
    return OtherFiles(old_scripts=catalog.old_files or 0, foreign=catalog.foreign_files or 0, names=catalog.other_names)


def _storage(report: Report, use: StorageUse, known: StorageStatus | None) -> StorageStatus:
    """Use of the volume; a job that failed proves nothing of it, it may have read a volume that takes no writes."""
    proofs = [known.proven_at] if known is not None and known.proven_at is not None else []
    if report.outcome is Outcome.SUCCEEDED:
        proofs.append(to_the_second(report.completed_at))
    return StorageStatus(
        used_bytes=use.used_bytes,
        capacity_bytes=use.capacity_bytes,
        used_percent=use.used_percent,
        store_bytes=use.store_bytes,
        full_at=use.full_at and to_the_second(use.full_at),
        proven_at=max(proofs, default=None),
    )


def _used_words(use: StorageUse) -> str:
    full = f", full on {use.full_at.date().isoformat()}" if use.full_at else ""
    return f"{use.used_percent} % of {size_in_words(use.capacity_bytes)}{full}"


def _comparison(found: Comparison) -> ComparisonStatus:
    return ComparisonStatus(
        run=found.run,
        compared_with=found.compared_with,
        reason=found.reason,
        since_run=found.since_run or None,
        message=found.message or None,
        accepted=found.accepted or None,
    )

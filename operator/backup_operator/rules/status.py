"""Room `rules`: the whole status of a BackupPolicy from what is seen and what it said before; called by `controller`.

Pure: the same sight gives the same status. What Jobs no longer tell (their history is short) is carried over from the
status before; the newest catalog that a worker reported is the truth about the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from backup_operator.api.backuppolicy import (
    ActiveBackup,
    BackupPolicyStatus,
    BackupRecord,
    FailedBackup,
)
from backup_operator.api.meta import Condition, format_time, size_in_words, to_the_second
from backup_operator.api.storage import DEFAULT_USAGE_LIMIT_PERCENT
from backup_operator.contract.report import Fault, Report
from backup_operator.rules.conditions import (
    Finding,
    Runs,
    ScheduleSeen,
    accepted,
    as_conditions,
    fresh,
    fresh_until,
    in_a_word,
    last_run_succeeded,
    ready,
    scheduled,
    sentence,
)
from backup_operator.rules.retained import of_rules
from backup_operator.rules.runs import JobSeen, JobState, Verdict, verdict_of
from backup_operator.rules.schedule import ScheduleInvalid, TimeZoneUnknown, next_run
from backup_operator.rules.stored import Letter, stored, usual_duration
from backup_operator.rules.upkeep import Wish, plausible, retained, storage_available
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType
from backup_operator.vocabulary.reasons import Reason


@dataclass(frozen=True)
class Sight:
    """A policy and everything in the cluster that says something about it."""

    namespace: str
    name: str
    generation: int
    store: str
    """Claim and path of the store, `claim:path`; the Jobs below are of this store only."""
    accepted: Finding
    schedule: ScheduleSeen
    rpo: timedelta | None
    """The freshness limit; None while the spec cannot be read."""
    source_words: str = ""
    retention_words: str = ""
    """What is kept, as `rules.keeps` says it."""
    retention_digest: str = ""
    """Of the rules, as the order carries it; empty while the spec cannot be read."""
    dry_run: bool = False
    """spec.retention.dryRun."""
    accepted_run: str = ""
    """The run from which on a person accepts what the data looks like; empty without one."""
    claim: str = ""
    """The claim that holds the store, made by a person or from the template."""
    claim_uid: str = ""
    """Its uid; empty while there is none, or nobody has looked."""
    usage_limit_percent: int = DEFAULT_USAGE_LIMIT_PERCENT
    backups: tuple[JobSeen, ...] = ()
    inventories: tuple[JobSeen, ...] = ()


def next_status(before: BackupPolicyStatus, sight: Sight, now: datetime) -> BackupPolicyStatus:
    """What the status should say now."""
    known = before if _is_of_the_same_store(before, sight) else _of_another_store(before)
    verdicts = _verdicts(sight.backups)
    after = stored(known.model_copy(update={"store": sight.store}), _letters(sight, verdicts), now)
    after = after.model_copy(update={"retention": of_rules(after.retention, sight.retention_digest)})
    runs = _runs(sight, after, _last_failed(known, sight, verdicts), now)
    runs = replace(runs, unproven_store=_unproven_store(known, after))
    findings = _findings(sight, after, runs, now)
    return after.model_copy(
        update={
            "observed_generation": sight.generation,
            "claim_uid": sight.claim_uid or known.claim_uid,
            "conditions": as_conditions(findings, before.conditions, generation=sight.generation, now=now),
            "last_failed_backup": runs.last_failed,
            "active_backup": runs.active,
            "next_backup_at": runs.next_run_at,
            "source": sight.source_words or before.source,
            "keeps": sight.retention_words or before.keeps,
            "size": size_in_words(runs.last_good.size_bytes) if runs.last_good else None,
            "ready": in_a_word(findings[ConditionType.READY]),
            "message": findings[ConditionType.READY].message,
        }
    )


def _runs(sight: Sight, store: BackupPolicyStatus, last_failed: FailedBackup | None, now: datetime) -> Runs:
    inventory = _inventory_verdict(sight.inventories)
    return Runs(
        namespace=sight.namespace,
        cronjob=sight.schedule.name,
        last_good=store.last_successful_backup,
        last_failed=last_failed,
        active=_active(sight.backups),
        next_run_at=None if sight.schedule.suspended else sight.schedule.next_run_at,
        missed_run_at=_missed_run(sight.schedule, now),
        suspended=sight.schedule.suspended,
        inventory_words=_inventory_words(inventory),
        inventory_reason=_inventory_reason(inventory, store.last_successful_backup),
        locked_backups=store.locked_backups or 0,
    )


def _unproven_store(known: BackupPolicyStatus, after: BackupPolicyStatus) -> Condition | None:
    """What was said of the store, unless a job that is new proves it, or it is another store."""
    proofs = [one.storage and one.storage.proven_at for one in (known, after)]
    if known.store is None or proofs[0] != proofs[1]:
        return None
    return next((one for one in known.conditions if one.type == ConditionType.STORAGE_AVAILABLE), None)


def _missed_run(seen: ScheduleSeen, now: datetime) -> datetime | None:
    """The first start after the CronJob's last one that should have been made by now."""
    if seen.counts_from is None or seen.suspended:
        return None
    try:
        due = next_run(seen.schedule, seen.time_zone, seen.counts_from, since=seen.counts_from)
    except (ScheduleInvalid, TimeZoneUnknown):
        return None
    return due if due is not None and due + _STARTS_WITHIN <= now else None


def wake_up_at(status: BackupPolicyStatus, rpo: timedelta | None, now: datetime) -> datetime | None:
    """The next moment at which the status changes without anything happening; None when there is none.

    Fresh runs out, a run counts as stuck, or the next run becomes the one after.
    """
    moments = [status.next_backup_at]
    if rpo is not None:
        moments.append(fresh_until(status.last_successful_backup, rpo))
        if status.active_backup is not None:
            moments.append(status.active_backup.since + rpo)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def catalog_is_known(status: BackupPolicyStatus, store: str) -> bool:
    """Whether the status was made from the catalog of this very store."""
    return status.store == store and status.backup_count is not None


def vanished_job(before: BackupPolicyStatus, jobs: Iterable[JobSeen]) -> ActiveBackup | None:
    """The run that was in progress and whose Job is gone without a word: deleted by hand, or while we were away."""
    active, failed, good = before.active_backup, before.last_failed_backup, before.last_successful_backup
    if active is None or active.job_name in {job.name for job in jobs}:
        return None
    told = failed is not None and failed.job_name == active.job_name
    return None if told or (good is not None and good.started_at >= active.since) else active


def report_was_lost(status: BackupPolicyStatus, jobs: Iterable[JobSeen]) -> JobSeen | None:
    """The newest good Job when its report is gone and the status does not hold its backup: the store must be read."""
    good = [job for job in jobs if job.state is JobState.COMPLETE]
    newest = max(good, key=lambda job: job.created_at, default=None)
    if newest is None or _good_report(newest) is not None:
        return None
    last = status.last_successful_backup
    return newest if last is None or last.started_at < newest.created_at - _CLOCK_SKEW else None


_CLOCK_SKEW = timedelta(minutes=1)
_STARTS_WITHIN = timedelta(minutes=2)
"""The CronJob controller looks at its schedules when they are due; only one that is away takes longer."""


def _findings(sight: Sight, store: BackupPolicyStatus, runs: Runs, now: datetime) -> dict[ConditionType, Finding]:
    wish = _wish(sight)
    upkeep = {
        ConditionType.RETAINED: retained(store, runs, wish),
        ConditionType.STORAGE_AVAILABLE: storage_available(store, runs, wish),
        ConditionType.PLAUSIBLE: plausible(store, wish),
    }
    parts = {
        ConditionType.ACCEPTED: accepted(sight.accepted, sight.schedule, sight.rpo, usual_duration(store)),
        ConditionType.SCHEDULED: scheduled(sight.schedule, sight.accepted),
        ConditionType.LAST_RUN_SUCCEEDED: last_run_succeeded(runs),
        ConditionType.FRESH: _freshness(sight, runs, now),
        **{kind: finding for kind, finding in upkeep.items() if finding is not None},
    }
    return {ConditionType.READY: ready(parts), **parts}


def _wish(sight: Sight) -> Wish:
    return Wish(
        namespace=sight.namespace,
        policy=sight.name,
        claim=sight.claim or sight.store.partition(":")[0],
        usage_limit_percent=sight.usage_limit_percent,
        retention_digest=sight.retention_digest,
        dry_run=sight.dry_run,
        accepted_run=sight.accepted_run,
    )


def _freshness(sight: Sight, runs: Runs, now: datetime) -> Finding:
    """Fresh; unknown where the spec, and with it the objective, cannot be read: an old word would go on for ever."""
    if sight.rpo is not None:
        return fresh(runs, sight.rpo, now)
    began = f"began at {format_time(runs.last_good.started_at)}" if runs.last_good else "does not exist"
    return Finding(
        ConditionStatus.UNKNOWN,
        sight.accepted.reason,
        f"The spec cannot be read, so its objective is not known; the newest verified backup {began}.",
    )


def _is_of_the_same_store(before: BackupPolicyStatus, sight: Sight) -> bool:
    claims = {before.claim_uid, sight.claim_uid} - {None, ""}
    return before.store in (None, sight.store) and len(claims) < 2


def _of_another_store(before: BackupPolicyStatus) -> BackupPolicyStatus:
    """What stays known when the store has changed: nothing about backups."""
    return BackupPolicyStatus(conditions=before.conditions, source=before.source, keeps=before.keeps)


def _verdicts(jobs: Iterable[JobSeen]) -> list[Verdict]:
    """What each Job says, from old to new."""
    found = (verdict_of(job) for job in jobs)
    return sorted((one for one in found if one is not None), key=lambda one: one.created_at)


def _letters(sight: Sight, verdicts: list[Verdict]) -> list[Letter]:
    """Every report that may speak of the store: those of runs, and those of inventories that succeeded."""
    of_runs = [Letter(one.report, one.created_at) for one in verdicts if one.report]
    good = ((job, _good_report(job)) for job in sight.inventories)
    return of_runs + [Letter(report, job.created_at) for job, report in good if report is not None]


def _good_report(job: JobSeen) -> Report | None:
    reports = (one.report for one in reversed(job.attempts) if one.report is not None)
    return next((report for report in reports if report.outcome is Outcome.SUCCEEDED), None)


def _last_failed(before: BackupPolicyStatus, sight: Sight, verdicts: list[Verdict]) -> FailedBackup | None:
    """The newest run that failed; what the status says of a Job that is still there is judged anew."""
    earlier, jobs, namespace = before.last_failed_backup, sight.backups, sight.namespace
    with_pods = {job.name for job in jobs if job.attempts}
    failed = [
        _kept_record(earlier, one, one.fault, knows_pods=one.job in with_pods)
        for one in verdicts
        if one.fault is not None
    ]
    if earlier is not None and earlier.job_name not in {job.name for job in jobs}:
        failed.append(earlier)
    if (lost := vanished_job(before, jobs)) is not None:
        failed.append(_lost_record(lost, namespace))
    return max(failed, key=_moment, default=None)


def _lost_record(lost: ActiveBackup, namespace: str) -> FailedBackup:
    """A run whose end nobody saw; it may have ended well, which an inventory of the store then tells."""
    return FailedBackup(
        started_at=lost.since,
        reason=Reason.JOB_LOST,
        message="The Job vanished before its run was seen to end",
        hint=f"look for who deleted it: kubectl -n {namespace} get events "
        f"--field-selector involvedObject.kind=Job,involvedObject.name={lost.job_name}",
        job_name=lost.job_name,
    )


def _kept_record(earlier: FailedBackup | None, verdict: Verdict, fault: Fault, *, knows_pods: bool) -> FailedBackup:
    """The verdict as a record; what the status said while the pods were there is better than a Job alone can say.

    A Job over its deadline has deleted its pod: whether the worker had reported, or the pod never started because its
    image or its claim was missing, is known from the status only.
    """
    record = _failed_record(verdict, fault)
    if earlier is None or earlier.job_name != verdict.job or knows_pods or not verdict.over:
        return record
    return earlier.model_copy(update={"completed_at": earlier.completed_at or record.completed_at})


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _moment(failed: FailedBackup) -> datetime:
    return failed.completed_at or failed.started_at or _LONG_AGO


def _failed_record(verdict: Verdict, fault: Fault) -> FailedBackup:
    started = to_the_second(verdict.started_at)
    ended = verdict.completed_at and to_the_second(verdict.completed_at)
    return FailedBackup(
        name=(verdict.report.run or None) if verdict.report else None,
        started_at=started,
        completed_at=ended,
        duration_seconds=round((ended - started).total_seconds()) if ended else None,
        reason=fault.reason,
        message=_fault_words(fault),
        hint=fault.hint or None,
        job_name=verdict.job,
    )


def _fault_words(fault: Fault) -> str:
    if not fault.detail or fault.detail in fault.message:
        return fault.message
    return f"{fault.message.rstrip('.')}: {fault.detail}"


def _active(jobs: Iterable[JobSeen]) -> ActiveBackup | None:
    going = [job for job in jobs if job.state is JobState.ACTIVE]
    newest = max(going, key=lambda job: job.created_at, default=None)
    return ActiveBackup(job_name=newest.name, since=newest.created_at) if newest else None


def _inventory_verdict(inventories: Iterable[JobSeen]) -> Verdict | None:
    """What the newest inventory says; None when there is none, or while it is on its way."""
    newest = max(inventories, key=lambda job: job.created_at, default=None)
    return verdict_of(newest) if newest is not None else None


def _inventory_words(verdict: Verdict | None) -> str:
    """Why the store's catalog could not be read; empty when nothing is known to be wrong."""
    if verdict is None or verdict.fault is None:
        return ""
    hint = f" Hint: {sentence(verdict.fault.hint)}" if verdict.fault.hint else ""
    return f"{verdict.fault.reason.value}: {_fault_words(verdict.fault).rstrip('.')}.{hint}"


def _inventory_reason(verdict: Verdict | None, last_good: BackupRecord | None) -> Reason | None:
    """The same in a word; what a good run came after is over."""
    if verdict is None or verdict.fault is None or (last_good and last_good.completed_at >= verdict.created_at):
        return None
    return verdict.fault.reason

"""Room `rules`: the conditions of a BackupPolicy, each a pure check with status, reason and message.

Called by `rules.status`. Ready is the chain of the others: the first that is not true gives its reason and its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backup_operator.api.backuppolicy import ActiveBackup, BackupRecord, FailedBackup
from backup_operator.api.meta import Condition, format_duration, format_time, size_in_words
from backup_operator.rules.schedule import ScheduleInvalid, TimeZoneUnknown, interval
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType
from backup_operator.vocabulary.reasons import Reason

CHAIN = tuple(kind for kind in ConditionType if kind is not ConditionType.READY)
"""The parts of Ready, in the order they are judged; one that is absent does not apply."""
CLOCK_SKEW = timedelta(minutes=5)
"""So far after the present moment a backup may begin: the clocks of nodes differ. Later than that, one was wrong."""


@dataclass(frozen=True)
class Finding:
    """What a check found; becomes a condition."""

    status: ConditionStatus
    reason: Reason
    message: str

    @property
    def holds(self) -> bool:
        """Whether the condition is true."""
        return self.status is ConditionStatus.TRUE


@dataclass(frozen=True)
class ScheduleSeen:
    """The CronJob as it is after it was applied; `name` is empty while there is none."""

    name: str = ""
    schedule: str = ""
    time_zone: str = ""
    suspended: bool = False
    next_run_at: datetime | None = None
    counts_from: datetime | None = None
    """The CronJob's lastScheduleTime, or its creationTimestamp: a start after this that is over was missed."""
    refused: str = ""
    """Why the API server, or we, did not put it there."""


@dataclass(frozen=True)
class Runs:
    """What is known of the runs of one policy's store."""

    namespace: str
    cronjob: str
    last_good: BackupRecord | None = None
    last_failed: FailedBackup | None = None
    active: ActiveBackup | None = None
    next_run_at: datetime | None = None
    inventory_words: str = ""
    """Why the store's catalog could not be read; empty when it was, or is being read."""
    inventory_reason: Reason | None = None
    """The same in a word, where no good run came after it."""
    missed_run_at: datetime | None = None
    """A start on schedule that is over and that the CronJob controller has not made."""
    suspended: bool = False
    unproven_store: Condition | None = None
    """StorageAvailable as it was, where no job has used this very store to its end since."""
    locked_backups: int = 0
    """Backups in the store that were written under another passphrase than the present one."""

    @property
    def start_one(self) -> str:
        """What to type for a backup now, as often as one likes: the Job of the last time is still there."""
        job = f"{self.cronjob[:40].rstrip('-.')}-$(date +%s)"
        return f"kubectl -n {self.namespace} create job --from=cronjob/{self.cronjob} {job}"

    @property
    def newest_failed(self) -> bool:
        """Whether the run that ended last, or that cannot start, is a failed one."""
        failed, good = self.last_failed, self.last_good
        if failed is None:
            return False
        if good is None or failed.completed_at is None:
            return good is None or failed.started_at is None or failed.started_at > good.started_at
        return failed.completed_at > good.completed_at


def accepted(judged: Finding, seen: ScheduleSeen, rpo: timedelta | None, usual: timedelta | None) -> Finding:
    """The verdict on the spec; with a warning where a run of `usual` length ends too late for `rpo`.

    That the schedule alone is too slow, the verdict says itself.
    """
    if not judged.holds or seen.suspended or not seen.schedule or rpo is None or usual is None:
        return judged
    try:
        longest = interval(seen.schedule, seen.time_zone)
    except (ScheduleInvalid, TimeZoneUnknown):
        return judged
    if longest is None or longest >= rpo or longest + usual < rpo:
        return judged
    warning = (
        f"Warning: runs are up to {format_duration(longest)} apart and usually take {format_duration(usual)}, and "
        f"objectives.rpo is {format_duration(rpo)}, so Fresh will turn false before a run ends; run more often or "
        "write a longer rpo."
    )
    return replace(judged, message=f"{judged.message} {warning}")


def scheduled(seen: ScheduleSeen, accepted: Finding) -> Finding:
    """Whether the CronJob is as wanted."""
    if seen.refused:
        return false(Reason.APPLY_REFUSED, seen.refused)
    if not seen.name:
        return false(accepted.reason, "There is no CronJob: the spec was never accepted.")
    if seen.suspended:
        return false(Reason.SUSPENDED, f"spec.suspend is true: CronJob {seen.name} starts no run.")
    if not accepted.holds:
        return true(Reason.SCHEDULED, f"CronJob {seen.name} of the last accepted spec keeps running.")
    when = f", next at {format_time(seen.next_run_at)}" if seen.next_run_at else ""
    return true(Reason.SCHEDULED, f"CronJob {seen.name} runs at {seen.schedule} ({seen.time_zone}){when}.")


def last_run_succeeded(runs: Runs) -> Finding:
    """Whether the newest run ended in a verified backup."""
    if runs.last_failed is not None and runs.newest_failed:
        return false(_known(runs.last_failed.reason), _failed_words(runs, runs.last_failed))
    good = runs.last_good
    if good is not None:
        what = f"{good.rows} rows" if good.rows is not None else f"{good.keys} keys" if good.keys is not None else ""
        size = ", ".join(part for part in (size_in_words(good.size_bytes), what) if part)
        warnings = "".join(f" Warning: {sentence(warning)}" for warning in good.warnings or ())
        return true(Reason.SUCCEEDED, f"{good.name} is stored and verified ({size}).{warnings}")
    inventory = f" The store could not be read: {runs.inventory_words}" if runs.inventory_words else ""
    return Finding(
        ConditionStatus.UNKNOWN, Reason.NEVER_RUN, f"No run has ended yet.{inventory}{_first_run_words(runs)}"
    )


def _first_run_words(runs: Runs) -> str:
    if runs.active is not None:
        return f" {runs.active.job_name} is running."
    # without a CronJob (the spec was never accepted) there is nothing to start one from
    return f" To start one now: {runs.start_one}" if runs.cronjob else ""


def _known(reason: str) -> Reason:
    """A reason of the vocabulary; a word of another version is as good as a lost report."""
    return Reason(reason) if reason in Reason.__members__.values() else Reason.JOB_LOST


def _failed_words(runs: Runs, failed: FailedBackup) -> str:
    job = f"Job {failed.job_name}: " if failed.job_name else ""
    hint = f" Hint: {sentence(failed.hint)}" if failed.hint else ""
    if runs.active is not None and runs.active.job_name == failed.job_name:
        again = " The Job is still trying." if failed.completed_at else _waiting_words(runs, runs.active)
    elif not runs.cronjob:
        again = ""
    else:
        when = f"at {format_time(runs.next_run_at)}, or now with " if runs.next_run_at else ""
        again = f" Next run {when or 'by hand: '}{runs.start_one}"
    return f"{job}{sentence(failed.message)}{hint}{again}"


def _waiting_words(runs: Runs, active: ActiveBackup) -> str:
    """A Job keeps the pod that it was made with: an edit of the policy reaches the next one only."""
    delete = f"kubectl -n {runs.namespace} delete job {active.job_name}"
    return f" The Job waits, and no scheduled run starts before it ends. After an edit of the policy: {delete}"


def fresh(runs: Runs, rpo: timedelta, now: datetime) -> Finding:
    """Whether the newest verified run *started* less than `rpo` ago."""
    good, limit = runs.last_good, format_duration(rpo)
    deadline = fresh_until(good, rpo)
    if good is not None and good.started_at > now + CLOCK_SKEW:
        return false(Reason.OBJECTIVE_EXCEEDED, _to_come_words(good, runs))
    if good is not None and deadline is not None and now < deadline:
        return true(Reason.WITHIN_OBJECTIVE, f"{good.name} is younger than {limit}, until {format_time(deadline)}.")
    if runs.active is not None and now - runs.active.since >= rpo:
        return false(Reason.RUN_STUCK, _stuck_words(runs, runs.active, limit))
    if good is None:
        return false(Reason.NEVER_SUCCEEDED, f"{_no_backup_words(runs.locked_backups)}{_meanwhile(runs)}")
    began = format_time(good.started_at)
    words = f"The newest verified backup, {good.name} of {began}, is older than {limit}."
    return false(Reason.OBJECTIVE_EXCEEDED, f"{words}{_meanwhile(runs)}")


def _to_come_words(good: BackupRecord, runs: Runs) -> str:
    began = format_time(good.started_at)
    return f"{good.name} began at {began}, by a clock that was ahead: nobody knows how old it is.{_meanwhile(runs)}"


def _stuck_words(runs: Runs, active: ActiveBackup, limit: str) -> str:
    look = f"kubectl -n {runs.namespace} describe job {active.job_name}"
    end = f"kubectl -n {runs.namespace} delete job {active.job_name}"
    return (
        f"Job {active.job_name} was started at {format_time(active.since)}, has not ended after more than {limit}, and "
        f"no fresh backup is left. To see what it waits for: {look}; to end it: {end}"
    )


def _meanwhile(runs: Runs) -> str:
    """What is under way, or why nothing is."""
    if runs.active is not None:
        return f" Job {runs.active.job_name} is on its way since {format_time(runs.active.since)}."
    if runs.suspended:
        return " spec.suspend is true, so no run starts on schedule."
    if runs.missed_run_at is not None:
        look = f"kubectl -n {runs.namespace} describe cronjob {runs.cronjob}"
        return f" The run of {format_time(runs.missed_run_at)} was never started; to see why: {look}"
    return f" Next run at {format_time(runs.next_run_at)}." if runs.next_run_at else ""


def _no_backup_words(locked: int) -> str:
    if not locked:
        return "No verified backup exists in this store."
    return (
        f"No backup in this store opens with the present passphrase; {locked} were written under another one. Put that "
        "one back into the Secret that spec.encryption.passphraseSecretRef names, or open them as RECOVER.md tells."
    )


def fresh_until(good: BackupRecord | None, rpo: timedelta) -> datetime | None:
    """When Fresh turns false by itself; None without a backup."""
    return None if good is None else good.started_at + rpo


def ready(findings: Mapping[ConditionType, Finding]) -> Finding:
    """The first of the chain that is not true, with the names of the others that are false; or true."""
    troubles = [(kind, findings[kind]) for kind in CHAIN if kind in findings and not findings[kind].holds]
    if not troubles:
        newest = findings.get(ConditionType.LAST_RUN_SUCCEEDED)
        return true(Reason.READY, newest.message if newest else MEANING_OF_READY)
    (kind, first), *more = troubles
    # before the message, which may end in a command to type
    others = ", ".join(other.value for other, one in more if one.status is ConditionStatus.FALSE)
    return false(first.reason, f"{kind.value}{f' (and {others})' if others else ''}: {first.message}")


MEANING_OF_READY = "Every condition that applies is true."


def in_a_word(finding: Finding) -> str:
    """`True`, or `False (AuthenticationFailed)`: what a column of `kubectl get` shows of it."""
    return finding.status.value if finding.holds else f"{finding.status.value} ({finding.reason.value})"


def as_conditions(
    findings: Mapping[ConditionType, Finding], before: tuple[Condition, ...], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The findings as conditions; one whose status is what it was keeps its lastTransitionTime."""
    since = {(one.type, one.status): one.last_transition_time for one in before}
    return tuple(
        Condition(
            type=kind.value,
            status=finding.status,
            observed_generation=generation,
            last_transition_time=since.get((kind.value, finding.status), now.replace(microsecond=0)),
            reason=finding.reason.value,
            message=finding.message[:_MESSAGE_LIMIT],
        )
        for kind, finding in findings.items()
    )


_MESSAGE_LIMIT = 4000


def sentence(text: str) -> str:
    """The text with a full stop, where it does not end in one already."""
    text = text.strip()
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def true(reason: Reason, message: str) -> Finding:
    """A condition that holds."""
    return Finding(ConditionStatus.TRUE, reason, message)


def false(reason: Reason, message: str) -> Finding:
    """A condition that does not hold."""
    return Finding(ConditionStatus.FALSE, reason, message)

"""Room `rules`: what a Job of ours says about its run, reported or not; called by `rules.status` and
`rules.restoring`, pure.

A worker that was killed, never started or lost its report is named from what is left: the container's end, the Job's
condition, the pod's trouble, and what the status said before.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from backup_operator.contract.report import Fault, Report
from backup_operator.contract.restore import RestoreReport
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason

_SIGKILL = 128 + 9
_SIGTERM = 128 + 15


class JobState(StrEnum):
    """How far a Job is."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Attempt:
    """One pod of a Job that has ended."""

    pod: str
    started_at: datetime
    finished_at: datetime
    report: Report | None = None
    exit_code: int | None = None
    ended_by: str = ""
    """The container's or the pod's own reason: `OOMKilled`, `StartError`, `Evicted`, …"""
    disrupted: bool = False
    """The cluster took the pod away: eviction, preemption, a drained node."""
    words: str = ""
    memory_limit: str = ""
    restore: RestoreReport | None = None
    """What a worker reports that plans or restores."""

    def moved_by(self, offset: timedelta) -> "Attempt":
        """The same on a clock that is so far ahead; what its worker reported has that clock's times already."""
        return replace(self, started_at=self.started_at + offset, finished_at=self.finished_at + offset)

    @property
    def letter(self) -> Report | RestoreReport | None:
        """What its worker reported, of whatever kind."""
        return self.report or self.restore


@dataclass(frozen=True)
class JobSeen:
    """A Job of ours with what is known of its pods; attempts from old to new."""

    namespace: str
    name: str
    uid: str
    created_at: datetime
    state: JobState
    finished_at: datetime | None = None
    failed_reason: str = ""
    """The reason of the Job's own Failed condition: `DeadlineExceeded`, `BackoffLimitExceeded`, `PodFailurePolicy`."""
    failed_message: str = ""
    attempts: tuple[Attempt, ...] = ()
    trouble: Fault | None = None
    """Why the pod that should run now does not start."""

    def moved_by(self, offset: timedelta) -> "JobSeen":
        """The same on a clock that is so far ahead."""
        return replace(
            self,
            created_at=self.created_at + offset,
            finished_at=self.finished_at and self.finished_at + offset,
            attempts=tuple(one.moved_by(offset) for one in self.attempts),
        )


@dataclass(frozen=True)
class Verdict:
    """What a Job says: `fault` is None when the run succeeded."""

    job: str
    created_at: datetime
    started_at: datetime
    completed_at: datetime | None
    fault: Fault | None = None
    report: Report | None = None
    over: bool = True
    """False while the Job may still try again."""


def verdict_of(job: JobSeen) -> Verdict | None:
    """What the Job says about its run; None while nothing is known, for a run on its way."""
    if job.state is JobState.COMPLETE:
        return _succeeded(job)
    if job.state is JobState.FAILED:
        return _verdict(job, _final_fault(job))
    if job.trouble is not None:
        return Verdict(job.name, job.created_at, job.created_at, None, job.trouble, over=False)
    if job.attempts and (fault := attempt_fault(job, job.attempts[-1])):
        return _verdict(job, fault, over=False)
    return None


def _succeeded(job: JobSeen) -> Verdict:
    report = next((one.report for one in reversed(job.attempts) if _is_good(one.report)), None)
    return _verdict(job, None, report=report)


def _is_good(letter: Report | RestoreReport | None) -> bool:
    return letter is not None and letter.outcome is Outcome.SUCCEEDED


def _verdict(job: JobSeen, fault: Fault | None, *, over: bool = True, report: Report | None = None) -> Verdict:
    last = job.attempts[-1] if job.attempts else None
    report = report or (last.report if last else None)
    letter = report or (last.restore if last else None)
    return Verdict(
        job=job.name,
        created_at=job.created_at,
        started_at=(letter.started_at if letter else last.started_at if last else job.created_at),
        completed_at=(letter.completed_at if letter else last.finished_at if last else job.finished_at),
        fault=fault,
        report=report,
        over=over,
    )


def _final_fault(job: JobSeen) -> Fault:
    if job.failed_reason == "DeadlineExceeded":
        return _deadline_fault(job)
    if job.attempts:
        return attempt_fault(job, job.attempts[-1]) or _lost(job, f"its pod ended well, yet: {job.failed_message}")
    return _lost(job, job.failed_message or "its pods are gone")


def _deadline_fault(job: JobSeen) -> Fault:
    last = job.attempts[-1].letter if job.attempts else None
    if last is not None and last.fault is not None and last.fault.reason is Reason.DEADLINE_EXCEEDED:
        return last.fault
    earlier = last.fault if last is not None and last.fault and last.fault.reason is not Reason.INTERRUPTED else None
    return Fault(
        reason=Reason.DEADLINE_EXCEEDED,
        message="The Job passed its deadline and its pod was stopped",
        detail=f"the last report said: {earlier.message}" if earlier else job.failed_message,
        hint="give the run more time in spec.job.deadline, or see what it waited for: "
        f"kubectl -n {job.namespace} describe job {job.name}",
    )


def attempt_fault(job: JobSeen, attempt: Attempt) -> Fault | None:
    """Why one pod failed; None when it succeeded."""
    letter = attempt.letter
    if _is_good(letter) and attempt.exit_code in (0, None):
        return None
    if attempt.ended_by == "OOMKilled":
        return _out_of_memory(job, attempt)
    if letter is not None and letter.fault is not None:
        return letter.fault
    if attempt.disrupted or attempt.ended_by == "Evicted" or attempt.exit_code in (_SIGKILL, _SIGTERM):
        return _interrupted(job, attempt)
    if attempt.ended_by in ("ContainerCannotRun", "StartError", "ContainerStatusUnknown"):
        return _not_started(job, attempt)
    return None if attempt.exit_code == 0 else _silent(job, attempt)


def _out_of_memory(job: JobSeen, attempt: Attempt) -> Fault:
    limit = f" of {attempt.memory_limit}" if attempt.memory_limit else ""
    return Fault(
        reason=Reason.OUT_OF_MEMORY,
        message=f"The worker was killed because it passed its memory limit{limit}",
        detail=f"pod {attempt.pod}",
        hint=f"raise spec.job.resources.limits.memory; what it had: kubectl -n {job.namespace} describe job {job.name}",
        retryable=True,
    )


def _interrupted(job: JobSeen, attempt: Attempt) -> Fault:
    return Fault(
        reason=Reason.INTERRUPTED,
        message="The pod was stopped before the run ended",
        detail=attempt.words or f"pod {attempt.pod}, {attempt.ended_by or 'no reason'}, exit code {attempt.exit_code}",
        hint=f"kubectl -n {job.namespace} get events --field-selector involvedObject.name={attempt.pod}",
        retryable=True,
    )


def _not_started(job: JobSeen, attempt: Attempt) -> Fault:
    if attempt.ended_by == "ContainerStatusUnknown":
        return _interrupted(job, attempt)
    return Fault(
        reason=Reason.CONTAINER_REFUSED,
        message="The container could not be started",
        detail=attempt.words,
        hint=f"kubectl -n {job.namespace} describe pod {attempt.pod}",
        retryable=True,
    )


def _silent(job: JobSeen, attempt: Attempt) -> Fault:
    return _lost(job, f"pod {attempt.pod} ended with exit code {attempt.exit_code} and said nothing: {attempt.words}")


def _lost(job: JobSeen, detail: str) -> Fault:
    return Fault(
        reason=Reason.JOB_LOST,
        message="The Job ended without a report",
        detail=detail,
        hint=f"kubectl -n {job.namespace} logs job/{job.name}; kubectl -n {job.namespace} describe job {job.name}",
        retryable=True,
    )

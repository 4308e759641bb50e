"""Room `rules`: one RestoreRequest as a state machine; pure, called by `controller.restores`.

The status before and what is seen give the status after and what to do next.

    Waiting -> Planning -> Planned -> Running -> Complete | Failed

`status.startedAt` is the marker: it is written before the Job is created, and a request that carries it never creates a
second one. Complete and Failed are for good.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from backup_operator.api.meta import Condition
from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState
from backup_operator.contract.report import Fault
from backup_operator.contract.restore import RestoreReport
from backup_operator.rules.admission import Verdict
from backup_operator.rules.restore_ends import ended_badly, ended_well, fault_words, planned
from backup_operator.rules.restore_words import ANOTHER, Began, columns, state_of_target, take_back_hint, where_to_look
from backup_operator.rules.runs import Attempt, JobSeen, JobState, verdict_of
from backup_operator.vocabulary.conditions import ConditionStatus, RestoreConditionType
from backup_operator.vocabulary.reasons import Reason

_NEVER_RAN = ("StartError", "ContainerCannotRun")


class Action(StrEnum):
    """What is to be done once the status is written."""

    NONE = "None"
    PLAN = "Plan"
    """Create the Job that plans."""
    RESTORE = "Restore"
    """Create the Job that restores; the marker is in the status that is written before."""


@dataclass(frozen=True)
class LeftPods:
    """What is left of a restore Job that is gone."""

    attempts: tuple[Attempt, ...] = ()
    going: bool = False
    """Whether a pod of it may still write."""


@dataclass(frozen=True)
class Sight:
    """A request and everything in the cluster that says something about it."""

    namespace: str
    name: str
    uid: str
    generation: int
    request: RestoreRequest | None
    """None when its spec cannot be read."""
    verdict: Verdict
    plan_job_name: str
    restore_job_name: str
    store: str = ""
    """Claim and path of the store, `claim:path`; empty while that is not known."""
    never: Fault | None = None
    """Why it can never begin, beside its own spec."""
    waits: str = ""
    """Why it cannot begin yet, in sentences."""
    plan_job: JobSeen | None = None
    restore_job: JobSeen | None = None
    left: LeftPods = field(default_factory=LeftPods)
    overdue_pod: str = ""
    """A pod of the restore that was told to stop and of which its node does not say that it has."""
    may_create: bool = False
    """Whether this very process wrote the marker and was never answered to its creation of the Job."""


@dataclass(frozen=True)
class Decision:
    """The status to write, and what to do then."""

    status: RestoreRequestStatus
    action: Action = Action.NONE


def has_ended(status: RestoreRequestStatus) -> bool:
    """Whether a request is in one of its two ends, which it never leaves."""
    ends = (RestoreConditionType.COMPLETE, RestoreConditionType.FAILED)
    return any(condition_is_true(status, end) for end in ends)


def has_begun(status: RestoreRequestStatus) -> bool:
    """Whether the marker is set: the Job that restores has been created, or is about to be."""
    return status.started_at is not None


def condition_is_true(status: RestoreRequestStatus, kind: RestoreConditionType) -> bool:
    """Whether the status has this condition, and it is true."""
    return any(one.type == kind.value and one.status is ConditionStatus.TRUE for one in status.conditions)


def decide(before: RestoreRequestStatus, sight: Sight, now: datetime) -> Decision:
    """What the status should say now, and what is to be done next."""
    if has_ended(before):
        return Decision(before)
    known = before.model_copy(update={"observed_generation": sight.generation, **_columns(before, sight)})
    if has_begun(before) or sight.restore_job is not None:
        return _followed(known, sight, now)
    if sight.request is None or not sight.verdict.accepted:
        refusal = Fault(reason=sight.verdict.reason, message=sight.verdict.message)
        return Decision(ended_badly(known, refusal, None, now))
    if sight.never is not None:
        return Decision(ended_badly(known, sight.never, None, now))
    if sight.plan_job is not None and not _is_planned(before):
        return Decision(_planning_followed(known, sight, sight.plan_job, now))
    return _before_it_begins(known, sight, now)


def _before_it_begins(known: RestoreRequestStatus, sight: Sight, now: datetime) -> Decision:
    assert sight.request is not None
    wants_plan = bool(sight.request.spec.dry_run)
    if wants_plan and _is_planned(known):
        return Decision(known.model_copy(update={"state": RestoreState.PLANNED}))
    if sight.waits:
        return Decision(_said(known, RestoreState.WAITING, sight.waits))
    if wants_plan:
        words = f"Job {sight.plan_job_name} makes the plan; nothing is touched."
        planning = _said(known, RestoreState.PLANNING, words).model_copy(update={"job_name": sight.plan_job_name})
        return Decision(planning, Action.PLAN)
    return Decision(_begun(known, sight.restore_job_name, now), Action.RESTORE)


def _begun(known: RestoreRequestStatus, job: str, at: datetime) -> RestoreRequestStatus:
    """The status with the marker; of the plan it keeps what was approved, not how it was made."""
    running = _said(known, RestoreState.RUNNING, f"Job {job} restores.")
    begun = {"started_at": _to_the_second(at), "job_name": job, "steps": (), "notes": ()}
    return running.model_copy(update=begun)


def refused(before: RestoreRequestStatus, job: str, words: str, now: datetime) -> RestoreRequestStatus:
    """The end of a request whose Job the API server does not take."""
    fault = Fault(
        reason=Reason.APPLY_REFUSED,
        message=f"The API server refused Job {job}; nothing was touched",
        detail=words,
        hint=f"mend what it says; {ANOTHER}",
    )
    return ended_badly(before, fault, None, now)


# --- the Job that plans


def _is_planned(status: RestoreRequestStatus) -> bool:
    return condition_is_true(status, RestoreConditionType.PLANNED)


def _planning_followed(known: RestoreRequestStatus, sight: Sight, job: JobSeen, now: datetime) -> RestoreRequestStatus:
    report = _report_in(job.attempts, dry_run=True)
    if report is not None and report.fault is None:
        return planned(known, report, sight.namespace, sight.name, now)
    verdict = verdict_of(job)
    if verdict is None:
        words = f"Job {job.name} makes the plan; nothing is touched."
        return _said(known, RestoreState.PLANNING, words).model_copy(update={"conditions": _true(known.conditions)})
    if not verdict.over and verdict.fault is not None:
        return _held_up(known, RestoreConditionType.PLANNED, verdict.fault, now)
    fault = _why_it_died(known, job)
    untouched = f"No plan was made, and nothing was touched: {fault.message}"
    return ended_badly(known, fault.model_copy(update={"message": untouched}), report, now)


def _why_it_died(known: RestoreRequestStatus, job: JobSeen) -> Fault:
    """Why a Job failed; what kept its pod from starting says more than that its time was over."""
    held_up = next((one for one in known.conditions if _is_false(one)), None)
    verdict = verdict_of(job)
    fault = verdict.fault if verdict is not None else None
    if not job.attempts and held_up is not None and held_up.reason in Reason.__members__.values():
        return Fault(reason=Reason(held_up.reason), message=held_up.message, hint=fault.hint if fault else "")
    return fault or Fault(
        reason=Reason.JOB_LOST,
        message=f"Job {job.name} ended well, and its report is gone",
        hint=f"kubectl -n {job.namespace} logs job/{job.name}",
    )


# --- the Job that restores


def _followed(known: RestoreRequestStatus, sight: Sight, now: datetime) -> Decision:
    job = sight.restore_job
    if job is None:
        return _without_job(known, sight, now)
    if not has_begun(known):
        known = _begun(known, job.name, job.created_at)
    report = _report_in(job.attempts, dry_run=False)
    if report is not None:
        return Decision(_ended(known, sight, report, now))
    if job.state is JobState.ACTIVE:
        return Decision(_overdue(known, sight) if sight.overdue_pod else _running(known, job, now))
    if job.state is JobState.COMPLETE:
        return Decision(ended_well(known, None, now))
    return Decision(_died(known, sight, job, now))


def _ended(known: RestoreRequestStatus, sight: Sight, report: RestoreReport, now: datetime) -> RestoreRequestStatus:
    if report.fault is not None:
        return ended_badly(known, report.fault, report, now)
    # with a safety backup, what is undone is its manifest, which is told of where that is made
    told = report.undo and not report.safety_backup
    return ended_well(known, report, now, take_back_hint(sight.namespace, sight.name) if told else "")


def _without_job(known: RestoreRequestStatus, sight: Sight, now: datetime) -> Decision:
    """A marker, and no Job: about to be created, or deleted; what its pod said or still does counts."""
    if sight.may_create:
        return Decision(known, Action.RESTORE)
    report = _report_in(sight.left.attempts, dry_run=False)
    if report is not None:
        return Decision(_ended(known, sight, report, now))
    if sight.left.going:
        words = f"Job {known.job_name} was deleted; its pod has not ended and may still write."
        return Decision(_said(known, RestoreState.RUNNING, words) if not sight.overdue_pod else _overdue(known, sight))
    began = _began(known, sight.left.attempts)
    fault = Fault(
        reason=Reason.JOB_LOST,
        message=f"Job {known.job_name} is gone, and nobody saw it end. {state_of_target(sight.request, began)}",
        hint=where_to_look(sight.uid, sight.store),
    )
    return Decision(ended_badly(known, fault, None, now))


def _running(known: RestoreRequestStatus, job: JobSeen, now: datetime) -> RestoreRequestStatus:
    if job.trouble is not None:
        return _held_up(known, RestoreConditionType.COMPLETE, job.trouble, now)
    going = _said(known, RestoreState.RUNNING, f"Job {job.name} restores.")
    return going.model_copy(update={"conditions": _true(known.conditions)})


def _overdue(known: RestoreRequestStatus, sight: Sight) -> RestoreRequestStatus:
    """A pod whose node is silent: only a person knows that the node is gone, and with it whoever may still write."""
    pod = f"kubectl -n {sight.namespace} {{}} pod {sight.overdue_pod}"
    words = f"Pod {sight.overdue_pod} was told to stop, and its node does not say that it has: it may still write."
    hint = f"look at its node: {pod.format('get')} -o wide; when that is gone for good: {pod.format('delete')} --force"
    return _said(known, RestoreState.RUNNING, words, hint)


def _held_up(
    known: RestoreRequestStatus, kind: RestoreConditionType, trouble: Fault, now: datetime
) -> RestoreRequestStatus:
    """While a Job's pod does not start: kept as a false condition, for it may be all that is ever learned."""
    since = next((one.last_transition_time for one in known.conditions if _is_false(one)), _to_the_second(now))
    condition = Condition(
        type=kind.value,
        status=ConditionStatus.FALSE,
        observed_generation=known.observed_generation,
        last_transition_time=since,
        reason=trouble.reason.value,
        message=fault_words(trouble),
    )
    state = RestoreState.RUNNING if kind is RestoreConditionType.COMPLETE else RestoreState.PLANNING
    waiting = _said(known, state, condition.message, trouble.hint)
    return waiting.model_copy(update={"conditions": (*_true(known.conditions), condition)})


def _died(known: RestoreRequestStatus, sight: Sight, job: JobSeen, now: datetime) -> RestoreRequestStatus:
    """A Job that failed and whose worker said nothing."""
    fault, began = _why_it_died(known, job), _began(known, job.attempts)
    words = f"{fault_words(fault)} {state_of_target(sight.request, began)}"
    advice = ANOTHER if began is Began.NO else where_to_look(sight.uid, sight.store)
    hint = f"{fault.hint}; {advice}" if fault.hint else advice
    told = Fault(reason=fault.reason, message=words, hint=hint)
    return ended_badly(known, told, None, job.finished_at or now)


def _began(known: RestoreRequestStatus, attempts: tuple[Attempt, ...]) -> Began:
    """Whether the container of a restore has ever run."""
    if any(_has_run(one) for one in attempts):
        return Began.YES
    if attempts and all(one.ended_by in _NEVER_RAN for one in attempts):
        return Began.NO
    return Began.NO if any(_is_false(one) for one in known.conditions) else Began.UNKNOWN


def _has_run(attempt: Attempt) -> bool:
    """Whether a container has run for sure.

    Of one that it cannot find when the pod ends, kubelet says exit code 137, be it started or not; only the words tell.
    Source: https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/kubelet_pods.go and status_manager.go
    """
    if attempt.ended_by == "ContainerStatusUnknown":
        return "used to be Running" in attempt.words
    return attempt.exit_code is not None and attempt.ended_by not in _NEVER_RAN


# --- small words


def _columns(before: RestoreRequestStatus, sight: Sight) -> dict[str, str]:
    """The columns; a backup that was found by its time keeps its name, and a target its database."""
    if sight.request is None:
        return {}
    found = columns(sight.request)
    if before.backup:
        found["backup"] = before.backup
    if before.target and before.target.startswith(f"{found['target']} "):
        found["target"] = before.target
    return found


def _report_in(attempts: tuple[Attempt, ...], *, dry_run: bool) -> RestoreReport | None:
    reports = (one.restore for one in reversed(attempts))
    return next((one for one in reports if one is not None and one.dry_run is dry_run), None)


def _said(known: RestoreRequestStatus, state: RestoreState, message: str, hint: str = "") -> RestoreRequestStatus:
    return known.model_copy(update={"state": state, "message": message, "hint": hint or None})


def _is_false(condition: Condition) -> bool:
    return condition.status is ConditionStatus.FALSE


def _true(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(one for one in conditions if not _is_false(one))


def _to_the_second(moment: datetime) -> datetime:
    """As the API server keeps times; equal statuses must stay equal."""
    return moment.astimezone(UTC).replace(microsecond=0)

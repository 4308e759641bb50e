"""Room `rules`: the status of a RestoreRequest once its plan is made, or once it has ended; pure.

Called by `rules.restoring`. What is written here is all that is left when Job, pod and log are gone.
"""

from datetime import UTC, datetime
from typing import Any

from backup_operator.api.meta import Condition
from backup_operator.api.restorestatus import CheckResult, RestoreRequestStatus, RestoreState, Step
from backup_operator.contract.report import Fault
from backup_operator.contract.restore import RestoreReport
from backup_operator.rules.conditions import sentence
from backup_operator.rules.restore_words import NAMED_BY_TIME
from backup_operator.vocabulary.conditions import ConditionStatus, RestoreConditionType
from backup_operator.vocabulary.reasons import Reason

_MESSAGE_LIMIT = 4000
_STATES = ("; nothing was changed", "; nothing was touched")


def planned(
    known: RestoreRequestStatus, report: RestoreReport, namespace: str, name: str, now: datetime
) -> RestoreRequestStatus:
    """The plan, what is in its way, and how to approve it."""
    if report.obstacles:
        reason, message = Reason.OBSTACLES_FOUND, f"In the way: {'; '.join(report.obstacles)}"
        hint = f"clear the way, then plan anew: kubectl -n {namespace} delete rr {name}, and create it again"
    else:
        reason, message = Reason.PLANNED, "The plan is made, and nothing is in its way; nothing was touched yet."
        patch = """'{"spec":{"dryRun":false}}'"""
        hint = f"to carry it out as it is: kubectl -n {namespace} patch rr {name} --type merge -p {patch}"
    condition = (RestoreConditionType.PLANNED, reason, message)
    return known.model_copy(
        update={
            **_told(report),
            **_target(known, report),
            "plan": report.plan,
            "pin": report.pin,
            "conditions": _with(known, condition, now),
            "state": RestoreState.PLANNED,
            "message": sentence(message),
            "hint": hint,
        }
    )


def ended_well(
    known: RestoreRequestStatus, report: RestoreReport | None, now: datetime, hint: str = ""
) -> RestoreRequestStatus:
    """Complete, for good; without a report where it was lost, which changes nothing about the end."""
    known = known.model_copy(update=_target(known, report))
    message = _restored_words(known, report)
    condition = (RestoreConditionType.COMPLETE, Reason.RESTORED, message)
    ended = {"state": RestoreState.COMPLETE, "message": message, "hint": hint or None}
    return _over(known, report, condition, now).model_copy(update=ended)


def ended_badly(
    known: RestoreRequestStatus, fault: Fault, report: RestoreReport | None, now: datetime
) -> RestoreRequestStatus:
    """Failed, for good."""
    message = fault_words(fault)
    condition = (RestoreConditionType.FAILED, fault.reason, message)
    ended = {"state": RestoreState.FAILED, "message": message, "hint": fault.hint or None}
    return _over(known, report, condition, now).model_copy(update=ended)


def fault_words(fault: Fault) -> str:
    """Message and detail as sentences."""
    message = fault.message.strip()
    if not fault.detail or fault.detail in message:
        return sentence(message)
    state = next((each for each in _STATES if message.endswith(each)), "")
    if state:
        # the detail explains the fault, not the state of the target that was told behind it
        cause = sentence(f"{message.removesuffix(state)}: {fault.detail}")
        return f"{cause} {state[2:].capitalize()}."
    if fault.detail[0].isupper():
        return sentence(f"{sentence(message)} {fault.detail}")
    # a message of more than one sentence is not continued by a colon
    if ". " in message:
        return sentence(f"{sentence(message)} Detail: {fault.detail}")
    return sentence(f"{message.rstrip('.')}: {fault.detail}")


def _restored_words(known: RestoreRequestStatus, report: RestoreReport | None) -> str:
    target = known.target or "its target"
    if report is None:
        return f"{known.backup or 'The backup'} is restored to {target}; the report with rows and steps is lost."
    found = _counted(known, report)
    counts = [f"{number:,} {what}" for what, number in found.items()]
    checks = ["its check holds" if len(report.checks) == 1 else f"all {len(report.checks)} checks hold"]
    checks = checks if report.checks else []
    extent = f" ({', '.join([*counts, *checks])})" if counts or checks else ""
    return f"{report.run or known.backup} is restored to {target}{extent}."


def _over(
    known: RestoreRequestStatus,
    report: RestoreReport | None,
    condition: tuple[RestoreConditionType, Reason, str],
    now: datetime,
) -> RestoreRequestStatus:
    ended = _to_the_second(report.completed_at if report else now)
    began = known.started_at
    update: dict[str, Any] = {
        "conditions": _with(known, condition, now),
        "completed_at": ended,
        "duration_seconds": max(round((ended - began).total_seconds()), 0) if began else None,
    }
    if report is None:
        return known.model_copy(update=update)
    update |= _told(report) | _counted(known, report)
    update |= _target(known, report)
    return known.model_copy(update={**update, "plan": known.plan or report.plan, "undo": report.undo})


def _told(report: RestoreReport) -> dict[str, Any]:
    """What planning and restoring both tell; nothing where the report does not say it."""
    said: dict[str, Any] = {
        "artifact": report.artifact,
        "backup": report.run,
        "safety_backup": report.safety_backup,
        "notes": report.notes,
        "steps": tuple(Step(name=one.name, seconds=round(one.seconds)) for one in report.steps),
        "checks": tuple(CheckResult(**one.model_dump()) for one in report.checks),
    }
    known = {name: value for name, value in said.items() if value}
    return known if report.recorded else {**known, "recorded": False}


def _target(known: RestoreRequestStatus, report: RestoreReport | None) -> dict[str, str]:
    """The column, with the database that the worker found it to be; one named by its time has another in the end."""
    words = known.target or ""
    if report is None or not report.into or words.endswith(f" {report.into}"):
        return {}
    return {} if report.dry_run and words == NAMED_BY_TIME else {"target": f"{words} {report.into}".strip()}


def _counted(known: RestoreRequestStatus, report: RestoreReport) -> dict[str, int]:
    """`rows`, or `keys`, found in the target."""
    if report.counted is None:
        return {}
    return {"keys" if (known.target or "").startswith("Redis") else "rows": report.counted}


def _with(
    known: RestoreRequestStatus, turned: tuple[RestoreConditionType, Reason, str], now: datetime
) -> tuple[Condition, ...]:
    """The conditions that are true, this one last; what was false only said why it was not yet."""
    kind, reason, message = turned
    kept = (one for one in known.conditions if one.status is ConditionStatus.TRUE and one.type != kind.value)
    condition = Condition(
        type=kind.value,
        status=ConditionStatus.TRUE,
        observed_generation=known.observed_generation,
        last_transition_time=_to_the_second(now),
        reason=reason.value,
        message=sentence(message)[:_MESSAGE_LIMIT],
    )
    return (*kept, condition)


def _to_the_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)

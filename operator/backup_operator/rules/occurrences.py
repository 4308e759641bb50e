"""Room `rules`: what is worth an Event between two statuses; called by `controller.policies` and `.restores`, pure."""

from dataclasses import dataclass

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.api.meta import Condition, size_in_words
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState
from backup_operator.rules.conditions import sentence
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType, RestoreConditionType

_TOLD_BY_RUNS = (ConditionType.READY.value, ConditionType.LAST_RUN_SUCCEEDED.value)
"""Ready repeats its parts, and each run that ends has an Event of its own."""


@dataclass(frozen=True)
class Happening:
    """One thing that happened: a reason of the vocabulary and a sentence."""

    reason: str
    note: str
    warning: bool


def happenings(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    """What changed between the two: conditions, a run that failed, a run that ended well."""
    return [*_turned_conditions(before, after), *_failed_run(before, after), *_good_run(before, after)]


def _turned_conditions(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    known = {one.type: (one.status, one.reason) for one in before.conditions}
    return [
        Happening(one.reason, f"{one.type}: {one.message}", warning=_is_bad(one))
        for one in after.conditions
        if one.type not in _TOLD_BY_RUNS and known.get(one.type) != (one.status, one.reason)
    ]


def _is_bad(condition: Condition) -> bool:
    return condition.status is ConditionStatus.FALSE


def _failed_run(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    failed, known = after.last_failed_backup, before.last_failed_backup
    if failed is None or (known and (known.job_name, known.reason) == (failed.job_name, failed.reason)):
        return []
    hint = f" Hint: {sentence(failed.hint)}" if failed.hint else ""
    return [Happening(failed.reason, f"Job {failed.job_name}: {sentence(failed.message)}{hint}", warning=True)]


def _good_run(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    good, known = after.last_successful_backup, before.last_successful_backup
    if good is None or (known and known.name == good.name):
        return []
    return [
        Happening("Succeeded", f"{good.name} is stored and verified, {size_in_words(good.size_bytes)}", warning=False)
    ]


RESTORE_STARTED = "RestoreStarted"
"""The Event of a marker that was set."""


def restore_happenings(before: RestoreRequestStatus, after: RestoreRequestStatus) -> list[Happening]:
    """What changed between two statuses of a RestoreRequest: planned, started, held up, ended."""
    known = {(one.type, one.status, one.reason) for one in before.conditions}
    started = before.started_at is None and after.state is RestoreState.RUNNING
    begun = [Happening(RESTORE_STARTED, f"Job {after.job_name} restores.", warning=False)] if started else []
    turned = [one for one in after.conditions if (one.type, one.status, one.reason) not in known]
    return [*begun, *(_of_restore(one, after) for one in turned)]


def _of_restore(condition: Condition, after: RestoreRequestStatus) -> Happening:
    bad = condition.type == RestoreConditionType.FAILED.value or _is_bad(condition)
    hint = f" Hint: {sentence(after.hint)}" if bad and after.hint else ""
    return Happening(condition.reason, f"{sentence(condition.message)}{hint}", warning=bad)

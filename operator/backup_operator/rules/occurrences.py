"""Room `rules`: what is worth an Event between two statuses; called by `controller.policies` and `.restores`, pure."""

from dataclasses import dataclass

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.api.meta import Condition, size_in_words
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState
from backup_operator.rules.conditions import sentence
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType, RestoreConditionType
from backup_operator.vocabulary.reasons import Reason

_TOLD_BY_RUNS = (ConditionType.READY.value, ConditionType.LAST_RUN_SUCCEEDED.value)
"""Ready repeats its parts, and each run that ends has an Event of its own."""
_TOLD_WHEN_WRONG = (
    ConditionType.RETAINED.value,
    ConditionType.STORAGE_AVAILABLE.value,
    ConditionType.PLAUSIBLE.value,
)
"""Good news of these is news only after bad, or when a person has brought it about."""
_BY_A_PERSON = (Reason.DRY_RUN.value, Reason.CHANGE_ACCEPTED.value)
BACKUPS_DELETED = "BackupsDeleted"
"""The Event of a round of retention that deleted something."""


@dataclass(frozen=True)
class Happening:
    """One thing that happened: a reason of the vocabulary and a sentence."""

    reason: str
    note: str
    warning: bool


def happenings(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    """What changed between the two: conditions, a run that failed, a run that ended well, backups that went."""
    runs = [*_failed_run(before, after), *_good_run(before, after)]
    return [*_turned_conditions(before, after), *runs, *_deletions(before, after)]


def _turned_conditions(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    known = {one.type: one for one in before.conditions}
    return [
        Happening(one.reason, f"{one.type}: {one.message}", warning=_is_bad(one) or _warns(one))
        for one in after.conditions
        if one.type not in _TOLD_BY_RUNS and _has_turned(one, known.get(one.type))
    ]


def _has_turned(condition: Condition, known: Condition | None) -> bool:
    if known is None:
        return not _is_no_news(condition, None)
    if (known.status, known.reason) == (condition.status, condition.reason):
        return _warns(condition) and not _warns(known)
    return not _is_no_news(condition, known)


def _is_no_news(condition: Condition, known: Condition | None) -> bool:
    """Whether all is well with the store's upkeep, as it was."""
    if condition.type not in _TOLD_WHEN_WRONG or _is_bad(condition) or condition.reason in _BY_A_PERSON:
        return False
    return known is None or not _is_bad(known)


def _warns(condition: Condition) -> bool:
    """Whether a spec that is accepted is still a mistake."""
    return condition.type == ConditionType.ACCEPTED.value and "Warning: " in condition.message


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


def _deletions(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[Happening]:
    done, known = after.retention, before.retention
    if done is None or not done.deleted or (known and known.applied_at == done.applied_at):
        return []
    names = done.deleted_names or ()
    listed = ", ".join(names) + (", …" if len(names) < done.deleted else "")
    what = "1 backup" if done.deleted == 1 else f"{done.deleted} backups"
    freed = size_in_words(done.freed_bytes or 0)
    return [Happening(BACKUPS_DELETED, f"{what} went by spec.retention, {freed} freed: {listed}", warning=False)]


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

"""Room `rules`: the conditions of a policy's store: Retained, StorageAvailable and Plausible; pure.

Called by `rules.status`. Each is None, and then absent, until something is known that it could be judged by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_operator.api.backuppolicy import (
    BackupPolicyStatus,
    BackupRecord,
    ComparisonStatus,
    FailedBackup,
    OtherFiles,
    RetentionPreview,
    RetentionStatus,
    StorageStatus,
)
from backup_operator.api.meta import ACCEPTED_ANNOTATION, format_time, size_in_words
from backup_operator.rules.conditions import Finding, Runs, false, sentence, true
from backup_operator.vocabulary.conditions import ConditionStatus
from backup_operator.vocabulary.reasons import Reason

_OF_THE_STORE = frozenset(
    {
        Reason.STORAGE_FULL,
        Reason.QUOTA_EXCEEDED,
        Reason.CLAIM_MISSING,
        Reason.CLAIM_PENDING,
        Reason.CLAIM_READ_ONLY,
        Reason.STORE_PERMISSION,
        Reason.STORAGE_FAILED,
    }
)
"""Reasons of a failed run or inventory that say that the volume could not be used."""
_GIB = 1 << 30
_BEING_READ = "What would be deleted is being read from the store."


@dataclass(frozen=True)
class Wish:
    """What the spec and a person want of the store."""

    namespace: str
    policy: str
    claim: str
    usage_limit_percent: int
    retention_digest: str = ""
    """Of the present rules; empty while the spec cannot be read."""
    dry_run: bool = False
    accepted_run: str = ""

    def kubectl(self, what: str) -> str:
        """A command in the policy's namespace."""
        return f"kubectl -n {self.namespace} {what}"

    def accepts(self, found: ComparisonStatus) -> bool:
        """Whether nothing is wrong, or a person has accepted it: by the newest run, or by one since it began.

        Of one policy, names sort as the runs began. The name of a run to come accepts nothing that is there.
        """
        return found.reason is None or (found.since_run or found.run) <= self.accepted_run <= found.run


def retained(status: BackupPolicyStatus, runs: Runs, wish: Wish) -> Finding | None:
    """Whether retention ran after the newest good run, to its end and unhindered."""
    known = status.retention
    if known is None or (known.applied_at is None and not wish.dry_run):
        return None
    if known.applied_at is None or wish.dry_run:
        return _dry_run(known, status, wish)
    trouble = _trouble(known, status, runs, wish)
    if trouble is not None:
        return trouble
    reason = Reason.FLOOR_REACHED if known.held_back else Reason.APPLIED
    return true(reason, " ".join(_applied_words(known, known.applied_at, runs, wish)))


def _dry_run(known: RetentionStatus, status: BackupPolicyStatus, wish: Wish) -> Finding:
    is_of_these_rules, is_empty = not _is_of_other_rules(known, wish), status.backup_count == 0
    if is_of_these_rules and known.stopped and known.preview is None:
        return false(Reason.NOT_YET_APPLIED, f"What would be deleted cannot be said: {sentence(known.stopped)}")
    effect = _effect_words(known, is_empty=is_empty) if is_of_these_rules or is_empty else _BEING_READ
    if known.blocked and is_of_these_rules:
        effect += _held_words(known.blocked, status.comparison, wish)
    patch = """'{"spec":{"retention":{"dryRun":false}}}'"""
    release = wish.kubectl(f"patch bp {wish.policy} --type merge -p {patch}")
    words = f"spec.retention.dryRun is true: nothing is deleted. {effect} To have the rules applied: {release}"
    return true(Reason.DRY_RUN, words)


def _held_words(held: int, found: ComparisonStatus | None, wish: Wish) -> str:
    if found is not None and wish.accepts(found):
        return f" {_count(held)} that {_verb(held, 'was', 'were')} held would go too, as the change is accepted."
    return f" {_count(held)} more {_verb(held, 'is', 'are')} held while the newest one is implausible."


def _effect_words(known: RetentionStatus, *, is_empty: bool) -> str:
    preview = known.preview
    if is_empty:
        return "The store holds no backup, so nothing would be deleted."
    if preview is None:
        return _BEING_READ
    if not preview.count:
        return f"By the rules nothing would be deleted; {_count(known.kept or 0)} would stay."
    return f"By the rules {_going_words(preview)}, would be deleted; {known.kept or 0} would stay."


def _is_of_other_rules(known: RetentionStatus, wish: Wish) -> bool:
    """Whether what is foretold was foretold of rules that are not those of the spec."""
    return bool(wish.retention_digest) and known.rules_digest != wish.retention_digest


def _trouble(known: RetentionStatus, status: BackupPolicyStatus, runs: Runs, wish: Wish) -> Finding | None:
    """What kept retention from its work; None where nothing did."""
    if known.stopped:
        return false(Reason.NOT_YET_APPLIED, _cut_short_words(known, runs))
    if known.blocked and status.comparison and not wish.accepts(status.comparison):
        return false(Reason.RETENTION_BLOCKED, _blocked_words(known.blocked, status.comparison, wish))
    return false(Reason.NOT_YET_APPLIED, _behind_words(known, runs)) if _is_behind(known, runs) else None


def _cut_short_words(known: RetentionStatus, runs: Runs) -> str:
    stopped = f"Retention was stopped: {sentence(known.stopped or '')}"
    return f"{stopped}{_left_words(known)} The next good run goes on with it; to start one now: {runs.start_one}"


def _left_words(known: RetentionStatus) -> str:
    """What should have gone and is there yet, which is no fault: a restore may read it."""
    return f" To go later: {sentence('; '.join(known.left))}" if known.left else ""


def _blocked_words(blocked: int, found: ComparisonStatus, wish: Wish) -> str:
    return (
        f"{_count(blocked)} that should go by the rules {_verb(blocked, 'is', 'are')} kept, because {found.run} is not "
        f"in line with those before it. {_accept_words(found, wish)}"
    )


def _is_behind(known: RetentionStatus, runs: Runs) -> bool:
    """Whether a good run was made since, and nothing tells that retention followed it: its report was lost.

    While a run is going, an inventory may have seen its backup before its report comes.
    """
    good, applied_at, preview = runs.last_good, known.applied_at, known.preview
    if good is None or applied_at is None or applied_at >= good.completed_at or runs.active is not None:
        return False
    nothing_left = preview is not None and preview.at >= good.completed_at and not preview.count
    return not nothing_left and not _was_dry_run(known, good)


def _was_dry_run(known: RetentionStatus, good: BackupRecord | None) -> bool:
    """Whether the newest good run left retention undone because it was told to."""
    return good is not None and known.dry_run_at is not None and known.dry_run_at >= good.completed_at


def _behind_words(known: RetentionStatus, runs: Runs) -> str:
    last = f"Retention ran last at {format_time(known.applied_at)}" if known.applied_at else "Retention never ran"
    newest = runs.last_good.name if runs.last_good else "it"
    return (
        f"{last} and is not known to have run after {newest}. The next good run applies it; to start one now: "
        f"{runs.start_one}"
    )


def _applied_words(known: RetentionStatus, applied_at: datetime, runs: Runs, wish: Wish) -> list[str]:
    gone, size = known.deleted or 0, size_in_words(known.freed_bytes or 0)
    went = f"deleted {_named(gone, known.deleted_names or ())}, {size} freed" if gone else "deleted nothing"
    words = [f"Retention ran at {format_time(applied_at)}: kept {known.kept or 0}, {went}.{_left_words(known)}"]
    if _was_dry_run(known, runs.last_good):
        words.append("Since then spec.retention.dryRun was on; the next good run applies the rules.")
    if held := known.held_back:
        words.append(f"Of those kept, {held} {_verb(held, 'stays', 'stay')} only by spec.retention.minimum.")
    if following := known.next_to_go:
        words.append(f"Next to go: {following.name}, after the run of {format_time(following.at)}.")
    if known.blocked:
        held = known.blocked
        words.append(f"{_count(held)} that {_verb(held, 'was held goes', 'were held go')} with the next good run.")
    return [*words, *_changed_rules_words(known, applied_at, wish)]


def _changed_rules_words(known: RetentionStatus, applied_at: datetime, wish: Wish) -> list[str]:
    preview = known.preview
    if _is_of_other_rules(known, wish):
        return ["The rules have changed since; what they will delete is being read from the store."]
    if preview is None or preview.at <= applied_at or not preview.count:
        return []
    hold = wish.kubectl(f"""patch bp {wish.policy} --type merge -p '{{"spec":{{"retention":{{"dryRun":true}}}}}}'""")
    return [f"By the present rules the next good run deletes {_going_words(preview)}. To hold it back: {hold}"]


def storage_available(status: BackupPolicyStatus, runs: Runs, wish: Wish) -> Finding | None:
    """Whether the volume could be written by the newest run that came so far, and is used below its limit."""
    failed, storage = runs.last_failed, status.storage
    if failed is not None and runs.newest_failed and failed.reason in _OF_THE_STORE:
        return false(failed.reason, _unwritable_words(failed, storage, wish))
    if runs.inventory_reason in _OF_THE_STORE:
        return false(runs.inventory_reason, f"The store could not be read: {sentence(runs.inventory_words)}")
    if (held := _unsolved(runs)) is not None:
        return held
    if storage is None:
        return None
    facts = _use_words(storage, status.other_files, wish)
    if storage.used_percent <= wish.usage_limit_percent:
        return true(Reason.BELOW_LIMIT, f"{facts[0]}, below the limit of {wish.usage_limit_percent} %.{facts[1]}")
    limit = f"above spec.storage.usageLimitPercent, {wish.usage_limit_percent} %"
    return false(Reason.USAGE_ABOVE_LIMIT, f"{facts[0]}, {limit}.{facts[1]} {_more_room_words(storage, wish)}")


def _unsolved(runs: Runs) -> Finding | None:
    """The fault of the volume that was known before a run failed that did not come so far as to use it."""
    before, is_late = runs.unproven_store, runs.newest_failed or runs.inventory_reason is not None
    if before is None or before.status is not ConditionStatus.FALSE or not is_late:
        return None
    reason = next((one for one in _OF_THE_STORE if one.value == before.reason), None)
    return false(reason, before.message) if reason is not None else None


def _unwritable_words(failed: FailedBackup, storage: StorageStatus | None, wish: Wish) -> str:
    hint = f" Hint: {sentence(failed.hint)}" if failed.hint else ""
    known = f" When last seen, {storage.used_percent} % of claim {wish.claim} were used." if storage else ""
    return f"A run could not use the volume: {sentence(failed.message)}{hint}{known}"


def _use_words(storage: StorageStatus, other: OtherFiles | None, wish: Wish) -> tuple[str, str]:
    """Use of the volume without a full stop, and the sentences that come after what the limit is."""
    used, capacity = size_in_words(storage.used_bytes), size_in_words(storage.capacity_bytes)
    use = f"Claim {wish.claim}: {used} of {capacity} used ({storage.used_percent} %)"
    rest = f" This store holds {size_in_words(storage.store_bytes)}."
    if storage.full_at is not None:
        rest += f" At the present pace the volume is full on {storage.full_at.date().isoformat()}."
    return use, rest + (_other_words(other) if other else "")


def _other_words(other: OtherFiles) -> str:
    kinds = ((other.old_scripts, "of the old scripts"), (other.foreign, "of others"))
    counts = " and ".join(f"{number} {what}" for number, what in kinds if number)
    more = ", …" if len(other.names) < other.old_scripts + other.foreign else ""
    names = f" ({', '.join(other.names)}{more})" if other.names else ""
    return f" Beside the backups it holds files that are never deleted: {counts}{names}."


def _more_room_words(storage: StorageStatus, wish: Wish) -> str:
    larger = -(-storage.capacity_bytes * 3 // (2 * _GIB))
    size = f"""'{{"spec":{{"resources":{{"requests":{{"storage":"{larger}Gi"}}}}}}}}'"""
    grow = wish.kubectl(f"patch pvc {wish.claim} --type merge -p {size}")
    return (
        f"Keep less, with spec.retention ({wish.kubectl(f'edit bp {wish.policy}')}), or make the claim larger: {grow}"
    )


def plausible(status: BackupPolicyStatus, wish: Wish) -> Finding | None:
    """Whether the newest backup looks like those before it, or a person has accepted that it does not."""
    found = status.comparison
    if found is None:
        return None
    if found.reason is None:
        return _in_line(found)
    what = sentence(found.message or f"{found.run} is not in line with those before it")
    if wish.accepts(found):
        return true(Reason.CHANGE_ACCEPTED, f"{what} A person has accepted it.")
    mistyped = f" The accepted run is {wish.accepted_run}, which is not it." if wish.accepted_run else ""
    return false(found.reason, f"{what}{mistyped} {_accept_words(found, wish)}")


def _in_line(found: ComparisonStatus) -> Finding:
    if found.accepted:
        return true(Reason.CHANGE_ACCEPTED, f"{found.run} differs from older backups, which a person has accepted.")
    if not found.compared_with:
        return true(Reason.NOTHING_TO_COMPARE, f"There is no earlier backup to compare {found.run} with.")
    before = _count(found.compared_with)
    return true(Reason.IN_LINE, f"{found.run} is in line with the {before} before it in size and content.")


def _accept_words(found: ComparisonStatus, wish: Wish) -> str:
    since = found.since_run or found.run
    accept = wish.kubectl(f"annotate bp {wish.policy} --overwrite {ACCEPTED_ANNOTATION}={found.run}")
    return f"Retention keeps everything from before {since} until that is accepted. If it is meant to be so: {accept}"


def _going_words(preview: RetentionPreview) -> str:
    return f"{_named(preview.count, preview.names)}, {size_in_words(preview.bytes)}"


def _named(count: int, names: Sequence[str]) -> str:
    """`2 backups (a, b)`, with an ellipsis where there are more than are named."""
    listed = ", ".join(names) + (", …" if len(names) < count else "")
    return f"{_count(count)} ({listed})" if names else _count(count)


def _count(number: int) -> str:
    return f"{number} backup" if number == 1 else f"{number} backups"


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many

"""Room `rules`: which notices are due for an object, and which are still owed; called by `controller.notifier`. Pure.

The answer goes into `status.notified` in the write that carries the transition itself, so that both are there or
neither. A notice stays in it until each of its targets has accepted it: told at least once, whatever happens to the
process; twice only when that ends between an acceptance and the next write.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.api.meta import Condition, format_time
from backup_operator.api.notified import OWED_NOTICES, NotifiedStatus, OwedNotice, ToldTrouble
from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.rules.conditions import sentence
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType, RestoreConditionType
from backup_operator.vocabulary.notifications import NotificationKind as Kind
from backup_operator.vocabulary.reasons import Reason

GIVEN_UP_AFTER = timedelta(hours=24)
"""So long a notice is tried; afterwards nobody would know what to do with it."""
_PATIENCE = timedelta(minutes=5)
"""So long a run may wait for a new node, a new volume or its next attempt before anybody is told."""
_MESSAGE_LIMIT = 1000
_NEVER_STARTS = (Reason.RUN_STUCK, Reason.POD_PENDING, Reason.UNSCHEDULABLE)


@dataclass(frozen=True)
class Route:
    """Where notices go: one key of the Secret with URLs, and which notices it takes."""

    target: str
    kinds: frozenset[Kind] = frozenset()
    """Empty: every kind."""
    namespaces: frozenset[str] = frozenset()
    """Empty: every namespace."""

    def serves(self, namespace: str) -> bool:
        """Whether it takes notices of this namespace."""
        return not self.namespaces or namespace in self.namespaces

    def takes(self, kind: Kind) -> bool:
        """Whether it takes notices of this kind."""
        return not self.kinds or kind in self.kinds


@dataclass(frozen=True, order=True)
class Receipt:
    """That a target has accepted a notice, or that it was given up for it."""

    notice: str
    target: str


@dataclass(frozen=True)
class Post:
    """What one object's notices depend on beside its status."""

    routes: tuple[Route, ...]
    """Those that serve its namespace."""
    now: datetime
    receipts: frozenset[Receipt] = frozenset()
    """Of this object."""

    def targets(self, kind: Kind) -> tuple[str, ...]:
        """Who gets a notice of this kind, each once."""
        return tuple(sorted({route.target for route in self.routes if route.takes(kind)}))


@dataclass(frozen=True)
class _Pair:
    """The notice of a condition's trouble, and that of its end."""

    trouble: Kind
    end: Kind | None = None


_OF_POLICY: Mapping[str, _Pair] = {
    ConditionType.ACCEPTED.value: _Pair(Kind.REJECTED, Kind.ACCEPTED),
    ConditionType.SCHEDULED.value: _Pair(Kind.NOT_SCHEDULED, Kind.SCHEDULED),
    ConditionType.LAST_RUN_SUCCEEDED.value: _Pair(Kind.FAILED, Kind.RECOVERED),
    ConditionType.FRESH.value: _Pair(Kind.STALE, Kind.FRESH),
    ConditionType.RETAINED.value: _Pair(Kind.RETENTION_BLOCKED, Kind.RETENTION_RESUMED),
    ConditionType.STORAGE_AVAILABLE.value: _Pair(Kind.STORAGE_LOW, Kind.STORAGE_OK),
    ConditionType.PLAUSIBLE.value: _Pair(Kind.IMPLAUSIBLE, Kind.PLAUSIBLE),
}
_OF_RESTORE: Mapping[str, _Pair] = {
    RestoreConditionType.PLANNED.value: _Pair(Kind.STUCK),
    RestoreConditionType.COMPLETE.value: _Pair(Kind.STUCK),
}
_END_OF_RESTORE = {
    RestoreConditionType.COMPLETE.value: Kind.RESTORE_COMPLETE,
    RestoreConditionType.FAILED.value: Kind.RESTORE_FAILED,
}


def notice_id(owed: OwedNotice) -> str:
    """What tells a notice from every other one of its object."""
    return f"{owed.kind.value}/{owed.reason}/{format_time(owed.at)}"


def policy_notified(
    before: BackupPolicyStatus, after: BackupPolicyStatus, rpo: timedelta | None, post: Post
) -> NotifiedStatus | None:
    """`status.notified` of a policy whose status goes from one to the other; None when there is nothing to keep."""
    waits = post.now < (never_succeeded_told_at(before, after, rpo) or post.now)
    unsaid = {ConditionType.FRESH.value} if waits else set()
    if post.now < (still_trying_told_at(after) or post.now):
        unsaid |= _of_the_failed_run(after)
    conditions = {one.type: one for one in after.conditions if one.type not in unsaid}
    if _is_rejected_and_therefore_not_scheduled(conditions):
        del conditions[ConditionType.SCHEDULED.value]
    absent = _OF_POLICY.keys() - conditions.keys()
    return _Book(before.notified, post).turned(conditions.values(), _OF_POLICY).kept(absent, _OF_POLICY).closed()


def still_trying_told_at(after: BackupPolicyStatus) -> datetime | None:
    """When the trouble of a run that has not given up yet is worth a notice. None: at once, as nothing goes on."""
    failed, active = after.last_failed_backup, after.active_backup
    if failed is None or active is None or failed.job_name != active.job_name:
        return None
    return max(active.since, failed.completed_at or active.since) + _PATIENCE


def _of_the_failed_run(after: BackupPolicyStatus) -> set[str]:
    """The conditions that are false because of the newest run that failed."""
    reason = after.last_failed_backup.reason if after.last_failed_backup else None
    return {
        one.type
        for one in after.conditions
        if one.type in (ConditionType.LAST_RUN_SUCCEEDED, ConditionType.STORAGE_AVAILABLE)
        and one.status is ConditionStatus.FALSE
        and one.reason == reason
    }


def never_succeeded_told_at(
    before: BackupPolicyStatus, after: BackupPolicyStatus, rpo: timedelta | None
) -> datetime | None:
    """When a policy that has no backup yet is worth a notice: its first run has had its time. None: at once.

    At once, too, when there were backups and they are gone, and when there are some that do not open.
    """
    fresh = next((one for one in after.conditions if one.type == ConditionType.FRESH.value), None)
    if fresh is None or rpo is None or fresh.reason != Reason.NEVER_SUCCEEDED.value:
        return None
    gone = bool(before.backup_count) and before.store == after.store
    told = before.notified.told if before.notified else ()
    if gone or after.locked_backups or any(one.condition == fresh.type for one in told):
        return None
    return fresh.last_transition_time + rpo


def _is_rejected_and_therefore_not_scheduled(conditions: Mapping[str, Condition]) -> bool:
    accepted, scheduled = (conditions.get(kind.value) for kind in (ConditionType.ACCEPTED, ConditionType.SCHEDULED))
    if accepted is None or scheduled is None:
        return False
    return accepted.status is scheduled.status is ConditionStatus.FALSE and accepted.reason == scheduled.reason


def restore_notified(before: RestoreRequestStatus, after: RestoreRequestStatus, post: Post) -> NotifiedStatus | None:
    """`status.notified` of a RestoreRequest whose status goes from one to the other; None when nothing is to be kept.

    What was over before it was looked at is old news: only the write that ends a request makes its notice.
    """
    book = _Book(before.notified, post).turned(
        (one for one in after.conditions if one.status is ConditionStatus.FALSE), _OF_RESTORE, hint=after.hint
    )
    if before.started_at is None and after.started_at is not None:
        book.add(Kind.RESTORE_STARTED, Kind.RESTORE_STARTED.value, _started_words(after))
    ended = {one.type for one in before.conditions if one.status is ConditionStatus.TRUE}
    for one in after.conditions:
        if one.type in _END_OF_RESTORE and one.status is ConditionStatus.TRUE and one.type not in ended:
            book.add(_END_OF_RESTORE[one.type], one.reason, _with_hint(one.message, after.hint))
    return book.closed()


def _started_words(after: RestoreRequestStatus) -> str:
    where = f" {after.backup or 'A backup'} of {after.source} goes to {after.target}." if after.target else ""
    return f"Job {after.job_name} restores.{where}"


def _with_hint(message: str, hint: str | None) -> str:
    return f"{sentence(message)} Hint: {sentence(hint)}" if hint else sentence(message)


def _kind_of_trouble(reason: str, pair: _Pair) -> Kind:
    return Kind.STUCK if reason in _NEVER_STARTS else pair.trouble


class _Book:
    """The next `status.notified` in the making."""

    def __init__(self, before: NotifiedStatus | None, post: Post) -> None:
        self._known = before or NotifiedStatus()
        self._post = post
        self._told: list[ToldTrouble] = []
        self._owed: list[OwedNotice] = []

    def turned(self, conditions: Iterable[Condition], pairs: Mapping[str, _Pair], hint: str | None = None) -> "_Book":
        """Take in what the conditions say now; one that is neither true nor false, or absent, says nothing new."""
        for one in conditions:
            if one.type in pairs:
                told = [trouble for trouble in self._known.told if trouble.condition == one.type]
                self._turn(one, told, pairs[one.type], hint)
        return self

    def _turn(self, now: Condition, told: list[ToldTrouble], pair: _Pair, hint: str | None) -> None:
        if now.status is ConditionStatus.TRUE:
            if told and pair.end is not None:
                self.add(pair.end, now.reason, _with_hint(now.message, hint))
            return
        trouble = _kind_of_trouble(now.reason, pair)
        if not self._concerns_anybody(trouble, pair):
            return
        self._told += told
        # a trouble that goes to and fro between two reasons is told once of each
        if now.status is ConditionStatus.UNKNOWN or any(one.reason == now.reason for one in told):
            return
        self._told.append(ToldTrouble(condition=now.type, reason=now.reason, since=now.last_transition_time))
        self.add(trouble, now.reason, _with_hint(now.message, hint))

    def kept(self, absent: Collection[str], pairs: Mapping[str, _Pair]) -> "_Book":
        """Keep what was told of conditions of which nothing is said now: their end is still to be told."""
        self._told += [
            one
            for one in self._known.told
            if one.condition in absent
            and self._concerns_anybody(_kind_of_trouble(one.reason, pairs[one.condition]), pairs[one.condition])
        ]
        return self

    def _concerns_anybody(self, trouble: Kind, pair: _Pair) -> bool:
        return bool(self._post.targets(trouble) or (pair.end and self._post.targets(pair.end)))

    def add(self, kind: Kind, reason: str, message: str) -> None:
        """Owe a notice to everyone who takes its kind."""
        targets = self._post.targets(kind)
        if targets:
            at = self._post.now.astimezone(UTC).replace(microsecond=0)
            self._owed.append(
                OwedNotice(kind=kind, reason=reason, at=at, message=message[:_MESSAGE_LIMIT], targets=targets)
            )

    def closed(self) -> NotifiedStatus | None:
        """What is to be kept; None when that is nothing."""
        configured = {route.target for route in self._post.routes}
        old = [left for one in self._known.owed if (left := self._still_owed(one, configured)) is not None]
        owed = tuple([*old, *self._owed][-OWED_NOTICES:])
        return NotifiedStatus(told=tuple(self._told), owed=owed) if owed or self._told else None

    def _still_owed(self, owed: OwedNotice, configured: set[str]) -> OwedNotice | None:
        name = notice_id(owed)
        left = tuple(
            target
            for target in owed.targets
            if target in configured and Receipt(name, target) not in self._post.receipts
        )
        return owed.model_copy(update={"targets": left}) if left else None

"""Room `controller`: the notices that wait for their targets, in memory; kept and emptied by `controller.notifier`.

A cache of what every `status.notified` owes: after a restart the first reconcile of each object fills it again.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backup_operator.api.notified import NotifiedStatus, OwedNotice
from backup_operator.controller.queue import Backoff
from backup_operator.manifests.event import Subject
from backup_operator.rules.notices import Receipt, notice_id


@dataclass(frozen=True)
class Parcel:
    """A notice about an object for one target."""

    subject: Subject
    owed: OwedNotice
    target: str

    @property
    def receipt(self) -> Receipt:
        """What is kept of it when it has arrived, or was given up."""
        return Receipt(notice_id(self.owed), self.target)


@dataclass(frozen=True)
class Settled:
    """What was new in a status."""

    news_for: frozenset[str]
    """The targets that have something to get."""
    dropped: list[Parcel]
    """The parcels that it no longer knows and nobody has accepted."""


@dataclass
class _Account:
    """One object: what it still owes, what has arrived since its status was written, what a target does not take."""

    subject: Subject
    parcels: dict[Receipt, Parcel] = field(default_factory=dict)
    receipts: set[Receipt] = field(default_factory=set)
    rejected: set[Receipt] = field(default_factory=set)
    gone: bool = False

    def drop(self, receipt: Receipt) -> Parcel:
        self.rejected.discard(receipt)
        return self.parcels.pop(receipt)


class Outbox:
    """Parcels and receipts of every object, by its uid."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def settle(self, subject: Subject, notified: NotifiedStatus | None) -> Settled:
        """Take in what a status that is written owes."""
        self._forget_others(subject)
        owed = notified.owed if notified else ()
        wanted = {one.receipt: one for owes in owed for one in _parcels(subject, owes)}
        account = self._accounts.setdefault(subject.uid, _Account(subject))
        account.receipts &= wanted.keys()
        dropped = [account.drop(receipt) for receipt in account.parcels.keys() - wanted.keys()]
        new = [one for receipt, one in wanted.items() if receipt not in account.receipts | account.parcels.keys()]
        account.parcels.update((one.receipt, one) for one in new)
        self._close_if_empty(account)
        return Settled(frozenset(one.target for one in new), dropped)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """The object is gone: nothing can be written into it any more; what it still owes is told all the same."""
        self._forget_others(Subject(kind, namespace, name, uid=""))

    def receipts(self, uid: str) -> frozenset[Receipt]:
        """What has arrived and is still owed by the object's status as it was last settled."""
        return frozenset(self._accounts[uid].receipts) if uid in self._accounts else frozenset()

    def waiting(self, target: str) -> list[Parcel]:
        """What this target has to get, oldest first; behind it what it did not take while it took others."""
        found = [
            (receipt in account.rejected, parcel.owed.at, position, parcel)
            for account in self._accounts.values()
            for position, (receipt, parcel) in enumerate(account.parcels.items())
            if receipt.target == target
        ]
        return [parcel for *_, parcel in sorted(found, key=lambda one: one[:3])]

    def is_waiting(self, parcel: Parcel) -> bool:
        """Whether the parcel is still to be sent."""
        account = self._accounts.get(parcel.subject.uid)
        return account is not None and parcel.receipt in account.parcels

    def close(self, parcel: Parcel) -> None:
        """It has arrived, or nobody tries any longer."""
        account = self._accounts.get(parcel.subject.uid)
        if account is None or parcel.receipt not in account.parcels:
            return
        account.drop(parcel.receipt)
        if not account.gone:
            account.receipts.add(parcel.receipt)
        self._close_if_empty(account)

    def reject(self, parcel: Parcel) -> None:
        """The target takes others and not this one: it must not keep them waiting."""
        if self.is_waiting(parcel):
            self._accounts[parcel.subject.uid].rejected.add(parcel.receipt)

    @property
    def is_settled(self) -> bool:
        """Whether the status of every object says what has arrived."""
        return not any(account.receipts for account in self._accounts.values())

    def _forget_others(self, subject: Subject) -> None:
        """Every object that was in the place of this one before it."""
        for account in list(self._accounts.values()):
            if _place(account.subject) == _place(subject) and account.subject.uid != subject.uid:
                account.gone = True
                account.receipts.clear()
                self._close_if_empty(account)

    def _close_if_empty(self, account: _Account) -> None:
        if not account.parcels and not account.receipts:
            self._accounts.pop(account.subject.uid, None)


def _parcels(subject: Subject, owed: OwedNotice) -> list[Parcel]:
    return [Parcel(subject, owed, target) for target in owed.targets]


def _place(subject: Subject) -> tuple[str, str, str]:
    return (subject.kind, subject.namespace, subject.name)


PATIENCE = Backoff(timedelta(seconds=5), timedelta(minutes=5))
NEWS_AFTER = timedelta(seconds=15)
"""A target that does not answer is not asked more often than this for the sake of a new notice."""


@dataclass
class Doorbell:
    """When one target is tried next."""

    _failures: int = 0
    _tried_at: datetime | None = None
    _next: datetime | None = None
    _url: str = ""

    def may_ring(self, now: datetime, url: str) -> bool:
        """Whether to try now: its time has come, its URL is another one, or the clock was set back."""
        if self._next is None or self._tried_at is None:
            return True
        return now >= self._next or now < self._tried_at or url != self._url

    def pause(self, now: datetime) -> timedelta:
        """How long until its time comes."""
        return max((self._next or now) - now, timedelta())

    def hurry(self) -> None:
        """There is news: do not wait the whole of a long pause."""
        if self._next is not None and self._tried_at is not None:
            self._next = min(self._next, self._tried_at + NEWS_AFTER)

    def answered(self) -> None:
        """It takes notices."""
        self._failures, self._next, self._tried_at, self._url = 0, None, None, ""

    def unanswered(self, now: datetime, url: str) -> None:
        """It took none."""
        self._failures += 1
        self._tried_at, self._url = now, url
        self._next = now + PATIENCE.pause(self._failures)

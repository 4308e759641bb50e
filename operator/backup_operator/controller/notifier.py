"""Room `controller`: notices to people: what `policies` and `restores` owe is sent from here; started by `engine`.

A notice is written into `status.notified` with the transition, and only then sent. When its target has accepted it,
the object is reconciled at once and `status.notified` no longer owes it. So a notice arrives at least once: an outage
of the target, of the API server or of the operator loses none, and one arrives twice only if the operator dies within
the moment between the acceptance and that write. No reconcile waits for a target, and no target for another.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.api.notified import NotifiedStatus
from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.controller.apprising import NotSent, Talker
from backup_operator.controller.outbox import Doorbell, Outbox, Parcel
from backup_operator.controller.routes import Notifications
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.rules.notice_words import letter_of
from backup_operator.rules.notices import (
    GIVEN_UP_AFTER,
    Post,
    never_succeeded_told_at,
    policy_notified,
    restore_notified,
    still_trying_told_at,
)

log = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(seconds=10)
"""How soon a URL that was changed is noticed while something waits for its target."""
_DOWN_AFTER = 2
"""So many notices in a row that a target does not take, and it is left alone for a while."""
_IN_FLIGHT = timedelta(seconds=5)
_TO_BE_WRITTEN = timedelta(seconds=3)
GIVEN_UP = "NotificationGivenUp"
"""The reason of the Event about a notice that nobody tries to send any longer."""


class Result(StrEnum):
    """How an attempt to send a notice ended; counted for the metrics."""

    SENT = "sent"
    RETRIED = "retried"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class Desk:
    """What the notifier asks of the engine."""

    mark: Callable[[Subject], None]
    """Have the object reconciled."""
    tell: Callable[[Subject, Occurrence], Awaitable[None]]
    """Send an Event."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Notifier:
    """Keeps what is owed, and sends it; without routes it does nothing."""

    def __init__(self, notifications: Notifications, desk: Desk) -> None:
        self._routes = notifications.routes
        self._desk = desk
        self._talker = Talker(notifications.directory)
        self._outbox = Outbox()
        self._doorbells = {route.target: Doorbell() for route in self._routes}
        self._news = {target: asyncio.Event() for target in self._doorbells}
        self._threads = ThreadPoolExecutor(len(self._doorbells) or 1, thread_name_prefix="notifier")
        self._in_flight = 0
        self._idle, self._all_written = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._all_written.set()
        self._stopping = False
        self.results: Counter[str] = Counter()
        """Attempts by `Result`, for the metrics."""

    @classmethod
    def silent(cls) -> Self:
        """One that has nobody to tell."""
        return cls(Notifications(), Desk(mark=lambda _: None, tell=_told_nobody))

    # --- what a reconcile calls; none of it waits

    @property
    def has_routes(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._routes)

    def policy_noted(
        self, subject: Subject, before: BackupPolicyStatus, after: BackupPolicyStatus, rpo: timedelta | None
    ) -> BackupPolicyStatus:
        """The status with the notices that it owes."""
        return after.model_copy(update={"notified": policy_notified(before, after, rpo, self._post(subject))})

    def policy_due_at(
        self, before: BackupPolicyStatus, after: BackupPolicyStatus, rpo: timedelta | None
    ) -> datetime | None:
        """When a policy becomes worth a notice without anything happening."""
        moments = (never_succeeded_told_at(before, after, rpo), still_trying_told_at(after)) if self._routes else ()
        now = self._desk.clock()
        return min((moment for moment in moments if moment is not None and moment > now), default=None)

    def restore_noted(
        self, subject: Subject, before: RestoreRequestStatus, after: RestoreRequestStatus
    ) -> RestoreRequestStatus:
        """The status with the notices that it owes."""
        return after.model_copy(update={"notified": restore_notified(before, after, self._post(subject))})

    def written(self, subject: Subject, notified: NotifiedStatus | None) -> None:
        """This stands in the object's status now: what it owes may be sent."""
        if not self._routes:
            return
        settled = self._outbox.settle(subject, notified)
        for parcel in settled.dropped:
            self._count_given_up(parcel, "newer notices of the same object took its place")
        for target in settled.news_for:
            self._doorbells[target].hurry()
            self._news[target].set()
        self._look_whether_all_is_written()

    def gone(self, kind: str, namespace: str, name: str) -> None:
        """The object was deleted."""
        self._outbox.forget(kind, namespace, name)
        self._look_whether_all_is_written()

    def _look_whether_all_is_written(self) -> None:
        if self._outbox.is_settled:
            self._all_written.set()

    def _post(self, subject: Subject) -> Post:
        routes = tuple(route for route in self._routes if route.serves(subject.namespace))
        return Post(routes, self._desk.clock(), self._outbox.receipts(subject.uid))

    # --- sending

    async def run(self) -> None:
        """Send what is owed, for ever."""
        async with asyncio.TaskGroup() as group:
            for target in self._doorbells:
                group.create_task(self._serve(target), name=f"notices to {target}")

    async def stop(self) -> None:
        """Begin nothing new, and have what has just arrived written down, so that nobody is told twice."""
        self._stopping = True
        for moment, longest in ((self._idle, _IN_FLIGHT), (self._all_written, _TO_BE_WRITTEN)):
            with suppress(TimeoutError):
                await asyncio.wait_for(moment.wait(), longest.total_seconds())
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, target: str) -> None:
        news = self._news[target]
        while True:
            news.clear()
            pause = await self.turn(target)
            try:
                await asyncio.wait_for(news.wait(), None if pause is None else pause.total_seconds())
            except TimeoutError:
                continue

    async def turn(self, target: str) -> timedelta | None:
        """Offer a target what waits for it; the pause until its next turn, None when nothing waits."""
        waiting, doorbell, url = self._outbox.waiting(target), self._doorbells[target], self._talker.url_of(target)
        if not waiting or self._stopping:
            return None
        if doorbell.may_ring(self._desk.clock(), url):
            if await self._offer(target, url, waiting):
                doorbell.answered()
            else:
                doorbell.unanswered(self._desk.clock(), url)
        if not self._outbox.waiting(target):
            return None
        return min(doorbell.pause(self._desk.clock()), LOOK_AGAIN)

    async def _offer(self, target: str, url: str, waiting: list[Parcel]) -> bool:
        """Send one after the other until the target looks down; whether it took all of them."""
        refused: list[Parcel] = []
        in_a_row = 0
        for parcel in waiting:
            if in_a_row == _DOWN_AFTER or self._stopping:
                break
            if not self._outbox.is_waiting(parcel):
                continue
            if await self._send(target, url, parcel):
                in_a_row = 0
                for one in refused:
                    self._outbox.reject(one)
            else:
                in_a_row += 1
                refused.append(parcel)
        return not refused

    async def _send(self, target: str, url: str, parcel: Parcel) -> bool:
        self._in_flight += 1
        self._idle.clear()
        try:
            return await self._attempt(target, url, parcel)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _attempt(self, target: str, url: str, parcel: Parcel) -> bool:
        about = parcel.subject
        letter = letter_of(parcel.owed, about.kind, about.namespace, about.name)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._talker.send, target, url, letter)
        except NotSent as exc:
            await self._not_sent(parcel, str(exc))
            return False
        self._close(parcel)
        self.results[Result.SENT] += 1
        log.info("notice sent", extra=_fields(parcel))
        return True

    def _close(self, parcel: Parcel) -> None:
        """Nobody sends it any more: its object's status is to say so."""
        self._outbox.close(parcel)
        if not self._outbox.is_settled:
            self._all_written.clear()
        self._desk.mark(parcel.subject)

    async def _not_sent(self, parcel: Parcel, why: str) -> None:
        if self._desk.clock() - parcel.owed.at < GIVEN_UP_AFTER:
            self.results[Result.RETRIED] += 1
            log.warning("notice not sent, will be tried again", extra={**_fields(parcel), "why": why})
            return
        self._close(parcel)
        self._count_given_up(parcel, why)
        note = f"The notice {parcel.owed.kind.value} of {parcel.owed.at:%Y-%m-%dT%H:%M:%SZ} did not reach"
        occurrence = Occurrence(GIVEN_UP, f"{note} {parcel.target} within 24 hours: {why}.", warning=True)
        await self._desk.tell(parcel.subject, occurrence)

    def _count_given_up(self, parcel: Parcel, why: str) -> None:
        self.results[Result.GIVEN_UP] += 1
        log.error("notice given up", extra={**_fields(parcel), "why": why})


async def _told_nobody(_subject: Subject, _occurrence: Occurrence) -> None:
    return


def _fields(parcel: Parcel) -> dict[str, str]:
    about, owed = parcel.subject, parcel.owed
    return {
        "target": parcel.target,
        "about": f"{about.kind} {about.namespace}/{about.name}",
        "notice": owed.kind.value,
        "reason": owed.reason,
        "of": owed.at.isoformat(),
    }

"""Room `controller`: the queue of dirty keys between watch events and `reconcile`; made and run by `controller.main`.

A key that is marked twice is reconciled once; one that is marked while it is being reconciled is reconciled again
afterwards, and never twice at the same time. A failed reconcile comes back with exponential backoff, a finished one may
ask for a wake-up. Everything lives in memory: after a restart the resync marks every key again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Backoff:
    """The pause after the n-th failure in a row: it doubles from `first` up to `longest`."""

    first: timedelta = timedelta(seconds=0.5)
    longest: timedelta = timedelta(minutes=2)

    def pause(self, failures: int) -> timedelta:
        """The pause after that many failures, counted from 1."""
        return min(self.first * float(2 ** min(failures - 1, 30)), self.longest)


class RetryLater(Exception):
    """A reconcile that cannot go on now for a reason which is nobody's fault; its text is logged without a trace."""


class DirtyQueue(Generic[K]):
    """Keys that wait for their reconcile, which answers with the time until it wants to be called again, or None."""

    def __init__(
        self,
        reconcile: Callable[[K], Awaitable[timedelta | None]],
        *,
        backoff: Backoff | None = None,
        expected: tuple[type[Exception], ...] = (RetryLater,),
    ) -> None:
        self._reconcile = reconcile
        self._backoff = backoff or Backoff()
        self._expected = expected
        self._waiting: deque[K] = deque()
        self._dirty: set[K] = set()
        self._running: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._work_came = asyncio.Event()

    def mark(self, key: K) -> None:
        """Reconcile this key as soon as a worker is free."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._running:
            self._waiting.append(key)
            self._work_came.set()

    def wake(self, key: K, pause: timedelta) -> None:
        """Mark this key after a pause, in place of the wake-up it had, unless that one comes earlier."""
        loop = asyncio.get_running_loop()
        when = loop.time() + pause.total_seconds()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= when:
            return
        self._cancel(key)
        self._timers[key] = loop.call_at(when, self._ring, key)

    async def work(self) -> None:
        """One worker, for ever; start as many as may reconcile at the same time."""
        while True:
            while not self._waiting:
                self._work_came.clear()
                await self._work_came.wait()
            await self._turn(self._waiting.popleft())

    @property
    def length(self) -> int:
        """Keys that are marked and not yet reconciled."""
        return len(self._dirty) + len(self._running)

    async def _turn(self, key: K) -> None:
        self._dirty.discard(key)
        self._running.add(key)
        self._cancel(key)
        try:
            pause = await self._reconcile(key)
        except self._expected as exc:
            self._failed(key, log.warning, f"{type(exc).__name__}: {exc}")
        except Exception as exc:  # noqa: BLE001 - the one place that keeps the operator alive over a fault of ours
            self._failed(key, log.exception, f"{type(exc).__name__}: {exc}")
        else:
            self._failures.pop(key, None)
            if pause is not None:
                self.wake(key, pause)
        finally:
            self._running.discard(key)
            if key in self._dirty:
                self._waiting.append(key)
                self._work_came.set()

    def _failed(self, key: K, say: Callable[..., None], words: str) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = self._backoff.pause(failures)
        say("reconcile failed", extra={"key": str(key), "failures": failures, "error": words})
        self.wake(key, pause)

    def _ring(self, key: K) -> None:
        self._timers.pop(key, None)
        self.mark(key)

    def _cancel(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

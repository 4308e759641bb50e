"""Room `worker`: says every few seconds how far a long step is; used by `worker.backup` and `worker.verify`."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from backup_operator.worker.log import PROGRESS, fields

_LOG = logging.getLogger(__name__)

_SAMPLED_EVERY = 16

Clock = Callable[[], float]
"""Seconds on a clock that never goes back."""


class Progress:
    """Counts the bytes of one step and logs them with their rate, at most once an interval."""

    def __init__(self, step: str, *, interval: timedelta, clock: Clock, of_bytes: int = 0) -> None:
        """`of_bytes`: how many there will be, where that is known."""
        self._step = step
        self._of_bytes = of_bytes
        self._interval_seconds = interval.total_seconds()
        self._clock = clock
        self._started = self._said = clock()
        self._said_bytes = 0
        self.total_bytes = 0
        self.counted: Callable[[], dict[str, object]] = dict
        """What else is known by now, for example `{"rows": 1200}`."""

    def advance(self, count_bytes: int) -> None:
        """Add bytes; says so when the interval is over."""
        self.total_bytes += count_bytes
        now = self._clock()
        if now - self._said >= self._interval_seconds:
            self._say(now)

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, counted as they pass."""
        for chunk in chunks:
            self.advance(len(chunk))
            yield chunk

    def watch_lines(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, counted as they pass; the log tells about how many rows they hold.

        Newlines of every 16th chunk are counted: in a dump nearly every line is a row, and to count all of them would
        take a tenth of a core from the dump. The exact numbers come with the verification.
        """
        lines = _LineEstimate()
        self.counted = lambda: {"rows": f"~{lines.estimate()}"}
        for chunk in self.watch(chunks):
            lines.take(chunk)
            yield chunk

    def elapsed_seconds(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._started

    def _say(self, now: float) -> None:
        rate = (self.total_bytes - self._said_bytes) / (now - self._said) / 1e6
        known = self.counted()
        _LOG.info(
            PROGRESS,
            extra=fields(
                step=self._step,
                bytes=self.total_bytes,
                done=f"{min(100 * self.total_bytes // self._of_bytes, 100)}%" if self._of_bytes else "",
                **known,
                rate=f"{rate:.1f}MB/s",
                seconds=round(now - self._started),
            ),
        )
        self._said, self._said_bytes = now, self.total_bytes


class _LineEstimate:
    def __init__(self) -> None:
        self._chunks = self._all_bytes = self._sampled_bytes = self._sampled_lines = 0

    def take(self, chunk: bytes) -> None:
        if self._chunks % _SAMPLED_EVERY == 0:
            self._sampled_bytes += len(chunk)
            self._sampled_lines += chunk.count(b"\n")
        self._chunks += 1
        self._all_bytes += len(chunk)

    def estimate(self) -> int:
        return round(self._sampled_lines * self._all_bytes / self._sampled_bytes) if self._sampled_bytes else 0

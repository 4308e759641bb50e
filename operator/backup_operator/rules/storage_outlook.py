"""Room `rules`: when a volume will be full, from the recorded sizes of a store's runs; pure. Used by `worker.storage`.

It takes it that good runs go on at their usual pace, that they grow as they did, and that after each of them retention
does what its rules say; and that what others keep on the volume grows as it did between the recorded runs. A run has to
fit before retention makes room.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations

from backup_operator.rules.retention import (
    BELIEVED_SHARE_OF_MAX_AGE,
    PERIODS,
    Period,
    RetentionRules,
)
from backup_operator.rules.retention_outlook import usual_pace

FARTHEST_OUTLOOK = timedelta(days=366)
MOST_RUNS_TO_COME = 4096
"""Six weeks of a run every fifteen minutes; a run that is kept takes half a KiB of the worker's memory."""
_LOOKED_AT = 30
"""So many of the newest sizes tell the growth: a month of daily runs."""
_LEAST_RUNS_OF_A_TREND = 3
_LEAST_SPAN_OF_A_TREND = timedelta(days=2)
"""What others write within hours tells nothing of the coming weeks."""


@dataclass(frozen=True)
class SizedRun:
    """A verified run of the store, with what it takes on the volume."""

    started_at: datetime
    """Aware."""
    size_bytes: int
    stays: bool = False
    """True: it is kept whatever the rules say."""
    others_bytes: int | None = None
    """What others took on the volume when it was made; None: nobody looked."""


@dataclass(frozen=True)
class Room:
    """Of a volume, in bytes."""

    used_bytes: int
    capacity_bytes: int


def full_at(runs: Iterable[SizedRun], room: Room, rules: RetentionRules | None, now: datetime) -> datetime | None:
    """When a run will not fit any more, or None where that is out of sight, or nothing tells the pace.

    Without rules nothing is ever deleted.
    """
    known = sorted((run for run in runs if run.started_at <= now), key=lambda run: run.started_at)
    if not known:
        return None
    if room.used_bytes >= room.capacity_bytes:
        return now
    of_others = others_growth(known)
    shelf = _Shelf(rules)
    to_be_freed = sum(shelf.put(run) for run in known)
    used_bytes = room.used_bytes
    for run in _to_come(known, now):
        used_bytes += run.size_bytes
        if used_bytes + of_others * (run.started_at - now).total_seconds() > room.capacity_bytes:
            return run.started_at
        used_bytes -= to_be_freed + shelf.put(run)
        to_be_freed = 0
    return None


def _to_come(known: Sequence[SizedRun], now: datetime) -> Iterator[SizedRun]:
    """The runs of the coming year, but not more than so many, given those of the past, oldest first."""
    pace = usual_pace([run.started_at for run in reversed(known)])
    first, growth = usual_size([run.size_bytes for run in known])
    start = max(now, known[-1].started_at + pace)
    for number in range(MOST_RUNS_TO_COME):
        if start > now + FARTHEST_OUTLOOK:
            return
        yield SizedRun(start, int(first + number * growth))
        start += pace


def usual_size(sizes: Sequence[int]) -> tuple[float, float]:
    """What the next run will take, and by how much more each one after it; sizes are in bytes, oldest first.

    One size that is far off changes nothing. Where sizes fall, they are taken to stay. Source: the estimator of Theil
    and Sen, https://en.wikipedia.org/wiki/Theil-Sen_estimator
    """
    newest = list(enumerate(sizes[-_LOOKED_AT:]))
    growth = _growth(newest)
    start = _median([size - at * growth for at, size in newest])
    return start + len(newest) * growth, growth


def others_growth(known: Sequence[SizedRun]) -> float:
    """Bytes a second by which everybody else's use of the volume grows; runs are oldest first.

    0 where it falls, and where too few runs have recorded it.
    """
    seen = [
        (run.started_at.timestamp(), run.others_bytes) for run in known[-_LOOKED_AT:] if run.others_bytes is not None
    ]
    if len(seen) < _LEAST_RUNS_OF_A_TREND or seen[-1][0] - seen[0][0] < _LEAST_SPAN_OF_A_TREND.total_seconds():
        return 0.0
    return _growth(seen)


def _growth(points: Sequence[tuple[float, float]]) -> float:
    """The median slope between any two of them; 0 where it falls."""
    slopes = [(y - before) / (x - earlier) for (earlier, before), (x, y) in combinations(points, 2) if x > earlier]
    return max(0.0, _median(slopes)) if slopes else 0.0


def _median(numbers: Sequence[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


class _Shelf:
    """The runs that are kept as time goes by. It takes them one by one, each in a moment.

    Of retention's rules it knows only what they do to runs that come one after the other: a run goes when the last rule
    that keeps it lets it go, and never returns.
    """

    def __init__(self, rules: RetentionRules | None) -> None:
        self._rows = _rows(rules) if rules else []
        self._kept_by: dict[int, int] = {}
        self._size_bytes: dict[int, int] = {}
        self._count = 0

    def put(self, run: SizedRun) -> int:
        """Put the newest run there. Returns: the bytes of those that go."""
        number = self._count
        self._count += 1
        if self._rows and not run.stays:
            self._kept_by[number], self._size_bytes[number] = len(self._rows), run.size_bytes
        return sum(self._let_go(each) for row in self._rows for each in row(number, run.started_at))

    def _let_go(self, number: int) -> int:
        """One rule lets go of a run. Returns: its bytes where no other one keeps it."""
        if number not in self._kept_by:
            return 0
        self._kept_by[number] -= 1
        if self._kept_by[number]:
            return 0
        del self._kept_by[number]
        return self._size_bytes.pop(number)


Row = Callable[[int, datetime], Iterable[int]]
"""Takes the newest run's number and start; yields the numbers of the runs that one rule no longer keeps."""


def _rows(rules: RetentionRules) -> list[Row]:
    """Those of the stated rules and of the floor; none where no rule is stated."""
    counts = (rules.keep_daily, rules.keep_weekly, rules.keep_monthly, rules.keep_yearly)
    stated = [_newest_of_parts(period, count, rules) for period, count in zip(PERIODS, counts, strict=True) if count]
    if rules.keep_last:
        stated.append(_newest(rules.keep_last))
    if rules.max_age:
        stated.append(_younger(rules.max_age))
    return [*stated, _newest(rules.minimum)] if stated else []


def _newest(count: int) -> Row:
    there: deque[int] = deque()

    def put(number: int, _start: datetime) -> Iterator[int]:
        there.append(number)
        while len(there) > count:
            yield there.popleft()

    return put


def _younger(max_age: timedelta) -> Row:
    there: deque[tuple[int, datetime]] = deque()

    def put(number: int, start: datetime) -> Iterator[int]:
        # as retention believes a date: no further than a part of maxAge beyond the run before
        believed = min(start, there[-1][1] + max_age / BELIEVED_SHARE_OF_MAX_AGE) if there else start
        there.append((number, start))
        while there and believed - there[0][1] >= max_age:
            yield there.popleft()[0]

    return put


def _newest_of_parts(period: Period, count: int, rules: RetentionRules) -> Row:
    there: deque[tuple[int, str]] = deque()

    def put(number: int, start: datetime) -> Iterator[int]:
        part = period.of(start.astimezone(rules.zone).date())
        if there and there[-1][1] == part:
            yield there.pop()[0]
        there.append((number, part))
        while len(there) > count:
            yield there.popleft()[0]

    return put

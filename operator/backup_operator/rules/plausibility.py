"""Room `rules`: whether a backup looks like those before it; pure. Called by `worker.plausible`.

The runs are walked from old to new. Each is compared with the last few *that were in line*, and joins them only when
it is in line itself: a collapse does not become the usual state because days pass, and data that is back is in line at
once. What was in line when it was made stays so: retention thins out what it was compared with. A person accepts a
change by naming a run; from that one on the comparison begins anew. When the data is back as it was before, that is
over: what was accepted once is no leave to lose it again.

What drains by and by is in line every night, so rows and lasting keys are compared with those of long ago as well: with
the oldest runs in line of two months, of which retention may have left fewer.

Housekeeping is no collapse: keys that expire, the oldest partition of a dated series, a queue that is empty today.
"""

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from statistics import median
from typing import NamedTuple

from backup_operator.contract.report import Comparison
from backup_operator.rules.naming import parse_run_name
from backup_operator.vocabulary.reasons import Reason

COMPARED_RUNS = 7
"""A week of nights: their median bears three odd ones, and follows what grows or shrinks by and by."""
COLLAPSED_BELOW = 0.5
"""Of the median. Housekeeping rarely takes half of everything between two runs, and an accident rarely leaves half."""
LONG_AGO = timedelta(days=60)
"""Before the last run in line, not before now: a collapse that nobody looks at is none the less one."""
DRAINED_BELOW = 0.1
"""Of the median of the oldest few of that time. A clean-up that goes on for weeks rarely takes nine of ten."""
SMALLEST_ROWS = 100
"""With fewer rows in all, half of them come and go in a day's work; that none is left is told of any number."""
SMALLEST_KEYS = 100
"""The same for Redis."""
SMALLEST_BYTES = 64 * 1024
"""A schema alone makes tens of KiB; of less than that, half is a few comments."""
STEADY_RUNS = 3
"""A table that held rows in so many runs in a row is not one that is empty now and then."""
STEADY_ROWS = 10
"""Locks, sessions and queues often hold a few rows, and none the next night."""
WIPED_BELOW = 0.1
"""Of the median of one such table: beside a larger one it may be gone though the rows in all hardly move."""
EXPIRING_SHARE = 0.1
"""Of all keys. Where more of them expire, the size of a Redis says nothing: caches flush."""
SMALLEST_SERIES = 3
"""With fewer tables of one name and different dates, one that goes is no rotation yet."""
ROTATED_SHARE = 3
"""A third of a series may go from one run to the next, or as many as have come since."""
_NAMED_TABLES = 3

_DATED = re.compile(r"(?:19|20)\d\d(?:[-_.a-z]?\d+)*")
"""The date in the name of a partition: `events_2026_11`, `events_p20261123`, `log_y2026m11`."""
_Date = tuple[int, ...]


class KeyFigures(NamedTuple):
    """Keys of a Redis that stay until they are deleted, and those with a time to live."""

    lasting: int
    expiring: int


@dataclass(frozen=True)
class SeenRun:
    """A run of the store, as far as it is compared; None where an entry does not count that."""

    name: str
    """Of one kind of source, names sort as the runs began."""
    spec_digest: str
    size_bytes: int
    """Unpacked: another compression is no change of the data."""
    rows_per_table: Mapping[str, int] | None = None
    keys: KeyFigures | None = None
    was_in_line: bool = False
    """It was compared when it was made, and found in line."""
    out_since: str = ""
    """The first run out of line, up to this one, as it was known when it was made; retention may have deleted it."""
    accepted_run: str = ""
    """What had been accepted when it was made."""


def compare_newest(runs: Iterable[SeenRun], accepted_run: str = "") -> Comparison | None:
    """How the newest run looks beside those before it; None when there is none. The order of `runs` does not matter."""
    return compare_in_order(sorted(runs, key=lambda run: run.name), accepted_run)


def compare_in_order(runs: Iterable[SeenRun], accepted_run: str = "") -> Comparison | None:
    """The same for runs that come oldest first; only one of them is held at a time."""
    walk = _Walk(accepted_run)
    for run in runs:
        walk.take(run)
    return walk.comparison()


class _Finding(NamedTuple):
    reason: Reason
    words: str


class _Walk:
    def __init__(self, accepted_run: str) -> None:
        self._wanted = accepted_run
        self._begun_at = ""
        self._before_change = _Usual()
        self._usual = _Usual()
        self._newest: SeenRun | None = None
        self._compared_with = 0
        self._finding: _Finding | None = None
        self._since = ""

    def take(self, run: SeenRun) -> None:
        for accepted in sorted((self._wanted, run.accepted_run)):
            self._begin_anew_at(accepted, run)
        finding = self._usual.finding(run)
        if finding is not None and run.was_in_line:  # what lay between, and led there by and by, has been deleted
            finding, self._usual = None, _Usual()
        self._newest, self._compared_with, self._finding = run, len(self._usual), finding
        if finding is None:
            self._since = ""
            if self._before_change.is_back_with(run):
                self._before_change, self._usual = _Usual(), _Usual(tables=self._before_change.tables)
            self._usual.add(run)
        else:
            self._since = self._since or self._known_since(run)

    def _begin_anew_at(self, accepted: str, run: SeenRun) -> None:
        """A run of the future that is accepted is none: it begins nothing until it is there."""
        if self._begun_at < accepted <= run.name:
            self._begun_at = accepted
            if self._usual.first and self._usual.first < accepted:
                self._before_change, self._usual = self._usual, _Usual()

    def _known_since(self, run: SeenRun) -> str:
        last = self._usual.last
        is_known = last is not None and last.name < run.out_since <= run.name and self._begun_at <= run.out_since
        return run.out_since if is_known else run.name

    def comparison(self) -> Comparison | None:
        newest = self._newest
        if newest is None:
            return None
        finding = self._finding
        return Comparison(
            run=newest.name,
            compared_with=self._compared_with,
            reason=finding and finding.reason,
            since_run=self._since,
            message=f"{newest.name} {finding.words}" if finding else "",
            accepted=finding is None and self._before_change.finding(newest) is not None,
        )


@dataclass
class _Course:
    """A figure in the runs in line of a long time."""

    figures: deque[tuple[datetime, int]] = field(default_factory=deque)

    def add(self, run: str, figure: int) -> None:
        named = parse_run_name(run)
        if named is None:
            return
        self.figures.append((named.at, figure))
        while self.figures[0][0] < named.at - LONG_AGO:
            self.figures.popleft()

    def drained_from(self, found: int, smallest: int) -> float | None:
        """What it was long ago, where nearly all of that is gone; with a few runs, none of them is long ago."""
        if len(self.figures) <= COMPARED_RUNS:
            return None
        once = median(figure for _, figure in islice(self.figures, COMPARED_RUNS))
        return once if once >= smallest and found < DRAINED_BELOW * once else None


class _Steady(NamedTuple):
    """A table in the runs that are in line: its rows in the last ones, and in how many in a row it held some."""

    counts: tuple[int, ...]
    """The newest last."""
    runs: int

    @property
    def rows(self) -> int:
        return self.counts[-1]

    def is_wiped_at(self, rows: int) -> bool:
        """Whether so few are left that it is no clean-up; a queue has been nearly as short before."""
        usual = median(self.counts)
        return usual >= SMALLEST_ROWS and rows < WIPED_BELOW * usual and rows < COLLAPSED_BELOW * min(self.counts)


@dataclass
class _Usual:
    """What the last runs in line hold."""

    first: str = ""
    last: SeenRun | None = None
    rows: deque[int] = field(default_factory=lambda: deque(maxlen=COMPARED_RUNS))
    keys: deque[KeyFigures] = field(default_factory=lambda: deque(maxlen=COMPARED_RUNS))
    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=COMPARED_RUNS))
    tables: dict[str, _Steady] = field(default_factory=dict)
    rows_long: _Course = field(default_factory=_Course)
    keys_long: _Course = field(default_factory=_Course)

    def __len__(self) -> int:
        """How many runs a run is compared with."""
        return len(self.sizes)

    def add(self, run: SeenRun) -> None:
        self.first, self.last = self.first or run.name, run
        self.sizes.append(run.size_bytes)
        if run.keys is not None:
            self.keys.append(run.keys)
            self.keys_long.add(run.name, run.keys.lasting)
        if run.rows_per_table is not None:
            rows = sum(run.rows_per_table.values())
            self.rows.append(rows)
            self.rows_long.add(run.name, rows)
            self.tables = {table: self._steady(table, rows) for table, rows in run.rows_per_table.items()}

    def _steady(self, table: str, rows: int) -> _Steady:
        before = self.tables.get(table)
        if before is None:
            return _Steady((rows,), int(rows >= STEADY_ROWS))
        return _Steady((*before.counts, rows)[-COMPARED_RUNS:], before.runs + 1 if rows >= STEADY_ROWS else 0)

    def is_back_with(self, run: SeenRun) -> bool:
        """Whether the run is in line with these; not when there are none."""
        return self.last is not None and self.finding(run) is None

    def finding(self, run: SeenRun) -> _Finding | None:
        """What is out of line, the gravest first; None when nothing is, or there is nothing to compare with."""
        findings = [*self._of_tables(run), *self._of_keys(run), *self._of_size(run)]
        if self.last is None or not findings:
            return None
        words = "; ".join([*(finding.words for finding in findings), *self._of_measure(run, self.last)])
        return _Finding(findings[0].reason, words)

    def _of_tables(self, run: SeenRun) -> Iterator[_Finding]:
        found = run.rows_per_table
        if found is None or not self.rows:
            return
        vanished = self._vanished(found)
        if vanished:
            yield _Finding(Reason.TABLE_VANISHED, f"lacks {_named(vanished)}")
        rows, expected = sum(found.values()), median(self.rows)
        if _has_collapsed(rows, expected, SMALLEST_ROWS):
            words = f"holds {rows:,} rows instead of about {expected:,.0f}"
            yield _Finding(Reason.ROWS_COLLAPSED, _with_losses(words, self._losses(found)))
            return
        if once := self.rows_long.drained_from(rows, SMALLEST_ROWS):
            yield _Finding(Reason.ROWS_COLLAPSED, f"holds {rows:,} rows of about {once:,.0f} some weeks ago")
        if emptied := self._emptied(found):
            yield _Finding(Reason.ROWS_COLLAPSED, f"holds no row in {_named(emptied)}")
        if wiped := self._wiped(found):
            left = sum(found[name] for name in wiped)
            yield _Finding(Reason.ROWS_COLLAPSED, f"holds only {left:,} row{'s'[: left != 1]} in {_named(wiped)}")

    def _vanished(self, found: Mapping[str, int]) -> dict[str, int]:
        missing = {name: table.rows for name, table in self.tables.items() if table.rows and name not in found}
        return self._lost(missing, found)

    def _emptied(self, found: Mapping[str, int]) -> dict[str, int]:
        emptied = {name: table.rows for name, table in self._steady_tables() if found.get(name) == 0}
        return self._lost(emptied, found)

    def _wiped(self, found: Mapping[str, int]) -> dict[str, int]:
        left = ((name, table, found.get(name, 0)) for name, table in self._steady_tables())
        wiped = {name: table.rows for name, table, rows in left if rows and table.is_wiped_at(rows)}
        return self._lost(wiped, found)

    def _lost(self, missing: Mapping[str, int], found: Mapping[str, int]) -> dict[str, int]:
        held = (name for name, table in self.tables.items() if table.rows)
        return _without_rotated(missing, held, found) if missing else {}

    def _steady_tables(self) -> Iterator[tuple[str, _Steady]]:
        return ((name, table) for name, table in self.tables.items() if table.runs >= STEADY_RUNS)

    def _losses(self, found: Mapping[str, int]) -> dict[str, str]:
        """The tables that lost most, of those that are there yet, with what is left."""
        lost = {name: table.rows - found[name] for name, table in self.tables.items() if name in found}
        most = sorted((name for name, rows in lost.items() if rows > 0), key=lambda name: (-lost[name], name))
        return {name: f"{found[name]:,} of {self.tables[name].rows:,}" for name in most}

    def _of_keys(self, run: SeenRun) -> Iterator[_Finding]:
        if run.keys is None or not self.keys:
            return
        found = run.keys.lasting
        expected = median(figures.lasting for figures in self.keys)
        expiring = median(figures.expiring for figures in self.keys)
        # of what is mostly a cache, a key or two without a time to live are locks, and no loss
        if _has_collapsed(found, expected, SMALLEST_KEYS) and (expected >= SMALLEST_KEYS or expected > expiring):
            words = f"holds {found:,} keys that do not expire instead of about {expected:,.0f}"
            yield _Finding(Reason.KEYS_COLLAPSED, words)
        elif not any(run.keys) and self._always_held_keys():
            expected = median(sum(figures) for figures in self.keys)
            yield _Finding(Reason.KEYS_COLLAPSED, f"holds no key at all instead of about {expected:,.0f}")
        elif once := self.keys_long.drained_from(found, SMALLEST_KEYS):
            words = f"holds {found:,} keys that do not expire of about {once:,.0f} some weeks ago"
            yield _Finding(Reason.KEYS_COLLAPSED, words)

    def _always_held_keys(self) -> bool:
        """Whether there were so many keys, expiring or not, that a cache that is only flushed has some again."""
        totals = [sum(figures) for figures in self.keys]
        return all(totals) and median(totals) >= SMALLEST_KEYS

    def _of_size(self, run: SeenRun) -> Iterator[_Finding]:
        if not self.sizes or self._caches():
            return
        expected = median(self.sizes)
        if expected >= SMALLEST_BYTES and run.size_bytes < COLLAPSED_BELOW * expected:
            words = f"unpacks to {run.size_bytes:,} bytes instead of about {expected:,.0f}"
            yield _Finding(Reason.SIZE_COLLAPSED, words)

    def _caches(self) -> bool:
        """Whether so many keys expire that the size goes up and down with them."""
        return any(figures.expiring > EXPIRING_SHARE * sum(figures) for figures in self.keys)

    def _of_measure(self, run: SeenRun, last: SeenRun) -> Iterator[str]:
        compared = last.name if len(self) == 1 else f"the {len(self)} backups in line up to {last.name}"
        yield f"compared with {compared}"
        if run.spec_digest != last.spec_digest:
            yield "the policy's spec has been changed since, which may be the cause"


def _has_collapsed(found: int, expected: float, smallest: int) -> bool:
    return found < COLLAPSED_BELOW * expected and (expected >= smallest or found == 0)


def _without_rotated(missing: Mapping[str, int], held: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    """The missing tables, except for the oldest partitions of dated series, where no more of one went than rotates."""
    gone, before = _by_series(missing), _by_series(held)
    left = _by_series(name for name, rows in found.items() if rows and name not in missing)
    rotated: set[str] = set()
    for series, dates in gone.items():
        if _rotates(dates.values(), before.get(series, {}).values(), left.get(series, {}).values()):
            rotated |= dates.keys()
    return {name: rows for name, rows in missing.items() if name not in rotated}


def _rotates(gone: Collection[_Date], before: Collection[_Date], left: Collection[_Date]) -> bool:
    """Whether partitions of these dates went because they were the oldest; younger ones are left, with rows."""
    members = {*before, *left}
    if not left or max(gone) >= min(left) or len(members) < SMALLEST_SERIES:
        return False
    come = [date for date in left if date > max(before)]
    return len(gone) <= max(len(members) // ROTATED_SHARE, len(come))


def _by_series(names: Iterable[str]) -> dict[str, dict[str, _Date]]:
    """The names that have a date, with it, for each series."""
    dated: defaultdict[str, dict[str, _Date]] = defaultdict(dict)
    for name in names:
        series, date = _series(name)
        if date:
            dated[series][name] = date
    return dated


def _series(name: str) -> tuple[str, _Date]:
    """The name without its date, and the numbers of the date; none where it has none."""
    dates = list(_DATED.finditer(name))
    if not dates:
        return name, ()
    date = dates[-1]
    numbers = tuple(int(number) for number in re.findall(r"\d+", date.group()))
    return f"{name[: date.start()]}<date>{name[date.end() :]}", numbers


def _named(tables: Mapping[str, int]) -> str:
    """`2 tables that held rows: public.users (1,000), public.orders (20)`, the largest first."""
    largest = sorted(tables, key=lambda name: (-tables[name], name))
    words = [f"{name} ({tables[name]:,})" for name in islice(largest, _NAMED_TABLES)]
    more = ", …" if len(largest) > _NAMED_TABLES else ""
    return f"{len(largest)} table{'s' if len(largest) > 1 else ''} that held rows: {', '.join(words)}{more}"


def _with_losses(words: str, losses: Mapping[str, str]) -> str:
    if not losses:
        return words
    named = ", ".join(f"{left} in {name}" for name, left in islice(losses.items(), _NAMED_TABLES))
    return f"{words} ({named}{', …' if len(losses) > _NAMED_TABLES else ''})"

"""Room `rules`: when a schedule starts runs; pure. Called by `rules.admission` and by `controller.policies`.

Kubernetes reads schedules with robfig/cron, whose grammar and whose days of changing clocks no Python library follows
(cronsim and croniter take 7, L and #, and run a skipped hour): a run starts at every moment whose wall clock fits, so
an hour that the clock skips has none and one that it repeats has two. The tests hold that against robfig/cron.
Source: https://pkg.go.dev/github.com/robfig/cron/v3
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

_YEARS_SEARCHED = 5
_ONE_DAY = timedelta(days=1)
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SECONDS = {"h": 3600, "m": 60, "s": 1}


class ScheduleInvalid(ValueError):
    """The schedule cannot be read, or never comes; the message says what is expected."""


class TimeZoneUnknown(ValueError):
    """The time zone is not in the IANA database."""


@dataclass(frozen=True)
class _Field:
    """The values of one cron field; `any` where it was written `*`, which decides how day and weekday go together."""

    values: frozenset[int]
    any: bool


@dataclass(frozen=True)
class Cron:
    """Five fields; hours and minutes in order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: _Field
    months: frozenset[int]
    weekdays: _Field

    def takes_place_on(self, day: date) -> bool:
        """Whether runs start on this day: where both day and weekday are given, one of them is enough."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days.values, day.isoweekday() % 7 in self.weekdays.values
        return (by_day and by_weekday) if self.days.any or self.weekdays.any else (by_day or by_weekday)

    def times(self) -> Iterator[time]:
        """The wall clock of every run of a day, in order."""
        for hour in self.hours:
            for minute in self.minutes:
                yield time(hour, minute)


@dataclass(frozen=True)
class Every:
    """A run after each span, counted from the CronJob's last run, or from its creation."""

    span: timedelta


@lru_cache(maxsize=4096)
def parse(schedule: str) -> Cron | Every:
    """The schedule as Kubernetes reads it. Raises: ScheduleInvalid."""
    if schedule.startswith("@every "):
        return _parse_every(schedule.removeprefix("@every "))
    fields = _MACROS.get(schedule, schedule).split()
    if len(fields) != 5:
        raise ScheduleInvalid(f'found "{schedule}"; expected five cron fields, write for example "0 2 * * *"')
    minute, hour, day, month, weekday = fields
    return Cron(
        minutes=tuple(sorted(_parse_field(minute, 0, 59, {}).values)),
        hours=tuple(sorted(_parse_field(hour, 0, 23, {}).values)),
        days=_parse_field(day, 1, 31, {}),
        months=_parse_field(month, 1, 12, _MONTHS).values,
        weekdays=_parse_field(weekday, 0, 6, _WEEKDAYS),
    )


def _parse_every(span: str) -> Every:
    parts = re.findall("([0-9]+)([hms])", span)
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != span:
        raise ScheduleInvalid(f'found "@every {span}"; expected a span above zero, write for example "@every 1h30m"')
    return Every(timedelta(seconds=seconds))


def _parse_field(text: str, lowest: int, highest: int, names: dict[str, int]) -> _Field:
    values: set[int] = set()
    is_any = False
    for one in text.split(","):
        start, end, step, star = _parse_range(one, lowest, highest, names)
        values.update(range(start, end + 1, step))
        is_any = is_any or star
    return _Field(frozenset(values), is_any)


def _parse_range(text: str, lowest: int, highest: int, names: dict[str, int]) -> tuple[int, int, int, bool]:
    """Start, end, step, and whether it is a plain `*`; `N/step` goes on to the highest."""
    whole, slash, step_text = text.partition("/")
    step = _number(step_text, {}, text) if slash else 1
    if whole in ("*", "?"):
        start, end = lowest, highest
    else:
        first, dash, last = whole.partition("-")
        start = _number(first, names, text)
        end = _number(last, names, text) if dash else (highest if slash else start)
    if not (lowest <= start <= end <= highest and step):
        raise ScheduleInvalid(
            f'found "{text}" in the schedule; expected {lowest} to {highest}, the smaller number first, and a step of '
            f'1 or more; write for example "{lowest}-{highest}"'
        )
    return start, end, step, whole in ("*", "?") and step == 1


def _number(text: str, names: dict[str, int], within: str) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch("[0-9]{1,4}", text):
        raise ScheduleInvalid(f'found "{within}" in the schedule; expected a number, a range, a list or "*"')
    return int(text)


def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises: TimeZoneUnknown."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise TimeZoneUnknown(
            f'found "{name}"; expected a name of the IANA time zone database; write for example Europe/Berlin'
        ) from exc


def next_run(schedule: str, time_zone: str, now: datetime, *, since: datetime | None = None) -> datetime | None:
    """The first start after `now`, in UTC; None when there is none within five years.

    `since` is what `@every` counts from: the CronJob's lastScheduleTime, or its creationTimestamp. Default: now.
    Raises: ScheduleInvalid, TimeZoneUnknown.
    """
    parsed = parse(schedule)
    if isinstance(parsed, Every):
        return _next_after(parsed.span, now, (since or now).replace(microsecond=0))
    where = zone(time_zone)
    today = now.astimezone(where).date()
    last_day = date(today.year + _YEARS_SEARCHED, 12, 31)
    # a zone may be a day ahead of itself where it crossed the date line, so the search begins a day early
    day = today - _ONE_DAY
    while day <= last_day:
        if parsed.takes_place_on(day) and (found := _first_after(now, day, parsed, where)):
            return found
        day += _ONE_DAY
    return None


def _next_after(span: timedelta, now: datetime, since: datetime) -> datetime:
    missed = max(0, (now - since) // span)
    return (since + (missed + 1) * span).astimezone(UTC)


def _first_after(now: datetime, day: date, cron: Cron, where: ZoneInfo) -> datetime | None:
    """The first moment of this day after `now` whose wall clock fits; a skipped hour has none, a repeated one two."""
    moments = (moment for at in cron.times() for moment in _moments(datetime.combine(day, at), where) if moment > now)
    return min(moments, default=None)


def _moments(wall_clock: datetime, where: ZoneInfo) -> Iterator[datetime]:
    """When clocks in that zone show this: once, twice, or never."""
    seen = set()
    for fold in (0, 1):
        moment = wall_clock.replace(tzinfo=where, fold=fold).astimezone(UTC)
        if moment not in seen and moment.astimezone(where).replace(tzinfo=None, fold=0) == wall_clock:
            seen.add(moment)
            yield moment


@lru_cache(maxsize=4096)
def interval(schedule: str, time_zone: str = "Etc/UTC") -> timedelta | None:
    """The longest span between two runs; None when there are no two within eight years.

    A night in which clocks change counts: `0 3 * * *` in Europe/Berlin is 25 hours apart once a year, and `0 2 * * *`
    is left out once. Raises: ScheduleInvalid, TimeZoneUnknown.
    """
    parsed = parse(schedule)
    if isinstance(parsed, Every):
        return parsed.span
    minutes = [at.hour * 60 + at.minute for at in parsed.times()]
    within = max((later - earlier for earlier, later in pairwise(minutes)), default=0)
    days = _days_of_eight_years(parsed)
    if len(days) < 2:
        return None
    longest_days = max(later - earlier for earlier, later in pairwise(days))
    by_wall_clock = timedelta(minutes=max(within, longest_days * 1440 + minutes[0] - minutes[-1]))
    return max(by_wall_clock, _longest_at_a_change(parsed, days, zone(time_zone)))


_FIRST_OF_EIGHT_YEARS = date(2031, 1, 1)
"""Far enough away for the zone database to tell the rules that go on, and for no date of today to be needed."""


def _days_of_eight_years(cron: Cron) -> list[int]:
    """The days with runs, by number, in eight years with two leap days."""
    first = _FIRST_OF_EIGHT_YEARS.toordinal()
    return [number for number in range(first, first + 8 * 365 + 2) if cron.takes_place_on(date.fromordinal(number))]


def _longest_at_a_change(cron: Cron, days: Sequence[int], where: ZoneInfo) -> timedelta:
    """The longest real span between two runs around a change of clocks; zero where there is none."""
    longest = timedelta(0)
    for change in _changes_of_clocks(where):
        # the change is within a day of this one; whole days without a run may lie on both sides
        first, last = max(bisect_left(days, change - 1) - 1, 0), bisect_right(days, change + 1) + 1
        near = (datetime.combine(date.fromordinal(day), at) for day in days[first:last] for at in cron.times())
        moments = sorted(moment for wall_clock in near for moment in _moments(wall_clock, where))
        longest = max(longest, *(later - earlier for earlier, later in pairwise(moments)), timedelta(0))
    return longest


def _changes_of_clocks(where: ZoneInfo) -> list[int]:
    """The days, by number, in the second of the eight years on which the zone's distance from UTC changes."""
    start = datetime(_FIRST_OF_EIGHT_YEARS.year + 1, 1, 1, tzinfo=UTC)
    midnights = [start + number * _ONE_DAY for number in range(367)]
    offsets = [midnight.astimezone(where).utcoffset() for midnight in midnights]
    return [
        day.toordinal() for day, (before, after) in zip(midnights, pairwise(offsets), strict=False) if before != after
    ]

"""Room `rules`: which runs of a store are kept, which go, and why; pure. Called by `worker.prune` and its by-hand verb.

A run is kept if any stated rule keeps it. Its time is the start that its entry tells; days, ISO weeks, months and years
are those of the policy's zone. A rule with a count keeps the newest run of each of its newest days (weeks, …) *that
have one*, so that no rule but `maxAge` removes anything because time has passed.

Whatever the rules say, these stay:
- the newest `minimum` verified runs, and as many of those that nobody has to doubt (the floor);
- a run that begins in the future: a clock was wrong. Until its time comes it counts for no rule and not for the floor;
- a run that is held by the caller, with the caller's reason;
- a run that only a leap of the clock makes too old: age is believed no further than a quarter of `maxAge` beyond the
  newest run that is well before the newest of all, so that two runs have to agree on the date, and not two at once;
- a run that was never verified, until a verified one is newer. It counts for no rule.

A plan does not depend on the runs' order, deletes nothing that a later plan would keep, and finds nothing more to do
when it has been carried out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType

BELIEVED_SHARE_OF_MAX_AGE = 4
"""A fourth: with fewer runs than that within `maxAge` it keeps one more, and the floor of three is larger anyway."""

VOUCHED_SHARE_OF_MAX_AGE = 32
"""Runs so much of `maxAge` apart vouch for a date: 22.5 h of 30 d, so that nightly ones do, and one and its repeat on
the same wrong clock do not. The runs' own pace is no measure: it changes as runs go, and so would the plans."""


class Rule(StrEnum):
    """What can keep a run, in the words of a status line."""

    MAX_AGE = "maxAge"
    LAST = "last"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    MINIMUM = "minimum"
    FUTURE = "future"
    HELD = "held"
    UNVERIFIED = "unverified"
    NONE_STATED = "no rule"


@dataclass(frozen=True)
class StoredRun:
    """A run of the store, as far as retention looks at it."""

    name: str
    started_at: datetime
    """Aware."""
    verified: bool = True
    doubted: bool = False
    """It was out of line with the runs before it, and nobody has accepted that."""


@dataclass(frozen=True)
class RetentionRules:
    """The stated rules: None and 0 mean not stated. With none of them stated everything is kept."""

    max_age: timedelta | None = None
    keep_last: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    minimum: int = 3
    """At least 1."""
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        counts = (self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        if self.minimum < 1 or min(counts) < 0:
            raise ValueError("retention keeps at least one run, and counts are not negative")
        if self.max_age is not None and self.max_age <= timedelta():
            raise ValueError("maxAge is longer than nothing")


@dataclass(frozen=True)
class Verdict:
    """Whether a run stays."""

    run: StoredRun
    kept_by: tuple[Rule, ...]
    """Every stated rule that keeps it; the floor only where no other does. Empty: it goes."""
    why: str
    """In words: what keeps it, or why each rule does not."""

    @property
    def is_kept(self) -> bool:
        """Whether it stays."""
        return bool(self.kept_by)


@dataclass(frozen=True)
class RetentionPlan:
    """A verdict on every run, newest first."""

    rules: RetentionRules
    now: datetime
    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> tuple[StoredRun, ...]:
        """The runs that stay, newest first."""
        return tuple(verdict.run for verdict in self.verdicts if verdict.is_kept)

    @property
    def going(self) -> tuple[Verdict, ...]:
        """The runs that go, oldest first: the order to delete them in."""
        return tuple(verdict for verdict in reversed(self.verdicts) if not verdict.is_kept)

    @property
    def held_back_by_the_floor(self) -> tuple[StoredRun, ...]:
        """The runs that only `minimum` keeps, newest first."""
        return self.kept_by(Rule.MINIMUM)

    def kept_by(self, rule: Rule) -> tuple[StoredRun, ...]:
        """The runs that this rule keeps, newest first."""
        return tuple(verdict.run for verdict in self.verdicts if rule in verdict.kept_by)


@dataclass(frozen=True)
class _Ground:
    """One stated rule, applied: what it keeps with a word to each, and why it does not keep another run."""

    rule: Rule
    kept: Mapping[str, str]
    refusal: Callable[[StoredRun], str]


def plan_retention(
    runs: Iterable[StoredRun], rules: RetentionRules, now: datetime, held: Mapping[str, str] = MappingProxyType({})
) -> RetentionPlan:
    """A verdict on each run; `held` says by name which must stay, and why. Names are unique."""
    known = sorted(runs, key=_age_order, reverse=True)
    counted = [run for run in known if run.verified and run.started_at <= now]
    grounds = _grounds(counted, rules, now)
    floor = _floor(counted, rules.minimum)

    def judge(run: StoredRun) -> Verdict:
        if run.started_at > now:
            return Verdict(run, (Rule.FUTURE,), "it begins in the future: a clock was wrong, and no rule counts it")
        holding = {Rule.HELD: held[run.name]} if run.name in held else {}
        if not run.verified:
            return _on_unverified(run, counted, holding)
        return _by_rules(run, grounds, holding, {Rule.MINIMUM: floor[run.name]} if run.name in floor else {})

    return RetentionPlan(rules, now, tuple(judge(run) for run in known))


def stated_rules(rules: RetentionRules) -> tuple[tuple[Rule, str], ...]:
    """The rules that may keep a run, with their figure: `maxAge 30d`, `daily 7`."""
    counts = {
        Rule.LAST: rules.keep_last,
        Rule.DAILY: rules.keep_daily,
        Rule.WEEKLY: rules.keep_weekly,
        Rule.MONTHLY: rules.keep_monthly,
        Rule.YEARLY: rules.keep_yearly,
    }
    aged = [(Rule.MAX_AGE, f"{Rule.MAX_AGE} {span_in_short(rules.max_age)}")] if rules.max_age else []
    return (*aged, *((rule, f"{rule} {count}") for rule, count in counts.items() if count))


def span_in_short(span: timedelta) -> str:
    """A span in whole seconds as a policy writes it: `30d`, `25h`, `1h30m`."""
    if not span % timedelta(days=1):
        return f"{span.days}d"
    seconds = int(span.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _floor(counted: Sequence[StoredRun], minimum: int) -> dict[str, str]:
    """The runs that stay against all other rules, each with the words."""
    says = f"only by minimum {minimum}: it is one of the newest {minimum} verified"
    sound = [run for run in counted if not run.doubted]
    return {
        **{run.name: f"{says} that are in line" for run in sound[:minimum]},
        **{run.name: says for run in counted[:minimum]},
    }


def _age_order(run: StoredRun) -> tuple[datetime, str]:
    return run.started_at, run.name


def _on_unverified(run: StoredRun, counted: Sequence[StoredRun], holding: Mapping[Rule, str]) -> Verdict:
    if holding:
        return _kept(run, holding)
    if counted and _age_order(counted[0]) > _age_order(run):
        return Verdict(run, (), "it was never verified, and a verified one is newer")
    return _kept(run, {Rule.UNVERIFIED: "it was never verified, but nothing verified is newer"})


def _by_rules(
    run: StoredRun, grounds: Sequence[_Ground], holding: Mapping[Rule, str], floor: Mapping[Rule, str]
) -> Verdict:
    if not grounds:
        return _kept(run, {Rule.NONE_STATED: "no rule is stated, so that nothing goes", **holding})
    keeping = {ground.rule: ground.kept[run.name] for ground in grounds if run.name in ground.kept}
    if keeping or holding or floor:
        return _kept(run, {**keeping, **holding} or floor)
    return Verdict(run, (), "; ".join(ground.refusal(run) for ground in grounds))


def _kept(run: StoredRun, keeping: Mapping[Rule, str]) -> Verdict:
    return Verdict(run, tuple(keeping), "; ".join(keeping.values()))


def _grounds(counted: Sequence[StoredRun], rules: RetentionRules, now: datetime) -> tuple[_Ground, ...]:
    """The stated rules, applied to the runs that count, newest first."""
    grounds = [_age_ground(counted, rules.max_age, now)] if rules.max_age else []
    if rules.keep_last:
        grounds.append(_last_ground(counted, rules.keep_last))
    counts = (rules.keep_daily, rules.keep_weekly, rules.keep_monthly, rules.keep_yearly)
    wanted = ((period, count) for period, count in zip(PERIODS, counts, strict=True) if count)
    return (*grounds, *(_calendar_ground(counted, period, count, rules.zone) for period, count in wanted))


def _age_ground(counted: Sequence[StoredRun], max_age: timedelta, now: datetime) -> _Ground:
    says = f"{Rule.MAX_AGE} {span_in_short(max_age)}"
    disbelieved = _disbelieved(counted, max_age, now)
    kept: dict[str, str] = {}
    for run in counted:
        age = now - run.started_at
        if age < max_age:
            kept[run.name] = says
        elif age - disbelieved < max_age:
            kept[run.name] = f"{says} once another good run agrees on the date: the clock may have leapt"
    return _Ground(Rule.MAX_AGE, kept, lambda _run: f"older than {says}")


def _disbelieved(counted: Sequence[StoredRun], max_age: timedelta, now: datetime) -> timedelta:
    """The part of an age that only the newest run, those made beside it, or nothing but the clock vouches for."""
    if len(counted) < 2:
        return timedelta()
    latest = counted[0].started_at - max_age / VOUCHED_SHARE_OF_MAX_AGE
    vouching = next((run for run in counted if run.started_at <= latest), counted[-1])
    return max(timedelta(), now - vouching.started_at - max_age / BELIEVED_SHARE_OF_MAX_AGE)


def _last_ground(counted: Sequence[StoredRun], count: int) -> _Ground:
    kept = {run.name: f"{Rule.LAST} {count}" for run in counted[:count]}
    return _Ground(Rule.LAST, kept, lambda _run: f"not among the {Rule.LAST} {count}")


@dataclass(frozen=True)
class Period:
    """A part of the calendar."""

    rule: Rule
    noun: str
    of: Callable[[date], str]
    """Its name, which sorts as time goes."""


def _iso_week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year:04}-W{week:02}"


PERIODS = (
    Period(Rule.DAILY, "day", date.isoformat),
    Period(Rule.WEEKLY, "week", _iso_week),
    Period(Rule.MONTHLY, "month", lambda day: day.isoformat()[:7]),
    Period(Rule.YEARLY, "year", lambda day: day.isoformat()[:4]),
)


def _calendar_ground(counted: Sequence[StoredRun], period: Period, count: int, zone: tzinfo) -> _Ground:
    newest_of: dict[str, StoredRun] = {}
    for run in counted:
        newest_of.setdefault(_part(run, period, zone), run)
    parts = sorted(newest_of, reverse=True)[:count]

    def refusal(run: StoredRun) -> str:
        part = _part(run, period, zone)
        if newest_of[part] != run:
            return f"not the newest of its {period.noun} {part}"
        return f"its {period.noun} {part} is not among the newest {count}"

    return _Ground(period.rule, {newest_of[part].name: f"{period.rule} {count} ({part})" for part in parts}, refusal)


def _part(run: StoredRun, period: Period, zone: tzinfo) -> str:
    return period.of(run.started_at.astimezone(zone).date())

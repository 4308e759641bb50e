"""Room `rules`: what a retention plan comes to, a line for each rule, and which run goes next; pure.

Called by `worker.prune`. The outlook takes it that good runs go on at their usual pace. It plans for a day to
come with those runs added; as no plan keeps what an earlier one let go, the first day on which a run is gone is found
by halving.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from backup_operator.rules.retention import (
    RetentionPlan,
    Rule,
    StoredRun,
    plan_retention,
    stated_rules,
)

LONGEST_OUTLOOK_RUNS = 1024
"""Nearly three years of daily runs; what goes later than that is not foretold."""
_SHORTEST_PACE = timedelta(minutes=1)
_USUAL_PACE = timedelta(days=1)
_PACES_LOOKED_AT = 10
_LONGEST_PACE = timedelta(days=366)
"""A clock that leapt is no pace, and a thousand of its leaps would be after the year 9999."""


@dataclass(frozen=True)
class Departure:
    """A run that will go, and the start of the run after which it does."""

    run: str
    at: datetime


def usual_pace(starts: Sequence[datetime]) -> timedelta:
    """From one run to the next, as most of the newest few did; starts are newest first. A day where nothing tells.

    A run by hand, or a night without a good one, changes nothing.
    """
    newest = starts[:_PACES_LOOKED_AT]
    paces = sorted(later - earlier for later, earlier in pairwise(newest))
    pace = paces[len(paces) // 2] if paces else _USUAL_PACE
    return min(max(pace, _SHORTEST_PACE), _LONGEST_PACE)


class Outlook:
    """A plan, and what comes of it. Asking costs a few plans of up to a thousand runs each, made once."""

    def __init__(self, plan: RetentionPlan) -> None:
        self._plan = plan
        self._kept = plan.kept
        starts = [
            each.run.started_at for each in plan.verdicts if each.run.verified and each.run.started_at <= plan.now
        ]
        self._pace = usual_pace(starts)
        self._first = max([plan.now, *(start + self._pace for start in starts[:1])])
        self._gone_after: dict[int, frozenset[str]] = {}

    def next_to_go(self) -> Departure | None:
        """The run that goes next; None where nothing goes within sight."""
        return self._first_to_go(self._kept)

    def lines(self) -> tuple[str, ...]:
        """One for each stated rule, then floor and rest: `daily 7: kept 5, next to go backup_… on 2026-12-01`."""
        plan = self._plan
        lines = [self._line(says, plan.kept_by(rule)) for rule, says in stated_rules(plan.rules)]
        if lines:
            floor = f"{Rule.MINIMUM} {plan.rules.minimum}, against all other rules"
            lines.append(self._line(floor, plan.held_back_by_the_floor))
        others = ((says, len(plan.kept_by(rule))) for rule, says in _OTHERS.items())
        return (*lines, *(says.format(count) for says, count in others if count))

    def _line(self, says: str, runs: tuple[StoredRun, ...]) -> str:
        departure = self._first_to_go(runs)
        if departure is None:
            return f"{says}: kept {len(runs)}"
        day = departure.at.astimezone(self._plan.rules.zone).date().isoformat()
        return f"{says}: kept {len(runs)}, next to go {departure.run} on {day}"

    def _first_to_go(self, runs: Iterable[StoredRun]) -> Departure | None:
        """The oldest of the first of these runs to go."""
        ours = sorted((run.started_at, run.name) for run in runs)
        names = frozenset(name for _, name in ours)
        if not names & self._gone(LONGEST_OUTLOOK_RUNS):
            return None
        too_few, enough = 0, LONGEST_OUTLOOK_RUNS
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if names & self._gone(middle) else (middle, enough)
        return next(Departure(name, self._start(enough)) for _, name in ours if name in self._gone(enough))

    def _gone(self, runs_to_come: int) -> frozenset[str]:
        """Which of today's runs are gone after so many more."""
        if runs_to_come not in self._gone_after:
            to_come = [StoredRun(f"to come {number}", self._start(number)) for number in range(1, runs_to_come + 1)]
            plan = plan_retention([*self._kept, *to_come], self._plan.rules, self._start(runs_to_come))
            self._gone_after[runs_to_come] = frozenset(verdict.run.name for verdict in plan.going)
        return self._gone_after[runs_to_come]

    def _start(self, number: int) -> datetime:
        """When the first run to come begins, the second, and so on."""
        return self._first + (number - 1) * self._pace


_OTHERS = {
    Rule.NONE_STATED: "no rule is stated: kept {}",
    Rule.FUTURE: "future: kept {}, begun by a clock that was ahead",
    Rule.UNVERIFIED: "unverified: kept {}, with nothing newer that is verified",
}

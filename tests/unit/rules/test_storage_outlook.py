"""When a volume will be full: a table, and what holds for every store and every rule."""

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backup_operator.rules.retention import RetentionRules, StoredRun, plan_retention
from backup_operator.rules.retention_outlook import usual_pace
from backup_operator.rules.storage_outlook import FARTHEST_OUTLOOK, Room, SizedRun, full_at, usual_size

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP_ALL = RetentionRules()


def nightly(*sizes: int, pace: timedelta = DAY) -> list[SizedRun]:
    """Runs up to NIGHT, oldest first."""
    return [SizedRun(NIGHT - (len(sizes) - 1 - at) * pace, size) for at, size in enumerate(sizes)]


def stated(**rules) -> RetentionRules:
    return RetentionRules(**({"minimum": 1} | rules))


@pytest.mark.parametrize(
    ("says", "runs", "room", "rules", "days"),
    [
        ("an empty store tells no pace", [], Room(0, 100), KEEP_ALL, None),
        ("ten more of the same fit, the eleventh does not", nightly(10, 10), Room(900, 1000), KEEP_ALL, 11),
        ("what others left is in the way", nightly(10, 10), Room(995, 1000), KEEP_ALL, 1),
        ("it is full now", nightly(10, 10), Room(1000, 1000), KEEP_ALL, 0),
        ("one run alone is taken for a daily one", nightly(10), Room(10, 30), KEEP_ALL, 3),
        ("growth counts: 40, 50, 60 do not all fit", nightly(10, 20, 30), Room(60, 160), KEEP_ALL, 3),
        ("sizes that fall are taken to stay", nightly(30, 20, 10), Room(60, 120), KEEP_ALL, 4),
        ("one empty run is no trend", nightly(10, 10, 10, 0), Room(30, 60), KEEP_ALL, 4),
        ("with as many as it keeps it never fills", nightly(10, 10), Room(20, 30), stated(keep_last=2), None),
        ("but the next run must fit before one goes", nightly(10, 10), Room(20, 29), stated(keep_last=2), 1),
        ("until the rule is full it grows", nightly(10, 10), Room(20, 50), stated(keep_last=7), 4),
        ("by age", nightly(10, 10), Room(20, 100), stated(max_age=7 * DAY), None),
        ("by age, too long", nightly(10, 10), Room(20, 79), stated(max_age=7 * DAY), 6),
        ("the floor counts", nightly(10, 10), Room(20, 45), stated(keep_last=1, minimum=4), 3),
        ("one of each month, until July is begun", nightly(10, 10), Room(20, 90), stated(keep_monthly=12), 221),
        ("a year is the farthest it looks", nightly(1, 1), Room(2, 2 + 367), KEEP_ALL, None),
        ("and a year it does look", nightly(1, 1), Room(2, 2 + 365), KEEP_ALL, 366),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_day_on_which_a_run_no_longer_fits(says, runs, room, rules, days):
    assert full_at(runs, room, rules, NIGHT) == (None if days is None else NIGHT + days * DAY)


def test_without_retention_nothing_goes():
    assert full_at(nightly(10, 10), Room(20, 50), None, NIGHT) == NIGHT + 4 * DAY


@pytest.mark.parametrize(
    ("says", "others", "days"),
    [
        ("nobody looked", [None] * 4, None),
        ("they stay as they are", [500] * 4, None),
        ("they grow by 50 a day, and 110 are free", [350, 400, 450, 500], 3),
        ("what grew once only", [450, 450, 450, 450, 450, 500], None),
        ("they fall", [500, 400, 300, 200], None),
        ("two looks are no trend", [None, None, 450, 500], None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_others_write_counts(says, others, days):
    runs = [replace(run, others_bytes=seen) for run, seen in zip(nightly(*[10] * len(others)), others, strict=True)]

    told = full_at(runs, Room(890, 1000), stated(keep_last=2), NIGHT)

    assert told == (None if days is None else NIGHT + days * DAY)


def test_what_others_write_within_hours_is_no_trend():
    runs = [replace(run, others_bytes=100 * at) for at, run in enumerate(nightly(*[10] * 9, pace=DAY / 8))]

    assert full_at(runs, Room(890, 1000), stated(keep_last=2), NIGHT) is None


def test_what_stays_whatever_the_rules_say_makes_no_room():
    last = RetentionRules(keep_last=3, minimum=1)
    runs = nightly(10, 10, 10)
    blocked = [SizedRun(run.started_at, run.size_bytes, stays=True) for run in runs[:2]] + runs[2:]

    assert full_at(runs, Room(30, 45), last, NIGHT) is None
    assert full_at(blocked, Room(30, 45), last, NIGHT) == NIGHT + 2 * DAY


def test_the_next_run_is_never_before_now():
    late = NIGHT + 5 * DAY + timedelta(hours=3)

    assert full_at(nightly(10, 10), Room(20, 25), KEEP_ALL, late) == late


def test_runs_of_the_future_tell_no_pace():
    future = SizedRun(NIGHT + 900 * DAY, 10)

    assert full_at([*nightly(10, 10), future], Room(30, 45), KEEP_ALL, NIGHT) == NIGHT + 2 * DAY


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([10], (10, 0)),
        ([10, 20, 30], (40, 10)),
        ([10, 20, 3000, 40, 50, 60], (70, 10)),
        ([50] * 100, (50, 0)),
        ([1000] * 100 + list(range(30)), (30, 1)),
    ],
    ids=["one", "growing", "one far off", "equal", "the last month alone"],
)
def test_the_usual_size(sizes, expected):
    assert usual_size(sizes) == pytest.approx(expected)


def test_with_a_run_every_fifteen_minutes_it_looks_six_weeks_ahead_in_a_moment_and_a_few_mib():
    pace = timedelta(minutes=15)
    runs = nightly(*[10] * 2880, pace=pace)
    rules = RetentionRules(max_age=60 * DAY, keep_daily=60, keep_monthly=12, zone=ZoneInfo("Europe/Berlin"))
    used = 10 * len(runs)
    began = time.process_time()
    tracemalloc.start()

    told = full_at(runs, Room(used, 10**9), rules, NIGHT)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told is None
    assert time.process_time() - began < 5
    assert peak_bytes < 5 << 20
    assert full_at(runs, Room(used, used + 10 * 2700), rules, NIGHT) == NIGHT + 2701 * pace
    assert full_at(runs, Room(used, used + 10 * 4095), None, NIGHT) == NIGHT + 4096 * pace
    assert full_at(runs, Room(used, used + 10 * 4096), None, NIGHT) is None


# what always holds

counts = st.sampled_from([0, 0, 1, 2, 3, 7])
all_rules = st.builds(
    RetentionRules,
    max_age=st.one_of(st.none(), st.sampled_from([timedelta(hours=25), 7 * DAY])),
    keep_last=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    minimum=st.integers(1, 4),
    zone=st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Kiritimati")]),
)


def by_planning(runs: Sequence[SizedRun], room: Room, rules: RetentionRules, count: int) -> datetime | None:
    """The same, with a whole plan after each run to come; of the first `count` runs."""
    starts = [run.started_at for run in reversed(runs)]
    start, growth = usual_size([run.size_bytes for run in runs])
    stored = {StoredRun(str(at), run.started_at): run.size_bytes for at, run in enumerate(runs)}
    used = room.used_bytes
    for number in range(count):
        at = max(NIGHT, starts[0] + usual_pace(starts)) + number * usual_pace(starts)
        if at > NIGHT + FARTHEST_OUTLOOK:
            return None
        size = int(start + number * growth)
        used += size
        if used > room.capacity_bytes:
            return at
        stored[StoredRun(f"new {number}", at)] = size
        plan = plan_retention(stored, rules, at)
        used -= sum(stored.pop(verdict.run) for verdict in plan.going)
    return None


@settings(deadline=None, max_examples=60)
@example(sizes={0: 1, 628: 0}, rules=RetentionRules(keep_monthly=1, minimum=1), free=26)
@given(
    st.dictionaries(st.integers(0, 24 * 40), st.integers(0, 50), min_size=1, max_size=15),
    all_rules,
    st.integers(1, 300),
)
def test_it_says_what_a_plan_after_every_run_would_come_to(sizes, rules, free):
    runs = [SizedRun(NIGHT - timedelta(hours=hours), sizes[hours]) for hours in sorted(sizes, reverse=True)]
    used = sum(sizes.values())

    expected = by_planning(runs, Room(used, used + free), rules, 40)

    told = full_at(runs, Room(used, used + free), rules, NIGHT)
    if expected is not None:
        assert told == expected
    else:
        starts = [run.started_at for run in reversed(runs)]
        assert told is None or told > max(NIGHT, starts[0]) + 39 * usual_pace(starts)

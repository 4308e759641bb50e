"""What retention keeps and why: a table, and what holds for every store, every rule and every clock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.rules.retention import RetentionRules, Rule, StoredRun, plan_retention, span_in_short
from backup_operator.rules.retention_outlook import Departure, Outlook, usual_pace
from tests.support.retention_cases import CASES, Case, held_of, rules_of, runs_of, time_of

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LEAPT = "once another good run agrees on the date: the clock may have leapt"
NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def named(runs) -> set[str]:
    return {run.name for run in runs}


def reasons(rules: str, runs: str, now: str = "11-23T02:05") -> dict[str, str]:
    plan = plan_retention(runs_of(runs), rules_of(rules), time_of(now), held_of(runs))
    return {verdict.run.name[len("backup_") :]: verdict.why for verdict in plan.verdicts}


# the table


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_the_table(case: Case):
    plan = plan_retention(runs_of(case.runs), rules_of(case.rules), time_of(case.now), held_of(case.runs))

    assert named(plan.kept) == named(runs_of(case.kept))
    assert named(plan.kept) | {verdict.run.name for verdict in plan.going} == named(runs_of(case.runs))


def test_the_table_has_no_case_twice_and_at_least_sixty():
    assert len({case.says for case in CASES}) == len(CASES) >= 60


# the words


def test_every_verdict_says_which_rules_keep_the_run_or_why_none_does():
    assert reasons("age=30d last=1 daily=2 monthly=2 min=1", "09-30 10-01T01 10-01 10-31 11-22 11-23") == {
        "20261123_020000": "maxAge 30d; last 1; daily 2 (2026-11-23); monthly 2 (2026-11)",
        "20261122_020000": "maxAge 30d; daily 2 (2026-11-22)",
        "20261031_020000": "maxAge 30d; monthly 2 (2026-10)",
        "20261001_020000": "older than maxAge 30d; not among the last 1; its day 2026-10-01 is not among the newest 2; "
        "not the newest of its month 2026-10",
        "20261001_010000": "older than maxAge 30d; not among the last 1; not the newest of its day 2026-10-01; "
        "not the newest of its month 2026-10",
        "20260930_020000": "older than maxAge 30d; not among the last 1; its day 2026-09-30 is not among the newest 2; "
        "its month 2026-09 is not among the newest 2",
    }


@pytest.mark.parametrize(
    ("rules", "runs", "why"),
    [
        ("last=1", "11-21 11-22 11-23", "only by minimum 3: it is one of the newest 3 verified"),
        ("last=1", "11-21? 11-22 11-23", "it was never verified, and a verified one is newer"),
        ("last=1", "11-21?", "it was never verified, but nothing verified is newer"),
        ("last=1 min=1", "=11-21 11-22 11-23", "a test holds it"),
        ("last=3 min=1", "=11-21 11-22 11-23", "last 3; a test holds it"),
        ("min=1", "11-21 11-22 11-23", "no rule is stated, so that nothing goes"),
        ("age=1d min=1", "11-21T22 11-22T18 11-23", "older than maxAge 1d"),
        ("age=30d min=1", "10-20 10-30 11-23", f"maxAge 30d {LEAPT}"),
    ],
    ids=["floor", "unverified", "only unverified", "held", "held and kept", "no rule", "too old", "leapt"],
)
def test_the_reason_of_the_oldest(rules, runs, why):
    assert list(reasons(rules, runs).values())[-1] == why


def test_a_run_of_the_future_says_so():
    why = reasons("last=1 min=1", "11-23 2031-01-01")["20310101_020000"]

    assert why == "it begins in the future: a clock was wrong, and no rule counts it"


def test_runs_go_oldest_first():
    plan = plan_retention(runs_of("11-20..11-23"), rules_of("last=1 min=1"), NIGHT)

    assert [verdict.run.name for verdict in plan.going] == [run.name for run in runs_of("11-20..11-22")]


def test_the_floor_is_named_only_where_it_held_something_back():
    plan = plan_retention(runs_of("11-20..11-23"), rules_of("last=2 min=3"), NIGHT)

    assert plan.held_back_by_the_floor == runs_of("11-21")
    assert Rule.MINIMUM not in plan.verdicts[0].kept_by


def test_runs_that_are_doubted_are_no_floor_for_the_others():
    runs = [replace(run, doubted=number in {1, 2}) for number, run in enumerate(reversed(runs_of("11-18..11-23")))]

    plan = plan_retention(runs, rules_of("last=1 min=2"), NIGHT)

    assert [verdict.why for verdict in plan.verdicts] == [
        "last 1",
        "only by minimum 2: it is one of the newest 2 verified",
        "not among the last 1",
        "only by minimum 2: it is one of the newest 2 verified that are in line",
        *["not among the last 1"] * 2,
    ]


@pytest.mark.parametrize(
    "wrong", [{"minimum": 0}, {"keep_last": -1}, {"keep_yearly": -1}, {"max_age": timedelta()}], ids=str
)
def test_rules_that_would_keep_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r"keeps at least one|maxAge"):
        RetentionRules(**wrong)


@pytest.mark.parametrize(
    ("span", "short"),
    [
        (30 * DAY, "30d"),
        (timedelta(hours=25), "25h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(seconds=61), "1m1s"),
    ],
    ids=str,
)
def test_spans_are_written_as_in_a_policy(span, short):
    assert span_in_short(span) == short


# the outlook


def test_each_rule_has_a_line_with_what_it_keeps_and_what_goes_next():
    plan = plan_retention(
        runs_of("10-25..11-23 2031-01-01"), rules_of("age=30d last=5 daily=7 weekly=4 monthly=12 min=40"), NIGHT
    )

    assert Outlook(plan).lines() == (
        "maxAge 30d: kept 30, next to go backup_20261025_020000 on 2026-12-04",
        "last 5: kept 5, next to go backup_20261119_020000 on 2026-12-29",
        "daily 7: kept 7, next to go backup_20261117_020000 on 2026-12-27",
        "weekly 4: kept 4, next to go backup_20261108_020000 on 2026-12-18",
        "monthly 12: kept 2, next to go backup_20261123_020000 on 2027-01-02",
        "minimum 40, against all other rules: kept 0",
        "future: kept 1, begun by a clock that was ahead",
    )


def test_without_a_rule_the_only_line_says_that_all_is_kept():
    plan = plan_retention(runs_of("11-20..11-23"), rules_of("min=3"), NIGHT)

    assert Outlook(plan).lines() == ("no rule is stated: kept 4",)
    assert Outlook(plan).next_to_go() is None


@pytest.mark.parametrize(
    ("rules", "runs", "departure"),
    [
        ("last=3 min=1", "11-21..11-23", ("backup_20261121_020000", "11-24")),
        ("last=5 min=1", "11-21..11-23", ("backup_20261121_020000", "11-26")),
        ("last=2 min=1", "11-23T00 11-23T01 11-23T02", ("backup_20261123_010000", "11-23T03")),
        ("age=30d min=1", "11-20..11-23", ("backup_20261120_020000", "12-20")),
        ("monthly=2 min=1", "10-30 10-31 11-22 11-23", ("backup_20261123_020000", "11-24")),
        ("last=1 min=1", "11-23", ("backup_20261123_020000", "11-24")),
        ("last=2000 min=1", "11-22 11-23", None),
    ],
    ids=["full", "not yet full", "hourly", "by age", "another of this month", "a single run", "out of sight"],
)
def test_what_goes_next_and_when(rules, runs, departure):
    plan = plan_retention(runs_of(runs), rules_of(rules), NIGHT)

    assert Outlook(plan).next_to_go() == (departure and Departure(departure[0], time_of(departure[1])))


def test_a_clock_that_leapt_by_two_thousand_years_is_no_pace():
    plan = plan_retention(runs_of("11-22 11-23 4026-11-23"), rules_of("last=4 min=1"), time_of("4026-11-23"))

    assert Outlook(plan).next_to_go() == Departure("backup_20261122_020000", time_of("4028-11-24"))


@pytest.mark.parametrize(
    ("starts", "pace"),
    [
        ("", DAY),
        ("11-23", DAY),
        ("11-22 11-23", DAY),
        ("11-23T00 11-23T06 11-23T12", timedelta(hours=6)),
        ("11-20..11-22 11-23 11-23T02:05", DAY),
        ("10-01 11-21..11-23", DAY),
        ("11-23T02:00 11-23T02:00", timedelta(minutes=1)),
    ],
    ids=["none", "one", "two", "every six hours", "one by hand", "nights without", "of one second"],
)
def test_the_usual_pace_is_that_of_most_runs(starts, pace):
    assert usual_pace([run.started_at for run in reversed(runs_of(starts))]) == pace


# what always holds

zones = st.sampled_from(["Etc/UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns", "Australia/Lord_Howe"])
counts = st.sampled_from([0, 0, 1, 2, 3, 7])
times = st.one_of(
    st.integers(0, 60 * 24 * 100).map(lambda minutes: BEGIN + timedelta(minutes=minutes)),
    st.integers(0, 24 * 900).map(lambda hours: BEGIN + timedelta(hours=hours)),
)
all_rules = st.builds(
    RetentionRules,
    max_age=st.one_of(st.none(), st.sampled_from([timedelta(hours=25), 7 * DAY, 30 * DAY])),
    keep_last=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
    minimum=st.integers(1, 4),
    zone=zones.map(ZoneInfo),
)


def as_run(at: datetime, *, verified: bool = True, doubted: bool = False) -> StoredRun:
    return StoredRun(f"backup_{at:%Y%m%d_%H%M%S}", at, verified, doubted)


stores = st.dictionaries(times, st.sampled_from(["good", "good", "doubted", "unverified"]), max_size=40).map(
    lambda found: [as_run(at, verified=so != "unverified", doubted=so == "doubted") for at, so in found.items()]
)


@settings(deadline=None)
@given(stores, all_rules, times)
def test_never_below_the_floor(runs, rules, now):
    verified = sorted((run.started_at for run in runs if run.verified and run.started_at <= now), reverse=True)

    kept = plan_retention(runs, rules, now).kept

    assert set(verified[: rules.minimum]) <= {run.started_at for run in kept}
    doubted = {run.started_at for run in runs if run.doubted}
    sound = [start for start in verified if start not in doubted]
    assert set(sound[: rules.minimum]) <= {run.started_at for run in kept}


@settings(deadline=None)
@given(stores, all_rules, times)
def test_a_plan_that_was_carried_out_finds_nothing_more_to_do(runs, rules, now):
    kept = plan_retention(runs, rules, now).kept

    again = plan_retention(kept, rules, now)

    assert again.kept == kept


@settings(deadline=None)
@given(stores, all_rules, times, st.randoms(use_true_random=False))
def test_the_order_of_the_runs_does_not_matter(runs, rules, now, random):
    shuffled = list(runs)
    random.shuffle(shuffled)

    assert plan_retention(shuffled, rules, now) == plan_retention(runs, rules, now)


@settings(deadline=None)
@given(stores, all_rules, times, times)
def test_a_later_plan_keeps_nothing_that_an_earlier_one_let_go(runs, rules, one, other):
    earlier, later = sorted((one, other))
    known = [run for run in runs if run.started_at <= earlier]

    gone = {verdict.run for verdict in plan_retention(known, rules, earlier).going}

    assert not gone & set(plan_retention(runs, rules, later).kept)


@settings(deadline=None)
@given(stores, all_rules, times)
def test_plans_a_day_apart_agree(runs, rules, begin):
    """Whether retention ran every day or only on the last one, the same runs are left."""
    left: tuple[StoredRun, ...] = ()
    for number in range(8):
        now = begin + number * DAY
        made = [run for run in runs if number == 0 or now - DAY < run.started_at]
        seen = {run.name: run for run in (*left, *made) if run.started_at <= now}
        left = plan_retention(seen.values(), rules, now).kept

    everything = [run for run in runs if run.started_at <= begin + 7 * DAY]
    assert set(left) == set(plan_retention(everything, rules, begin + 7 * DAY).kept)


@settings(deadline=None)
@given(stores, all_rules, times)
def test_runs_of_the_future_change_nothing_for_the_others(runs, rules, now):
    past = [run for run in runs if run.started_at <= now]

    with_future = {verdict.run: verdict for verdict in plan_retention(runs, rules, now).verdicts}

    assert all(with_future[verdict.run] == verdict for verdict in plan_retention(past, rules, now).verdicts)
    assert all(with_future[run].is_kept for run in runs if run not in past)


@settings(deadline=None)
@given(stores, all_rules, times)
def test_unverified_runs_change_nothing_for_the_others(runs, rules, now):
    verified = [run for run in runs if run.verified]

    with_all = {verdict.run: verdict for verdict in plan_retention(runs, rules, now).verdicts}

    assert all(with_all[verdict.run] == verdict for verdict in plan_retention(verified, rules, now).verdicts)


@settings(deadline=None)
@given(stores, all_rules, times, st.data())
def test_what_is_held_stays_and_changes_nothing_for_the_others(runs, rules, now, data):
    held = {run.name: "held" for run in runs if data.draw(st.booleans())}

    free = {verdict.run: verdict for verdict in plan_retention(runs, rules, now).verdicts}

    for verdict in plan_retention(runs, rules, now, held).verdicts:
        assert verdict.is_kept if verdict.run.name in held else verdict == free[verdict.run]


_CALENDAR: tuple[tuple[str, Callable[[datetime], object]], ...] = (
    ("keep_daily", lambda local: local.date()),
    ("keep_weekly", lambda local: local.isocalendar()[:2]),
    ("keep_monthly", lambda local: (local.year, local.month)),
    ("keep_yearly", lambda local: local.year),
)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=5, max_size=60), all_rules)
def test_the_newest_of_its_month_stays_as_long_as_the_rule_spans(gaps_in_hours, rules):
    """Runs at any pace, retention after each: what the calendar promises of all that ever was is there every day."""
    ever: list[StoredRun] = []
    left: tuple[StoredRun, ...] = ()
    now = BEGIN
    for gap in gaps_in_hours:
        now += timedelta(hours=gap)
        ever.append(as_run(now))
        left = plan_retention([*left, ever[-1]], rules, now).kept
        for name, part_of in _CALENDAR:
            newest = {part_of(run.started_at.astimezone(rules.zone)): run for run in ever}
            promised = list(newest.values())[::-1][: getattr(rules, name)]
            assert set(promised) <= set(left)


@settings(deadline=None, max_examples=40)
@given(stores, all_rules, times)
def test_the_outlook_names_what_goes_when_days_go_by(runs, rules, now):
    plan = plan_retention(runs, rules, now)
    departure = Outlook(plan).next_to_go()
    counted = sorted((run.started_at for run in runs if run.verified and run.started_at <= now), reverse=True)
    pace = usual_pace(counted)
    first = max([now, *(start + pace for start in counted[:1])])

    runs_to_come = [replace(as_run(first + number * pace), name=f"new {number}") for number in range(12)]
    for number, run in enumerate(runs_to_come):
        going = plan_retention([*plan.kept, *runs_to_come[: number + 1]], rules, run.started_at).going
        gone = [verdict.run.name for verdict in going if not verdict.run.name.startswith("new")]
        if gone:
            assert departure == Departure(gone[0], run.started_at)
            return
    assert departure is None or departure.at > runs_to_come[-1].started_at


def test_two_years_of_nights_leave_what_the_rules_say():
    rules = rules_of("daily=7 weekly=4 monthly=12 yearly=3 min=3 zone=Europe/Berlin")
    left: tuple[StoredRun, ...] = ()
    for number in range(730):
        now = NIGHT + number * DAY
        left = plan_retention([*left, as_run(now)], rules, now).kept

    assert now == time_of("2028-11-21")
    assert list(left) == sorted(
        runs_of(
            "2028-11-15..2028-11-21 2028-11-12 2028-11-05 2027-12-31 2028-01-31 2028-02-29 2028-03-31 2028-04-30 "
            "2028-05-31 2028-06-30 2028-07-31 2028-08-31 2028-09-30 2028-10-31 2026-12-31"
        ),
        key=lambda run: run.started_at,
        reverse=True,
    )

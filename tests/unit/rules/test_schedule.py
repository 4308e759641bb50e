"""Schedules, held against robfig/cron: `schedules.jsonl` is what that library made of them (see `robfig/main.go`)."""

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from backup_operator.api.backuppolicy import Schedule
from backup_operator.rules.schedule import ScheduleInvalid, TimeZoneUnknown, interval, next_run, parse, zone

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("schedules.jsonl").read_text().splitlines()
]
FOLLOWED = {key: list(rows) for key, rows in groupby(ROWS, key=lambda row: row["schedule"]) if key and rows}
REFUSED = [row["schedule"] for row in ROWS if row.get("refused")]
NOW = datetime(2026, 11, 23, 13, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def followed(schedule: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` runs."""
    found: list[datetime] = []
    while len(found) < count and (after_this := next_run(schedule, time_zone, after)):
        found.append(after := after_this)
    return found


@pytest.mark.parametrize("schedule", sorted(set(FOLLOWED) - set(REFUSED)))
def test_the_next_runs_are_those_of_kubernetes(schedule: str):
    wrong = [
        row
        for row in FOLLOWED[schedule]
        if followed(schedule, row["timeZone"], at(row["after"]), 3) != [at(moment) for moment in row["next"]]
    ]

    assert wrong == []


@pytest.mark.parametrize("schedule", REFUSED)
def test_what_kubernetes_refuses_is_refused(schedule: str):
    with pytest.raises(ScheduleInvalid, match="expected"):
        parse(schedule)


@pytest.mark.parametrize("schedule", sorted(set(FOLLOWED) - set(REFUSED)))
def test_what_kubernetes_reads_is_accepted_in_a_spec(schedule: str):
    assert TypeAdapter(Schedule).validate_python(schedule) == schedule


@pytest.mark.parametrize("schedule", [text for text in REFUSED if text not in ("0 0 * * FRI-MON", "5-1 * * * *")])
def test_what_kubernetes_refuses_is_refused_in_a_spec(schedule: str):
    with pytest.raises(ValidationError, match="expected five cron fields"):
        TypeAdapter(Schedule).validate_python(schedule)


def test_an_hour_that_the_clock_skips_has_no_run():
    found = followed("30 2 * * *", "Europe/Berlin", at("2026-03-28T12:00:00+01:00"), 2)

    assert found == [at("2026-03-30T02:30:00+02:00"), at("2026-03-31T02:30:00+02:00")]


def test_an_hour_that_the_clock_repeats_has_two_runs():
    found = followed("30 2 * * *", "Europe/Berlin", at("2026-10-24T12:00:00+02:00"), 3)

    assert found == [at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"), at("2026-10-26T01:30:00Z")]


def test_a_zone_that_changes_by_half_an_hour_skips_no_day():
    found = followed("0 0 * * *", "Australia/Lord_Howe", at("2026-04-04T12:00:00Z"), 3)

    assert found == [at("2026-04-04T13:00:00Z"), at("2026-04-05T13:30:00Z"), at("2026-04-06T13:30:00Z")]


def test_a_run_starts_after_now_and_never_at_it():
    assert next_run("30 13 * * *", "Etc/UTC", NOW) == NOW + timedelta(days=1)
    assert next_run("30 13 * * *", "Etc/UTC", NOW - timedelta(microseconds=1)) == NOW


def test_a_day_that_never_comes_has_no_next_run():
    assert next_run("0 0 31 2 *", "Etc/UTC", NOW) is None


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (NOW - timedelta(minutes=20), NOW + timedelta(minutes=40)),
        (NOW - timedelta(hours=5), NOW + timedelta(hours=1)),
        (NOW + timedelta(minutes=1), NOW + timedelta(minutes=61)),
        (None, NOW + timedelta(hours=1)),
    ],
    ids=["from the last run", "a missed one is not made up", "made this moment", "from now"],
)
def test_every_counts_from_the_last_run(since: datetime | None, expected: datetime):
    assert next_run("@every 1h", "Etc/UTC", NOW, since=since) == expected


def test_every_counts_in_whole_seconds():
    since = NOW - timedelta(minutes=59, seconds=59.5)

    assert next_run("@every 1h", "Etc/UTC", NOW - timedelta(seconds=1), since=since) == NOW


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", "", "/etc/localtime"])
def test_a_zone_that_is_not_in_the_database_is_refused(name: str):
    with pytest.raises(TimeZoneUnknown, match="expected a name of the IANA time zone database"):
        zone(name)


@pytest.mark.parametrize(
    ("schedule", "longest"),
    [
        ("0 2 * * *", timedelta(days=1)),
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 9-17/2 * * MON-FRI", timedelta(days=2, hours=16)),
        ("0 2,14 * * *", timedelta(hours=12)),
        ("0 2,5 * * *", timedelta(hours=21)),
        ("@hourly", timedelta(hours=1)),
        ("@weekly", timedelta(days=7)),
        ("@monthly", timedelta(days=31)),
        ("@yearly", timedelta(days=366)),
        ("0 0 29 2 *", timedelta(days=1461)),
        ("@every 90m", timedelta(minutes=90)),
        ("0 0 31 2 *", None),
    ],
)
def test_the_longest_span_between_two_runs(schedule: str, longest: timedelta | None):
    assert interval(schedule) == longest


@pytest.mark.parametrize(
    ("schedule", "time_zone", "longest"),
    [
        ("0 3 * * *", "Europe/Berlin", timedelta(hours=25)),
        ("0 2 * * *", "Europe/Berlin", timedelta(hours=47)),
        ("0 4 * * SUN", "Europe/Berlin", timedelta(days=7, hours=1)),
        ("0 12 * * SAT", "America/New_York", timedelta(days=7, hours=1)),
        ("0 5 1 * *", "Europe/Berlin", timedelta(days=31, hours=1)),
        ("0 0 * * *", "Australia/Lord_Howe", timedelta(hours=24, minutes=30)),
        ("*/15 * * * *", "Europe/Berlin", timedelta(minutes=15)),
        ("0 2,14 * * *", "Europe/Berlin", timedelta(hours=23)),
        ("0 3 * * *", "Asia/Kolkata", timedelta(days=1)),
        ("@every 24h", "Europe/Berlin", timedelta(days=1)),
    ],
)
def test_a_change_of_clocks_counts_in_the_longest_span(schedule: str, time_zone: str, longest: timedelta):
    assert interval(schedule, time_zone) == longest


@pytest.mark.parametrize("schedule", ["0 3 * * *", "30 2 * * *", "15 1-4 * * *", "0 9-17/2 * * MON-FRI"])
@pytest.mark.parametrize("time_zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"])
def test_no_two_runs_of_a_year_are_farther_apart_than_it_says(schedule: str, time_zone: str):
    runs = followed(schedule, time_zone, NOW, 1500)

    assert max(later - earlier for earlier, later in pairwise(runs)) == interval(schedule, time_zone)


def test_a_run_every_minute_is_judged_in_a_moment():
    began = time.process_time()

    assert interval("* * * * *", "Europe/Paris") == timedelta(minutes=1)

    assert time.process_time() - began < 3

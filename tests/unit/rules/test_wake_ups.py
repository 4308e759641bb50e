"""Nothing turns between two wake-ups: what is said at one moment is right until the next one that is named."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.rules.runs import JobSeen, JobState
from backup_operator.rules.status import Sight, next_status, wake_up_at
from tests.unit.rules.test_status import EMPTY, HOUR, NOW, SIGHT, bad_report, conditions, good_report, job

RPO = timedelta(hours=25)
AGES = st.integers(1, 60 * 60).map(lambda minutes: timedelta(minutes=minutes))


@st.composite
def sights(draw: st.DrawFn) -> Sight:
    """Runs that ended well or badly, and perhaps one that goes on."""
    ended = [
        job(f"j{age}", age, good_report(age) if draw(st.booleans()) else bad_report(age))
        for age in draw(st.lists(AGES, max_size=3, unique=True))
    ]
    active = [job("active", age, state=JobState.ACTIVE) for age in draw(st.lists(AGES, max_size=1))]
    next_run_at = NOW + draw(AGES)
    return replace(SIGHT, backups=(*ended, *active), schedule=replace(SIGHT.schedule, next_run_at=next_run_at))


@given(sights(), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_nothing_turns_before_the_wake_up_and_each_one_is_told_by_a_wake_up(sight: Sight, part: float):
    status = next_status(EMPTY, sight, NOW)
    moment = wake_up_at(status, RPO, NOW)
    assert moment is not None  # the next run is always to come

    between = NOW + (moment - NOW - timedelta(microseconds=1)) * part

    assert conditions(next_status(status, sight, between)) == conditions(status)


@given(sights())
@settings(max_examples=100, deadline=None)
def test_who_is_woken_says_what_who_looks_all_the_time_says(sight: Sight):
    woken, moment = next_status(EMPTY, sight, NOW), NOW
    hours = (NOW + HOUR * number for number in range(1, 80))
    for now in hours:
        while (at := wake_up_at(woken, RPO, moment)) is not None and at <= now:
            woken, moment = _later(woken, sight, at), at

        assert conditions(woken) == conditions(_later(EMPTY, sight, now))


def _later(status: BackupPolicyStatus, sight: Sight, now: datetime) -> BackupPolicyStatus:
    """The status then; the CronJob's next run is always in the future."""
    following = sight.schedule.next_run_at
    while following is not None and following <= now:
        following += 24 * HOUR
    return next_status(status, replace(sight, schedule=replace(sight.schedule, next_run_at=following)), now)


def test_forty_days_of_failing_runs_lose_nothing_that_was_good_and_turn_fresh_at_the_deadline():
    good = job("good", HOUR, good_report(HOUR))
    status = next_status(EMPTY, replace(SIGHT, backups=(good,)), NOW)
    first = status

    for day in range(1, 41):
        failed = _moved(job("bad", timedelta(), bad_report(timedelta())), timedelta(days=day))
        status = next_status(status, replace(SIGHT, backups=(failed,)), NOW + timedelta(days=day))

    assert (status.last_successful_backup, status.backups) == (first.last_successful_backup, first.backups)
    assert conditions(status)["Fresh"] == "ObjectiveExceeded"
    assert conditions(next_status(first, SIGHT, NOW + RPO - HOUR - timedelta(seconds=1)))["Fresh"] == "WithinObjective"
    assert conditions(next_status(first, SIGHT, NOW + RPO - HOUR))["Fresh"] == "ObjectiveExceeded"


def _moved(one: JobSeen, by: timedelta) -> JobSeen:
    """The Job so much later."""
    attempts = tuple(
        replace(each, report=each.report and each.report.model_copy(update={"completed_at": NOW + by}))
        for each in one.attempts
    )
    return replace(one, name=f"{one.name}-{by.days}", created_at=one.created_at + by, attempts=attempts)

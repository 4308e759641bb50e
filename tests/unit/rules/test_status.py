"""The status of a policy: what Jobs say, what they no longer say, and what the store holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.contract.report import BackupLine, Catalog, Fault, Report, StorageUse
from backup_operator.rules.conditions import Finding, ScheduleSeen
from backup_operator.rules.occurrences import happenings
from backup_operator.rules.runs import Attempt, JobSeen, JobState
from backup_operator.rules.status import Sight, catalog_is_known, next_status, report_was_lost, vanished_job, wake_up_at
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.conditions import ConditionStatus
from backup_operator.vocabulary.reasons import Reason

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STORE = "backups:prod/app-db"
EMPTY = BackupPolicyStatus()
SIGHT = Sight(
    namespace="prod",
    name="app-db",
    generation=1,
    store=STORE,
    accepted=Finding(ConditionStatus.TRUE, Reason.ACCEPTED, "valid"),
    schedule=ScheduleSeen("app-db", "0 2 * * *", "Etc/UTC", next_run_at=NOW + 14 * HOUR),
    rpo=25 * HOUR,
)


def line(age: timedelta, name: str = "") -> BackupLine:
    started = NOW - age + timedelta(microseconds=5)
    ended = started + timedelta(seconds=30)
    return BackupLine(
        name=name or f"backup_{started:%d%H}", started_at=started, completed_at=ended, size_bytes=3 << 20, rows=7
    )


def good_report(age: timedelta, *older: timedelta) -> Report:
    lines = tuple(line(one) for one in (age, *older))
    catalog = Catalog(count=len(lines), oldest_at=lines[-1].started_at, backups=lines)
    return Report(
        outcome=Outcome.SUCCEEDED,
        run=lines[0].name,
        started_at=lines[0].started_at,
        completed_at=lines[0].completed_at,
        backup=lines[0],
        catalog=catalog,
        storage=StorageUse(used_bytes=1 << 30, capacity_bytes=4 << 30, store_bytes=9 << 20),
    )


def bad_report(age: timedelta, reason: Reason = Reason.LOCK_TIMEOUT) -> Report:
    started = NOW - age
    fault = Fault(reason=reason, message="table users is locked", detail="by pid 7", hint="look at pg_locks")
    return Report(
        outcome=Outcome.FAILED, run="", started_at=started, completed_at=started + timedelta(seconds=9), fault=fault
    )


def job(name: str, age: timedelta, *reports: Report, state: JobState | None = None) -> JobSeen:
    attempts = tuple(
        Attempt(f"{name}-{number}", one.started_at, one.completed_at, one, 0 if one.fault is None else 20)
        for number, one in enumerate(reports)
    )
    if state is None:
        state = JobState.COMPLETE if reports[-1].fault is None else JobState.FAILED
    return JobSeen("prod", name, f"uid-{name}", NOW - age, state, attempts=attempts)


def conditions(status: BackupPolicyStatus) -> dict[str, str]:
    return {one.type: one.reason for one in status.conditions}


def test_a_good_run_fills_the_status():
    status = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR, 25 * HOUR)),)), NOW)

    assert status.last_successful_backup is not None
    assert status.last_successful_backup.name == line(HOUR).name
    assert status.last_successful_backup.duration_seconds == 30
    assert [one.name for one in status.backups] == [line(HOUR).name, line(25 * HOUR).name]
    assert (status.backup_count, status.size, status.used) == (2, "3.0 MiB", "25 % of 4.0 GiB")
    assert conditions(status) == {
        "Ready": "Ready",
        "Accepted": "Accepted",
        "Scheduled": "Scheduled",
        "LastRunSucceeded": "Succeeded",
        "Fresh": "WithinObjective",
        "StorageAvailable": "BelowLimit",
    }


def test_looking_again_changes_nothing():
    sight = replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR)), job("b", 2 * HOUR, bad_report(2 * HOUR))))
    first = next_status(EMPTY, sight, NOW)

    second = next_status(BackupPolicyStatus.model_validate(first.wire()), sight, NOW + timedelta(seconds=5))

    assert second.wire() == first.wire()


def test_a_failed_run_after_a_good_one_keeps_what_is_known_of_the_store():
    before = next_status(EMPTY, replace(SIGHT, backups=(job("a", 5 * HOUR, good_report(5 * HOUR)),)), NOW)

    after = next_status(before, replace(SIGHT, backups=(job("b", HOUR, bad_report(HOUR)),)), NOW)

    assert after.last_successful_backup == before.last_successful_backup
    assert after.backups == before.backups
    assert conditions(after)["LastRunSucceeded"] == "LockTimeout"
    assert conditions(after)["Ready"] == "LockTimeout"
    assert conditions(after)["Fresh"] == "WithinObjective"
    assert after.last_failed_backup is not None
    assert after.last_failed_backup.job_name == "b"
    assert after.last_failed_backup.message == "table users is locked: by pid 7"
    assert after.last_failed_backup.hint == "look at pg_locks"


def test_jobs_that_are_gone_leave_what_they_said():
    sight = replace(SIGHT, backups=(job("a", 5 * HOUR, good_report(5 * HOUR)), job("b", HOUR, bad_report(HOUR))))
    before = next_status(EMPTY, sight, NOW)

    after = next_status(before, SIGHT, NOW)

    assert after.wire() == before.wire()


def test_an_older_report_does_not_overwrite_a_newer_one_whose_job_is_gone():
    before = next_status(EMPTY, replace(SIGHT, backups=(job("new", HOUR, good_report(HOUR, 5 * HOUR)),)), NOW)

    after = next_status(before, replace(SIGHT, backups=(job("old", 5 * HOUR, good_report(5 * HOUR)),)), NOW)

    assert after.wire() == before.wire()


def test_an_inventory_makes_everything_known_again():
    report = good_report(HOUR, 5 * HOUR).model_copy(update={"kind": "Inventory", "backup": None, "completed_at": NOW})

    status = next_status(EMPTY, replace(SIGHT, inventories=(job("i", HOUR, report),)), NOW)

    assert catalog_is_known(status, STORE)
    assert status.last_successful_backup is not None
    assert status.last_successful_backup.name == line(HOUR).name
    assert conditions(status)["Ready"] == "Ready"


def test_an_inventory_that_finds_nothing_takes_back_what_the_status_said():
    before = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR)),)), NOW)
    empty = Report(
        kind="Inventory", outcome=Outcome.SUCCEEDED, started_at=NOW, completed_at=NOW, catalog=Catalog(count=0)
    )

    after = next_status(before, replace(SIGHT, inventories=(job("i", HOUR, empty),)), NOW)

    assert (after.last_successful_backup, after.backups, after.backup_count) == (None, (), 0)
    assert conditions(after)["Fresh"] == "NeverSucceeded"


def test_another_store_knows_nothing_of_the_old_one():
    before = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR)),)), NOW)

    after = next_status(before, replace(SIGHT, store="other:prod/app-db"), NOW)

    assert after.last_successful_backup is None
    assert not catalog_is_known(after, "other:prod/app-db")
    assert conditions(after)["Ready"] == "NeverRun"


def test_a_pod_that_cannot_start_is_said_at_once_and_forgotten_when_it_starts():
    trouble = Fault(reason=Reason.IMAGE_UNAVAILABLE, message="no image", hint="kubectl describe")
    good = job("a", 5 * HOUR, good_report(5 * HOUR))
    going = job("b", HOUR, state=JobState.ACTIVE)

    stuck = next_status(EMPTY, replace(SIGHT, backups=(good, replace(going, trouble=trouble))), NOW)
    started = next_status(stuck, replace(SIGHT, backups=(good, going)), NOW)

    assert conditions(stuck)["Ready"] == "ImageUnavailable"
    assert stuck.active_backup is not None
    assert conditions(started)["Ready"] == "Ready"
    assert started.last_failed_backup is None


def test_the_column_ready_says_why_it_is_false():
    good = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR)),)), NOW)
    bad = replace(SIGHT, backups=(job("b", HOUR, bad_report(HOUR), state=JobState.FAILED),))

    assert good.ready == "True"
    assert next_status(EMPTY, bad, NOW).ready == "False (LockTimeout)"


def test_a_deadline_keeps_the_reason_why_the_pod_never_started():
    trouble = Fault(reason=Reason.CLAIM_MISSING, message="no claim", hint="create it")
    going = job("b", HOUR, state=JobState.ACTIVE)
    stuck = next_status(EMPTY, replace(SIGHT, backups=(replace(going, trouble=trouble),)), NOW)
    over = replace(going, state=JobState.FAILED, failed_reason="DeadlineExceeded", finished_at=NOW)

    first = next_status(stuck, replace(SIGHT, backups=(over,)), NOW)
    again = next_status(first, replace(SIGHT, backups=(over,)), NOW)

    assert conditions(first)["LastRunSucceeded"] == "ClaimMissing"
    assert first.last_failed_backup is not None
    assert first.last_failed_backup.completed_at == NOW
    assert again.wire() == first.wire()


def test_a_report_that_was_seen_before_its_pod_was_deleted_outlives_a_restart():
    over = replace(
        job("b", HOUR, bad_report(HOUR), state=JobState.FAILED), failed_reason="DeadlineExceeded", finished_at=NOW
    )
    worker_said = replace(over, attempts=(Attempt("p", NOW, NOW, bad_report(HOUR, Reason.DEADLINE_EXCEEDED), 20),))
    before = next_status(EMPTY, replace(SIGHT, backups=(worker_said,)), NOW)

    after_restart = next_status(before, replace(SIGHT, backups=(replace(over, attempts=()),)), NOW)

    assert after_restart.last_failed_backup == before.last_failed_backup


def test_a_lost_report_is_noticed_until_the_store_was_read():
    lost = job("a", HOUR, state=JobState.COMPLETE)
    unknown = next_status(EMPTY, replace(SIGHT, backups=(lost,)), NOW)
    known = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(HOUR)),)), NOW)

    assert report_was_lost(unknown, (lost,)) == lost
    assert report_was_lost(known, (lost,)) is None


def test_the_status_wakes_up_when_freshness_runs_out_or_the_next_run_is_due():
    sight = replace(SIGHT, backups=(job("a", 24 * HOUR, good_report(24 * HOUR)),))
    status = next_status(EMPTY, sight, NOW)
    suspended = replace(sight, schedule=replace(SIGHT.schedule, suspended=True))

    assert wake_up_at(status, SIGHT.rpo, NOW) == NOW + HOUR
    assert wake_up_at(next_status(EMPTY, suspended, NOW), None, NOW) is None
    assert wake_up_at(next_status(EMPTY, SIGHT, NOW), SIGHT.rpo, NOW) == NOW + 14 * HOUR


def test_conditions_of_later_releases_are_absent():
    status = next_status(EMPTY, SIGHT, NOW)

    assert {one.type for one in status.conditions} == {"Ready", "Accepted", "Scheduled", "LastRunSucceeded", "Fresh"}


def test_each_run_and_each_turn_is_one_event():
    good = next_status(EMPTY, replace(SIGHT, backups=(job("a", 5 * HOUR, good_report(5 * HOUR)),)), NOW)
    bad = next_status(good, replace(SIGHT, backups=(job("b", HOUR, bad_report(HOUR)),)), NOW)

    assert [one.reason for one in happenings(EMPTY, good)] == ["Accepted", "Scheduled", "WithinObjective", "Succeeded"]
    assert [(one.reason, one.warning) for one in happenings(good, bad)] == [("LockTimeout", True)]
    assert happenings(bad, bad) == []


def test_what_is_over_wakes_nobody_up():
    going = job("b", 30 * HOUR, state=JobState.ACTIVE)
    stale = next_status(EMPTY, replace(SIGHT, backups=(job("a", 60 * HOUR, good_report(60 * HOUR)), going)), NOW)

    assert conditions(stale)["Fresh"] == "RunStuck"
    assert wake_up_at(stale, SIGHT.rpo, NOW) == stale.next_backup_at


def test_the_workers_warnings_are_said_and_outlive_its_job():
    warned = good_report(HOUR).model_copy(update={"warnings": ("the connection has no TLS",)})
    inventory = good_report(HOUR).model_copy(update={"kind": "Inventory", "backup": None, "completed_at": NOW})

    status = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, warned),)), NOW)
    later = next_status(status, replace(SIGHT, inventories=(job("i", HOUR, inventory),)), NOW)

    assert status.message is not None
    assert "Warning: the connection has no TLS." in status.message
    assert later.message == status.message


def test_a_job_that_vanishes_in_the_middle_is_a_failed_run_until_the_store_says_otherwise():
    going = job("b", HOUR, state=JobState.ACTIVE)
    before = next_status(EMPTY, replace(SIGHT, backups=(going,)), NOW)
    inventory = good_report(HOUR / 2).model_copy(update={"kind": "Inventory", "backup": None, "completed_at": NOW})

    gone = next_status(before, SIGHT, NOW)
    again = next_status(gone, SIGHT, NOW)
    found = next_status(gone, replace(SIGHT, inventories=(job("i", HOUR, inventory),)), NOW)

    assert vanished_job(before, ()) == before.active_backup
    assert conditions(gone)["Ready"] == "JobLost"
    assert gone.last_failed_backup is not None
    assert gone.last_failed_backup.hint == (
        f"look for who deleted it: kubectl -n {SIGHT.namespace} get events "
        "--field-selector involvedObject.kind=Job,involvedObject.name=b"
    )
    assert again.wire() == gone.wire()
    assert conditions(found)["Ready"] == "Ready"


@pytest.mark.parametrize(("locked", "fresh"), [(2, "WithinObjective"), (1, "NeverSucceeded")], ids=["all", "one gone"])
def test_a_known_backup_stays_known_when_the_passphrase_has_changed_and_no_entry_has_gone(locked: int, fresh: str):
    good = job("a", 3 * HOUR, good_report(3 * HOUR, 5 * HOUR))
    before = next_status(EMPTY, replace(SIGHT, backups=(good,)), NOW)
    report = bad_report(HOUR).model_copy(update={"catalog": Catalog(count=0, locked=locked)})

    after = next_status(before, replace(SIGHT, backups=(good, job("b", HOUR, report))), NOW)
    later = next_status(after, replace(SIGHT, backups=(good, job("b", HOUR, report))), NOW)

    assert conditions(after)["Fresh"] == fresh
    assert (after.backup_count, after.locked_backups) == (0, locked)
    assert later.wire() == after.wire()


def test_freshness_is_unknown_while_the_objective_cannot_be_read():
    good = job("a", 3 * HOUR, good_report(3 * HOUR))
    before = next_status(EMPTY, replace(SIGHT, backups=(good,)), NOW)
    refused = Finding(ConditionStatus.FALSE, Reason.INVALID_SPEC, "spec.schedule is wrong")

    after = next_status(before, replace(SIGHT, backups=(good,), accepted=refused, rpo=None), NOW + 100 * HOUR)

    found = {one.type: (one.status, one.reason) for one in after.conditions}
    assert found["Fresh"] == (ConditionStatus.UNKNOWN, "InvalidSpec")
    assert found["Ready"] == (ConditionStatus.FALSE, "InvalidSpec")


@pytest.mark.parametrize("end", [0, 2], ids=["in the same second", "after it"])
def test_an_inventory_that_read_the_store_before_a_run_ended_does_not_hide_its_backup(end: int):
    good = job("a", HOUR, good_report(HOUR))
    began = line(HOUR).completed_at
    inventory = Report(
        kind="Inventory",
        outcome=Outcome.SUCCEEDED,
        started_at=began,
        completed_at=began + timedelta(seconds=end),
        catalog=Catalog(count=0),
    )
    sight = replace(SIGHT, backups=(good,), inventories=(job("i", HOUR, inventory),))

    first = next_status(EMPTY, sight, NOW)
    again = next_status(first, sight, NOW)

    assert first.backup_count == 1
    assert conditions(first)["Ready"] == "Ready"
    assert again.wire() == first.wire()

"""What reports say of a store: retention as done and as foretold, comparison, others' files, clocks that were ahead."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backup_operator.api.backuppolicy import (
    BackupPolicyStatus,
    ComparisonStatus,
    NextToGo,
    OtherFiles,
    RetentionPreview,
    RetentionStatus,
)
from backup_operator.contract.order import RetentionOrder
from backup_operator.contract.report import Catalog, Comparison, Departure, Fault, Report, RetentionResult, StorageUse
from backup_operator.rules.occurrences import happenings
from backup_operator.rules.previews import effect_is_unknown
from backup_operator.rules.retained import with_result
from backup_operator.rules.runs import JobSeen, JobState
from backup_operator.rules.status import next_status
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from tests.unit.rules.test_status import EMPTY, HOUR, NOW, SIGHT, bad_report, conditions, good_report, job, line

WISHED = replace(SIGHT, retention_digest="now", accepted_run="")


def result(age: timedelta = HOUR, **changes: Any) -> RetentionResult:
    known: dict[str, Any] = {"kept": 3, "rules": ("age 30d: kept 3",), "rules_digest": "now"}
    return RetentionResult(**{"applied_at": NOW - age, **known, **changes})


DELETED = result(
    2 * HOUR,
    deleted=("a", "b"),
    deleted_count=9,
    freed_bytes=7,
    held_back=1,
    next_to_go=Departure(run="c", at=NOW + HOUR),
)
DONE = RetentionStatus(
    rules=("age 30d: kept 3",),
    kept=3,
    held_back=1,
    deleted=9,
    deleted_names=("a", "b"),
    freed_bytes=7,
    applied_at=NOW - 2 * HOUR,
    next_to_go=NextToGo(name="c", at=NOW + HOUR),
    rules_digest="now",
)
FORETOLD = result(rules=("daily 2: kept 2",), kept=2, rules_digest="later", dry_run=True, going=("c",), going_count=1)
PREVIEW = RetentionPreview(at=NOW - HOUR, count=1, bytes=0, names=("c",))
WITH_PREVIEW = DONE.model_copy(
    update={
        "rules": ("daily 2: kept 2",),
        "kept": 2,
        "held_back": None,
        "next_to_go": None,
        "rules_digest": "later",
        "preview": PREVIEW,
    }
)


@pytest.mark.parametrize(
    ("known", "new", "expected"),
    [
        pytest.param(None, DELETED, DONE, id="the first run"),
        pytest.param(DONE, DELETED, DONE, id="the same again"),
        pytest.param(DONE, FORETOLD, WITH_PREVIEW, id="a preview leaves what a run did"),
        pytest.param(WITH_PREVIEW, DELETED, WITH_PREVIEW, id="the run before a preview, seen again"),
        pytest.param(
            RetentionStatus(rules=("daily 2: kept 2",), kept=2, rules_digest="later", preview=PREVIEW),
            DELETED,
            WITH_PREVIEW,
            id="a run that ended before the inventory beside it, and is seen after it",
        ),
        pytest.param(
            WITH_PREVIEW,
            result(timedelta(), rules_digest="later"),
            RetentionStatus(
                rules=("age 30d: kept 3",), kept=3, deleted=0, freed_bytes=0, applied_at=NOW, rules_digest="later"
            ),
            id="the run after a preview",
        ),
        pytest.param(
            None,
            FORETOLD,
            RetentionStatus(rules=("daily 2: kept 2",), kept=2, rules_digest="later", preview=PREVIEW),
            id="a preview alone",
        ),
        pytest.param(
            DONE.model_copy(update={"stopped": "no lock"}),
            FORETOLD,
            WITH_PREVIEW.model_copy(update={"stopped": "no lock"}),
            id="a preview leaves why a run was cut short",
        ),
        pytest.param(
            DONE,
            result(dry_run=True, kept=0, rules=(), stopped="the zone is unknown"),
            DONE.model_copy(update={"stopped": "the zone is unknown"}),
            id="a preview that could not be made",
        ),
        pytest.param(
            WITH_PREVIEW,
            result(dry_run=True, kept=0, rules=(), stopped="the zone is unknown", rules_digest="latest"),
            WITH_PREVIEW.model_copy(
                update={"stopped": "the zone is unknown", "rules_digest": "latest", "preview": None}
            ),
            id="a preview that could not be made takes that of other rules away",
        ),
    ],
)
def test_retention_is_known_as_it_was_done_and_as_it_is_foretold(
    known: RetentionStatus | None, new: RetentionResult, expected: RetentionStatus
):
    assert with_result(known, new) == expected


def run(age: timedelta, **changes: Any) -> JobSeen:
    return job(f"r{age}", age, good_report(age).model_copy(update=changes))


def inventory(age: timedelta, **changes: Any) -> JobSeen:
    report = good_report(3 * HOUR).model_copy(
        update={
            "kind": "Inventory",
            "backup": None,
            "started_at": NOW - age,
            "completed_at": NOW - age + timedelta(seconds=2),
            **changes,
        }
    )
    return job(f"i{age}", age, report)


def test_an_edit_is_foretold_and_then_done():
    done = replace(WISHED, backups=(run(3 * HOUR, retention=DELETED),))
    asked = replace(done, retention_digest="later", inventories=(inventory(HOUR, retention=FORETOLD),))

    first = next_status(EMPTY, done, NOW)
    edited = next_status(first, replace(done, retention_digest="later"), NOW)
    told = next_status(edited, asked, NOW)

    assert first.retention == DONE
    assert "The rules have changed since" in words(edited, "Retained")
    assert told.retention == WITH_PREVIEW
    assert "the next good run deletes 1 backup (c)" in words(told, "Retained")
    assert next_status(told, replace(asked, inventories=()), NOW).wire() == told.wire()


def test_a_released_dry_run_is_no_fault_until_the_next_run_applies_the_rules():
    real = run(5 * HOUR, retention=result(5 * HOUR))
    dry = run(3 * HOUR, retention=result(2 * HOUR, dry_run=True, going=("c",), going_count=1))
    seen = replace(WISHED, backups=(real, dry))

    held = next_status(EMPTY, replace(seen, dry_run=True), NOW)
    released = next_status(held, seen, NOW)
    done = next_status(released, replace(seen, backups=(real, dry, run(HOUR, retention=result(HOUR / 2)))), NOW)

    assert told(held, released) == []
    assert conditions(held)["Retained"] == "DryRun"
    assert (conditions(released)["Retained"], conditions(released)["Ready"]) == ("Applied", "Ready")
    assert "dryRun was on; the next good run applies the rules." in words(released, "Retained")
    assert "dryRun was on" not in words(done, "Retained")
    assert done.retention is not None
    assert done.retention.dry_run_at is None


def test_a_preview_of_other_rules_is_not_kept():
    asked = replace(WISHED, dry_run=True, retention_digest="later", inventories=(inventory(HOUR, retention=FORETOLD),))
    previewed = next_status(EMPTY, asked, NOW)

    edited = next_status(previewed, replace(asked, retention_digest="latest"), NOW)

    assert previewed.retention is not None
    assert previewed.retention.preview == PREVIEW
    assert edited.retention is not None
    assert edited.retention.preview is None
    assert "being read" in words(edited, "Retained")
    assert effect_is_unknown(edited, RetentionOrder(digest="latest", dry_run=True))


def test_what_is_known_of_a_store_is_not_said_of_another():
    seen = run(HOUR, retention=DELETED, comparison=Comparison(run="a", compared_with=1))
    before = next_status(EMPTY, replace(WISHED, backups=(seen,)), NOW)

    after = next_status(before, replace(WISHED, store="other:prod/app-db"), NOW)

    assert {"Retained", "StorageAvailable", "Plausible"} <= conditions(before).keys()
    assert {"Retained", "StorageAvailable", "Plausible"}.isdisjoint(conditions(after).keys())
    assert (after.retention, after.comparison, after.storage) == (None, None, None)


def test_the_comparison_holds_until_the_next_one_and_goes_with_the_last_backup():
    seen = run(3 * HOUR, comparison=Comparison(run="a", compared_with=7, reason=Reason.SIZE_COLLAPSED, since_run="a"))
    empty = inventory(HOUR, catalog=Catalog(count=0))

    first = next_status(EMPTY, replace(WISHED, backups=(seen,)), NOW)
    later = next_status(first, WISHED, NOW)
    accepted = next_status(later, replace(WISHED, accepted_run="a"), NOW)
    gone = next_status(later, replace(WISHED, inventories=(empty,)), NOW)

    assert later.comparison == ComparisonStatus(run="a", compared_with=7, reason=Reason.SIZE_COLLAPSED, since_run="a")
    assert conditions(later)["Ready"] == "SizeCollapsed"
    assert conditions(accepted)["Ready"] == "Ready"
    assert conditions(accepted)["Plausible"] == "ChangeAccepted"
    assert gone.comparison is None


def test_files_of_others_are_listed_apart_and_are_no_backups():
    catalog = Catalog(count=0, old_files=2, foreign_files=1, other_names=("backup_20200101_020000.sql.gz.gpg",))
    seen = inventory(HOUR, catalog=catalog)

    status = next_status(EMPTY, replace(WISHED, inventories=(seen,)), NOW)

    assert status.other_files == OtherFiles(old_scripts=2, foreign=1, names=("backup_20200101_020000.sql.gz.gpg",))
    assert (status.backup_count, conditions(status)["Fresh"]) == (0, "NeverSucceeded")
    assert "2 of the old scripts and 1 of others" in words(status, "StorageAvailable")


def test_the_day_on_which_the_volume_is_full_is_kept_to_the_second():
    full = NOW + 48 * HOUR + timedelta(microseconds=7)
    seen = run(HOUR, storage=StorageUse(used_bytes=1, capacity_bytes=2, store_bytes=1, full_at=full))

    status = next_status(EMPTY, replace(WISHED, backups=(seen,)), NOW)

    assert status.storage is not None
    assert status.storage.full_at == NOW + 48 * HOUR
    assert status.used == "50 % of 2 B, full on 2026-11-26"


AHEAD = timedelta(days=400)


def ahead(age: timedelta) -> JobSeen:
    """A Job of that age, made on a node whose clock was 400 days ahead."""
    return replace(job("ahead", age, good_report(age - AHEAD)), created_at=NOW - age)


def test_a_backup_by_a_clock_that_was_ahead_is_as_old_as_its_job():
    status = next_status(EMPTY, replace(SIGHT, backups=(ahead(3 * HOUR),)), NOW)
    later = next_status(status, SIGHT, NOW + 23 * HOUR)

    assert status.last_successful_backup is not None
    assert status.last_successful_backup.started_at == NOW - 3 * HOUR
    assert status.last_successful_backup.duration_seconds == 30
    assert conditions(status)["Fresh"] == "WithinObjective"
    assert conditions(later)["Fresh"] == "ObjectiveExceeded"


def test_a_backup_by_a_clock_that_was_ahead_does_not_hide_the_next_one():
    both = replace(SIGHT, backups=(ahead(3 * HOUR), job("right", HOUR, good_report(HOUR))))

    status = next_status(next_status(EMPTY, replace(SIGHT, backups=(ahead(3 * HOUR),)), NOW), both, NOW)

    assert status.last_successful_backup is not None
    assert status.last_successful_backup.name == line(HOUR).name
    assert next_status(status, both, NOW).wire() == status.wire()


def test_an_inventory_takes_no_date_to_come_for_the_newest():
    future, right = line(-AHEAD, "backup_future"), line(30 * HOUR)
    catalog = Catalog(count=2, oldest_at=right.started_at, backups=(future, right))

    status = next_status(EMPTY, replace(SIGHT, inventories=(inventory(HOUR, catalog=catalog),)), NOW)

    assert status.last_successful_backup is not None
    assert status.last_successful_backup.name == right.name
    assert conditions(status)["Fresh"] == "ObjectiveExceeded"


def test_a_status_of_before_with_a_date_to_come_is_mended_by_the_next_run():
    wrong = next_status(EMPTY, replace(SIGHT, backups=(job("a", HOUR, good_report(-AHEAD)),)), NOW + AHEAD + HOUR)
    seen = replace(SIGHT, backups=(job("b", HOUR, good_report(HOUR)),))

    mended = next_status(wrong, seen, NOW)

    assert conditions(next_status(wrong, SIGHT, NOW))["Fresh"] == "ObjectiveExceeded"
    assert mended.last_successful_backup is not None
    assert mended.last_successful_backup.name == line(HOUR).name


def test_upkeep_is_told_when_it_goes_wrong_when_it_is_well_again_and_when_backups_go():
    well = next_status(EMPTY, replace(WISHED, backups=(run(5 * HOUR, retention=result(4 * HOUR)),)), NOW)
    full = run(3 * HOUR, retention=DELETED, storage=StorageUse(used_bytes=95, capacity_bytes=100, store_bytes=1))
    tight = next_status(well, replace(WISHED, backups=(full,)), NOW)
    again = next_status(tight, replace(WISHED, backups=(run(HOUR, retention=result(HOUR / 2)),)), NOW)
    dry = next_status(again, replace(WISHED, dry_run=True), NOW)

    assert told(EMPTY, well) == ["Accepted", "Scheduled", "WithinObjective", "Succeeded"]
    assert told(well, tight) == ["UsageAboveLimit!", "Succeeded", "BackupsDeleted"]
    assert told(tight, again) == ["BelowLimit", "Succeeded"]
    assert told(again, dry) == ["DryRun"]
    assert [one.note for one in happenings(well, tight)][-1] == "9 backups went by spec.retention, 7 B freed: a, b, …"


def told(before: BackupPolicyStatus, after: BackupPolicyStatus) -> list[str]:
    return [f"{one.reason}{'!' if one.warning else ''}" for one in happenings(before, after)]


def words(status: BackupPolicyStatus, kind: str) -> str:
    return next(one.message for one in status.conditions if one.type == kind)


def test_a_failed_run_leaves_what_is_known_of_the_upkeep():
    before = next_status(EMPTY, replace(WISHED, backups=(run(5 * HOUR, retention=result(4 * HOUR)),)), NOW)
    report = Report(outcome=Outcome.FAILED, started_at=NOW - HOUR, completed_at=NOW - HOUR)
    after = next_status(before, replace(WISHED, backups=(job("b", HOUR, report),)), NOW)

    assert (after.retention, after.storage) == (before.retention, before.storage)


def test_a_fault_of_the_store_holds_until_a_job_has_used_the_store_again():
    good = run(9 * HOUR)
    read_only = job("b", 5 * HOUR, bad_report(5 * HOUR, Reason.CLAIM_READ_ONLY))
    # this one has read the volume, which proves nothing of writing to it
    refused = job(
        "c",
        4 * HOUR,
        bad_report(4 * HOUR, Reason.AUTHENTICATION_FAILED).model_copy(update={"storage": good_report(HOUR).storage}),
    )
    no_node = Fault(reason=Reason.UNSCHEDULABLE, message="no node", retryable=True)
    waiting = replace(job("d", 2 * HOUR, state=JobState.ACTIVE), trouble=no_node)
    said = []
    status = EMPTY
    for jobs in ((good,), (good, read_only), (good, read_only, refused), (good, refused), (good, refused, waiting)):
        status = next_status(status, replace(WISHED, backups=jobs), NOW)
        said.append(conditions(status)["StorageAvailable"])
    held = words(status, "StorageAvailable")
    elsewhere = next_status(status, replace(WISHED, store="other:prod/app-db"), NOW)
    read = replace(WISHED, backups=(good, refused, waiting), inventories=(inventory(HOUR),))
    proven = next_status(status, read, NOW)

    assert said == ["BelowLimit", *["ClaimReadOnly"] * 4]
    assert held.startswith("A run could not use the volume: ")
    assert "StorageAvailable" not in conditions(elsewhere)
    assert conditions(proven)["StorageAvailable"] == "BelowLimit"
    assert conditions(next_status(proven, read, NOW))["StorageAvailable"] == "BelowLimit"


def test_runs_that_take_too_long_for_the_objective_are_warned_of_as_soon_as_that_is_known():
    slow = line(HOUR).model_copy(update={"completed_at": NOW - HOUR + timedelta(minutes=75)})
    report = good_report(HOUR)
    assert report.catalog is not None
    catalog = report.catalog.model_copy(update={"backups": (slow,)})

    status = next_status(EMPTY, replace(SIGHT, backups=(run(HOUR, backup=slow, catalog=catalog),)), NOW + HOUR)

    assert "usually take 1h15m, and objectives.rpo is 25h" in words(status, "Accepted")
    assert told(next_status(EMPTY, SIGHT, NOW), status) == ["Accepted!", "WithinObjective", "Succeeded"]
    assert told(status, status) == []


def test_a_claim_that_is_missing_when_a_policy_is_made_again_is_told_until_it_is_there():
    missing = Fault(reason=Reason.CLAIM_MISSING, message="claim backups does not exist", hint="create it")
    waits = replace(job("i", HOUR, state=JobState.ACTIVE), trouble=missing)

    told_so = next_status(EMPTY, replace(SIGHT, inventories=(waits,)), NOW)
    there = next_status(told_so, replace(SIGHT, inventories=(replace(waits, trouble=None),)), NOW)
    good = next_status(EMPTY, replace(SIGHT, inventories=(waits,), backups=(run(HOUR / 2),)), NOW)

    assert conditions(told_so)["StorageAvailable"] == "ClaimMissing"
    assert "StorageAvailable" not in conditions(there)
    assert conditions(good)["StorageAvailable"] == "BelowLimit"

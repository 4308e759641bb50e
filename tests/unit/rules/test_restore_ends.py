"""What a RestoreRequest shows once a worker has told of it: the target by its name, and how to take it back."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.contract.restore import RestoreReport
from backup_operator.rules.restore_ends import ended_well, planned
from backup_operator.rules.restoring import Action, decide
from backup_operator.rules.runs import Attempt, JobSeen, JobState
from backup_operator.vocabulary.choices import Outcome
from tests.unit.rules.test_restoring import BEGUN, FAILED, LATER, SIGHT, START

AT = datetime(2023, 12, 1, 2, 0, tzinfo=UTC)
DROP = 'DROP DATABASE "app_restored_20231201_020000";'


def told(**changes) -> RestoreReport:
    """A worker's letter of a restore that went well."""
    words = {"outcome": Outcome.SUCCEEDED, "dry_run": False, "started_at": AT, "completed_at": AT, "run": "backup_1"}
    return RestoreReport.model_validate({**words, **changes})


@pytest.mark.parametrize(
    ("target", "into", "dry_run", "shown"),
    [
        ("PostgreSQL NewDatabase", "app_restored_20231201_020000", False, "… app_restored_20231201_020000"),
        ("PostgreSQL NewDatabase", "app_restored_20231201_020000", True, "…"),
        ("PostgreSQL InPlace", "app", True, "… app"),
        ("PostgreSQL InPlace app", "app", True, "…"),
        ("PostgreSQL InPlace", "", False, "…"),
        ("Redis Merge", "redis.prod.svc/0", False, "… redis.prod.svc/0"),
    ],
)
def test_the_target_is_shown_with_the_database_once_it_is_known(target, into, dry_run, shown):
    known, report = RestoreRequestStatus(target=target), told(into=into, dry_run=dry_run)

    status = planned(known, report, "prod", "back", AT) if dry_run else ended_well(known, report, AT)

    assert status.target == shown.replace("…", target)
    if not dry_run:
        assert f"is restored to {status.target}" in str(status.message)


def _ended(report: RestoreReport) -> RestoreRequestStatus:
    attempt = Attempt("pod-1", START, LATER, exit_code=0, restore=report)
    job = JobSeen("prod", FAILED.name, "job-uid", START, JobState.COMPLETE, finished_at=LATER, attempts=(attempt,))
    decision = decide(BEGUN, replace(SIGHT, restore_job=job), LATER)
    assert decision.action is Action.NONE
    return decision.status


def test_of_what_can_be_taken_back_the_hint_says_what_to_type():
    status = _ended(told(undo=(DROP,)))

    assert status.undo == (DROP,)
    assert str(status.hint).startswith(
        "to take it back, type what this lists: kubectl -n prod get rr back -o jsonpath="
    )
    assert _ended(told()).hint is None


def test_a_database_that_the_worker_told_of_stays_in_the_column():
    status = _ended(told(into="app_1"))

    assert decide(status, SIGHT, LATER).status.target == status.target
    assert str(status.target).endswith(" app_1")

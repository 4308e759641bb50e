"""The conditions of a policy: a table of what is known, and what is said about it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.api.backuppolicy import ActiveBackup, BackupRecord, FailedBackup
from backup_operator.api.meta import Condition
from backup_operator.rules.conditions import (
    Finding,
    Runs,
    ScheduleSeen,
    accepted,
    as_conditions,
    fresh,
    last_run_succeeded,
    ready,
    scheduled,
)
from backup_operator.vocabulary.conditions import ConditionStatus, ConditionType
from backup_operator.vocabulary.reasons import Reason

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RPO = timedelta(hours=25)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
ACCEPTED = Finding(TRUE, Reason.ACCEPTED, "The spec is valid.")
REFUSED = Finding(FALSE, Reason.INVALID_SPEC, "spec.schedule: wrong")


def good(age: timedelta = HOUR, seconds: int = 60) -> BackupRecord:
    return BackupRecord(
        name="backup_x",
        started_at=NOW - age,
        completed_at=NOW - age + timedelta(seconds=seconds),
        duration_seconds=seconds,
        size_bytes=2048,
        rows=7,
    )


def failed(age: timedelta = HOUR, *, seconds: int | None = 60, job: str = "app-db-1") -> FailedBackup:
    return FailedBackup(
        started_at=NOW - age,
        completed_at=None if seconds is None else NOW - age + timedelta(seconds=seconds),
        reason=Reason.AUTHENTICATION_FAILED,
        message="wrong password",
        hint="correct the Secret",
        job_name=job,
    )


def active(age: timedelta = HOUR, job: str = "app-db-2") -> ActiveBackup:
    return ActiveBackup(job_name=job, since=NOW - age)


def runs(**known: object) -> Runs:
    return Runs(namespace="prod", cronjob="app-db", **known)  # type: ignore[arg-type]  # fields of the case's own


@dataclass(frozen=True)
class Case:
    known: Runs
    status: ConditionStatus
    reason: Reason
    words: tuple[str, ...] = field(default=())


LAST_RUN = {
    "nothing has run": Case(runs(), UNKNOWN, Reason.NEVER_RUN, ("kubectl -n prod create job --from=cronjob/app-db",)),
    "the first one is running": Case(runs(active=active()), UNKNOWN, Reason.NEVER_RUN, ("app-db-2 is running",)),
    "nothing has run and the store cannot be read": Case(
        runs(inventory_words="SecretMissing: no key X"), UNKNOWN, Reason.NEVER_RUN, ("SecretMissing: no key X",)
    ),
    "a good run": Case(runs(last_good=good()), TRUE, Reason.SUCCEEDED, ("backup_x", "2.0 KiB", "7 rows")),
    "a failed run": Case(
        runs(last_failed=failed(), next_run_at=NOW + HOUR),
        FALSE,
        Reason.AUTHENTICATION_FAILED,
        ("Job app-db-1: wrong password.", "Hint: correct the Secret.", "at 2026-11-24T13:00:00Z", "kubectl"),
    ),
    "a failed run that is tried again": Case(
        runs(last_failed=failed(job="app-db-2"), active=active()),
        FALSE,
        Reason.AUTHENTICATION_FAILED,
        ("still trying",),
    ),
    "a run that waits for its pod": Case(
        runs(last_failed=failed(seconds=None, job="app-db-2"), active=active()),
        FALSE,
        Reason.AUTHENTICATION_FAILED,
        ("The Job waits", "no scheduled run starts before it ends", "kubectl -n prod delete job app-db-2"),
    ),
    "a good run after a failed one": Case(
        runs(last_good=good(HOUR), last_failed=failed(2 * HOUR)), TRUE, Reason.SUCCEEDED
    ),
    "a failed run after a good one": Case(
        runs(last_good=good(2 * HOUR), last_failed=failed(HOUR)), FALSE, Reason.AUTHENTICATION_FAILED
    ),
    "a run that began earlier and ended well later than a failed one": Case(
        runs(last_good=good(2 * HOUR, seconds=7000), last_failed=failed(HOUR)), TRUE, Reason.SUCCEEDED
    ),
    "a run that cannot start after a good one": Case(
        runs(last_good=good(2 * HOUR), last_failed=failed(HOUR, seconds=None), active=active(job="app-db-1")),
        FALSE,
        Reason.AUTHENTICATION_FAILED,
    ),
    "a good run after one that could not start": Case(
        runs(last_good=good(HOUR), last_failed=failed(2 * HOUR, seconds=None)), TRUE, Reason.SUCCEEDED
    ),
}


@pytest.mark.parametrize("case", LAST_RUN.values(), ids=LAST_RUN.keys())
def test_last_run_succeeded(case: Case):
    assert_found(last_run_succeeded(case.known), case)


FRESH = {
    "no backup": Case(runs(), FALSE, Reason.NEVER_SUCCEEDED),
    "only backups of another passphrase": Case(
        runs(locked_backups=3), FALSE, Reason.NEVER_SUCCEEDED, ("3 were written under another one", "Put that one back")
    ),
    "a young backup": Case(runs(last_good=good(HOUR)), TRUE, Reason.WITHIN_OBJECTIVE, ("until 2026-11-25T12:00:00Z",)),
    "a backup that began exactly the objective ago": Case(runs(last_good=good(RPO)), FALSE, Reason.OBJECTIVE_EXCEEDED),
    "a backup one second younger": Case(
        runs(last_good=good(RPO - timedelta(seconds=1))), TRUE, Reason.WITHIN_OBJECTIVE
    ),
    "a backup that ended within the objective and began before it": Case(
        runs(last_good=good(RPO + HOUR, seconds=7200)), FALSE, Reason.OBJECTIVE_EXCEEDED
    ),
    "an old backup and a young run": Case(
        runs(last_good=good(RPO + HOUR), active=active(HOUR)), FALSE, Reason.OBJECTIVE_EXCEEDED
    ),
    "an old backup and a run that does not end": Case(
        runs(last_good=good(3 * RPO), active=active(RPO + HOUR)), FALSE, Reason.RUN_STUCK, ("app-db-2",)
    ),
    "no backup and a run that does not end": Case(runs(active=active(RPO + HOUR)), FALSE, Reason.RUN_STUCK),
    "no backup and a run that has waited for exactly the objective": Case(
        runs(active=active(RPO)),
        FALSE,
        Reason.RUN_STUCK,
        ("kubectl -n prod describe job app-db-2", "kubectl -n prod delete job app-db-2"),
    ),
    "a young backup and a run that does not end": Case(
        runs(last_good=good(HOUR), active=active(RPO + HOUR)), TRUE, Reason.WITHIN_OBJECTIVE
    ),
    "an old backup and a run on its way": Case(
        runs(last_good=good(RPO + HOUR), active=active(HOUR)),
        FALSE,
        Reason.OBJECTIVE_EXCEEDED,
        ("Job app-db-2 is on its way since 2026-11-24T11:00:00Z.",),
    ),
    "an old backup while suspended": Case(
        runs(last_good=good(RPO + HOUR), suspended=True), FALSE, Reason.OBJECTIVE_EXCEEDED, ("spec.suspend is true",)
    ),
    "an old backup and a run that was never started": Case(
        runs(last_good=good(RPO + HOUR), missed_run_at=NOW - HOUR),
        FALSE,
        Reason.OBJECTIVE_EXCEEDED,
        ("The run of 2026-11-24T11:00:00Z was never started", "kubectl -n prod describe cronjob app-db"),
    ),
    "no backup and the first run to come": Case(
        runs(next_run_at=NOW + HOUR), FALSE, Reason.NEVER_SUCCEEDED, ("Next run at 2026-11-24T13:00:00Z.",)
    ),
    "a backup that began after now, by a wrong clock": Case(
        runs(last_good=good(-HOUR)), FALSE, Reason.OBJECTIVE_EXCEEDED, ("by a clock that was ahead",)
    ),
    "a backup of a clock that is a little ahead": Case(
        runs(last_good=good(-timedelta(minutes=5))), TRUE, Reason.WITHIN_OBJECTIVE
    ),
}


@pytest.mark.parametrize("case", FRESH.values(), ids=FRESH.keys())
def test_fresh(case: Case):
    assert_found(fresh(case.known, RPO, NOW), case)


LIVE = ScheduleSeen("app-db", "0 2 * * *", "Etc/UTC", next_run_at=NOW + HOUR)


@pytest.mark.parametrize(
    ("seen", "accepted", "status", "reason"),
    [
        pytest.param(LIVE, ACCEPTED, TRUE, Reason.SCHEDULED, id="as wanted"),
        pytest.param(
            ScheduleSeen("app-db", "0 2 * * *", "Etc/UTC", suspended=True),
            ACCEPTED,
            FALSE,
            Reason.SUSPENDED,
            id="suspended",
        ),
        pytest.param(ScheduleSeen(refused="quota"), ACCEPTED, FALSE, Reason.APPLY_REFUSED, id="refused"),
        pytest.param(LIVE, REFUSED, TRUE, Reason.SCHEDULED, id="the last accepted one keeps running"),
        pytest.param(ScheduleSeen(), REFUSED, FALSE, Reason.INVALID_SPEC, id="never accepted"),
    ],
)
def test_scheduled(seen: ScheduleSeen, accepted: Finding, status: ConditionStatus, reason: Reason):
    found = scheduled(seen, accepted)

    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    ("schedule", "rpo", "usual", "warned"),
    [
        pytest.param("0 * * * *", 90, 20, False, id="in time"),
        pytest.param("0 * * * *", 90, 30, True, id="too late by a moment"),
        pytest.param("@every 1h", 90, 40, True, id="too late"),
        pytest.param("@every 1h", 90, None, False, id="nobody knows how long"),
        pytest.param("@every 1h", 60, 40, False, id="said by the verdict itself"),
        pytest.param("never", 60, 40, False, id="no schedule that can be read"),
    ],
)
def test_a_run_that_usually_ends_too_late_for_the_objective_is_a_warning(
    schedule: str, rpo: int, usual: int | None, *, warned: bool
):
    seen = ScheduleSeen("app-db", schedule, "Etc/UTC")
    takes = None if usual is None else timedelta(minutes=usual)

    found = accepted(ACCEPTED, seen, timedelta(minutes=rpo), takes)

    assert ("Warning: runs are up to 1h apart and usually take" in found.message) is warned
    assert (found.status, found.reason) == (TRUE, Reason.ACCEPTED)
    assert accepted(ACCEPTED, replace(seen, suspended=True), timedelta(minutes=rpo), takes) == ACCEPTED
    assert accepted(REFUSED, seen, timedelta(minutes=rpo), takes) == REFUSED


def test_without_a_cronjob_no_command_is_named_that_needs_one():
    said = last_run_succeeded(Runs(namespace="prod", cronjob=""))
    assert said.message == "No run has ended yet."
    after_a_failure = last_run_succeeded(Runs(namespace="prod", cronjob="", last_failed=failed()))
    assert "cronjob/" not in after_a_failure.message


def test_ready_is_the_first_that_is_not_true_and_names_the_others():
    findings = {
        ConditionType.PLAUSIBLE: Finding(FALSE, Reason.ROWS_COLLAPSED, "none left"),
        ConditionType.FRESH: Finding(UNKNOWN, Reason.INVALID_SPEC, "who knows"),
        ConditionType.ACCEPTED: ACCEPTED,
        ConditionType.SCHEDULED: Finding(TRUE, Reason.SCHEDULED, "yes"),
        ConditionType.LAST_RUN_SUCCEEDED: Finding(FALSE, Reason.STORAGE_FULL, "No room."),
        ConditionType.STORAGE_AVAILABLE: Finding(FALSE, Reason.STORAGE_FULL, "none at all"),
    }

    assert ready(findings) == Finding(
        FALSE,
        Reason.STORAGE_FULL,
        "LastRunSucceeded (and StorageAvailable, Plausible): No room.",
    )


def test_ready_is_true_when_every_condition_that_applies_is():
    findings: dict[ConditionType, Finding] = {
        kind: Finding(TRUE, Reason.ACCEPTED, "well") for kind in ConditionType if kind != ConditionType.READY
    }

    assert ready(findings) == Finding(TRUE, Reason.READY, "well")


def test_a_condition_keeps_its_time_while_its_status_stays():
    before = (
        _condition(ConditionType.FRESH, TRUE, NOW - HOUR),
        _condition(ConditionType.ACCEPTED, TRUE, NOW - HOUR),
    )
    findings = {
        ConditionType.ACCEPTED: Finding(TRUE, Reason.ACCEPTED, "another message"),
        ConditionType.FRESH: Finding(FALSE, Reason.OBJECTIVE_EXCEEDED, "old"),
    }

    accepted, freshness = as_conditions(findings, before, generation=2, now=NOW)

    assert (accepted.last_transition_time, accepted.observed_generation) == (NOW - HOUR, 2)
    assert freshness.last_transition_time == NOW


def assert_found(found: Finding, case: Case) -> None:
    assert (found.status, found.reason) == (case.status, case.reason)
    assert [word for word in case.words if word not in found.message] == [], found.message


def _condition(kind: ConditionType, status: ConditionStatus, since: datetime) -> Condition:
    return Condition(type=kind.value, status=status, last_transition_time=since, reason="Any", message="any")


def test_the_command_for_a_run_makes_a_job_of_a_new_name_each_time():
    cronjob = "a" * 39 + ".database"

    command = Runs(namespace="prod", cronjob=cronjob).start_one

    assert command == f"kubectl -n prod create job --from=cronjob/{cronjob} {'a' * 39}-$(date +%s)"

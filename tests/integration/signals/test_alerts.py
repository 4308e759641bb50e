"""Every alert with promtool: it fires, it does not fire, it clears, and it outlives a restart of the operator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.signals.scenes import Judge, Scene, Series, condition, of_policy

HOUR = 3600
DAY = 24 * HOUR
LEADER: Series = {'leader{lease="backup-operator/backup-operator"}': 1}

INFO: Series = {'policy_info{namespace="prod",policy="app-db",lease="backup-operator/backup-operator"}': 1}


def now(minute: int) -> float:
    return 60 * minute


def in_two_days(minute: int) -> float:
    return now(minute) + 2 * DAY


def in_two_weeks(minute: int) -> float:
    return now(minute) + 14 * DAY


@dataclass(frozen=True)
class Case:
    """An alert, and series that must and must not bring it about."""

    alert: str
    trouble: Series
    well: Series


def of_condition(alert: str, kind: str, reason: str, well: str) -> Case:
    return Case(alert, condition(kind, "False", reason), condition(kind, "True", well))


CASES = [
    Case(
        "BackupStale",
        of_policy(last_success_started_timestamp_seconds=-2 * HOUR, objective_rpo_seconds=HOUR),
        of_policy(last_success_started_timestamp_seconds=now, objective_rpo_seconds=HOUR),
    ),
    Case(
        "BackupNeverSucceeded",
        of_policy(policy_created_timestamp_seconds=-2 * HOUR, objective_rpo_seconds=HOUR),
        of_policy(
            policy_created_timestamp_seconds=-2 * HOUR,
            objective_rpo_seconds=HOUR,
            last_success_started_timestamp_seconds=now,
        ),
    ),
    of_condition("BackupFailed", "LastRunSucceeded", "AuthenticationFailed", "Succeeded"),
    Case(
        "BackupRunStuck",
        of_policy(
            active_run_started_timestamp_seconds=-2 * HOUR,
            last_success_duration_seconds=60,
            objective_rpo_seconds=25 * HOUR,
        ),
        of_policy(last_success_duration_seconds=60, objective_rpo_seconds=25 * HOUR),
    ),
    of_condition("BackupStorageUnavailable", "StorageAvailable", "UsageAboveLimit", "BelowLimit"),
    Case(
        "BackupStorageFullSoon",
        of_policy(storage_full_timestamp_seconds=in_two_days),
        of_policy(storage_full_timestamp_seconds=in_two_weeks),
    ),
    of_condition("BackupRetentionBlocked", "Retained", "RetentionBlocked", "Applied"),
    of_condition("BackupImplausible", "Plausible", "RowsCollapsed", "InLine"),
    of_condition("BackupNotScheduled", "Accepted", "InvalidSpec", "Accepted"),
    Case(
        "BackupMetricsAbsent",
        {**LEADER, **INFO},
        {**LEADER, **INFO, **condition("Ready", "True", "Ready")},
    ),
    Case("BackupOperatorDown", {}, LEADER),
]
RESTARTING = [case for case in CASES if case.alert != "BackupOperatorDown"]
BY_ALERT = {case.alert: case for case in CASES}


@pytest.fixture
def judge(rules: dict[str, Any], tmp_path: Path) -> Judge:
    return Judge(rules, tmp_path)


def test_every_alert_is_among_the_cases(rules: dict[str, Any]):
    assert {rule["alert"] for group in rules["groups"] for rule in group["rules"]} == BY_ALERT.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_fires(judge: Judge, case: Case):
    judge.firing(case.alert, Scene().phase(30, case.trouble), {20: True})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_does_not_fire_when_all_is_well(judge: Judge, case: Case):
    judge.firing(case.alert, Scene().phase(60, case.well), dict.fromkeys(range(1, 60), False))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_clears(judge: Judge, case: Case):
    scene = Scene().phase(30, case.trouble).phase(30, case.well)

    judge.firing(case.alert, scene, {29: True, 41: False, 59: False})


@pytest.mark.parametrize("case", RESTARTING, ids=lambda case: case.alert)
def test_outlives_a_restart_of_the_operator(judge: Judge, case: Case):
    scene = Scene().phase(30, case.trouble, pod="a").gap(5).phase(30, case.trouble, pod="b")

    judge.firing(case.alert, scene, dict.fromkeys(range(25, 65), True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_a_restart_fires_nothing(judge: Judge, case: Case):
    scene = Scene().phase(30, case.well, pod="a").gap(4).phase(30, case.well, pod="b")

    judge.firing(case.alert, scene, dict.fromkeys(range(1, 64), False))


def test_a_backup_is_stale_from_its_deadline_on(judge: Judge):
    scene = Scene().phase(90, of_policy(last_success_started_timestamp_seconds=0, objective_rpo_seconds=HOUR))

    judge.firing("BackupStale", scene, {60: False, 70: False, 71: True, 89: True})


def test_a_run_that_makes_it_fresh_within_minutes_wakes_nobody(judge: Judge):
    case = BY_ALERT["BackupStale"]
    scene = Scene().phase(10, case.well).phase(9, case.trouble).phase(20, case.well)

    judge.firing("BackupStale", scene, dict.fromkeys(range(39), False))


def test_a_backup_of_the_future_is_stale_where_its_condition_says_so(judge: Judge):
    figures = of_policy(last_success_started_timestamp_seconds=9 * DAY, objective_rpo_seconds=HOUR)
    scene = Scene().phase(30, {**figures, **condition("Fresh", "False", "ObjectiveExceeded")})

    judge.firing("BackupStale", scene, {9: False, 10: True, 29: True})
    judge.words(
        "BackupStale",
        scene,
        20,
        {
            "summary": "The newest backup of prod/app-db claims to begin in the future",
            "description": "A clock was or is wrong: how old the newest backup is, nobody can tell. "
            "What is wrong: kubectl -n prod describe bp app-db",
            "runbook": "kubectl -n backup-operator get configmap backup-operator-runbooks "
            "-o jsonpath='{.data.BackupStale}'",
        },
    )


@pytest.mark.parametrize(
    ("full_at", "words"), [(20 * 60 + 2 * DAY, "will be full in 2d 0h 0m 0s"), (HOUR / 4, "should be full by now")]
)
def test_a_volume_is_full_soon_or_by_now(judge: Judge, full_at: float, words: str):
    scene = Scene().phase(30, of_policy(storage_full_timestamp_seconds=full_at))
    runbook = "kubectl -n backup-operator get configmap backup-operator-runbooks -o jsonpath='{.data.%s}'"
    description = (
        "That is what the sizes of the last runs foretell; a long weekend may pass before someone looks again. "
        "Use and outlook: kubectl -n prod get bp app-db -o jsonpath='{.status.storage}'"
    )

    judge.words(
        "BackupStorageFullSoon",
        scene,
        20,
        {
            "summary": f"The volume for backups of prod/app-db {words}",
            "description": description,
            "runbook": runbook % "BackupStorageFullSoon",
        },
    )


def test_retention_that_is_blocked_between_two_runs_alone_wakes_nobody(judge: Judge):
    case = BY_ALERT["BackupRetentionBlocked"]
    scene = Scene().phase(10, case.well).phase(9, case.trouble).phase(20, case.well)

    judge.firing("BackupRetentionBlocked", scene, dict.fromkeys(range(39), False))


def test_a_new_policy_has_as_long_as_its_objective_says(judge: Judge):
    scene = Scene().phase(90, of_policy(policy_created_timestamp_seconds=0, objective_rpo_seconds=HOUR))

    judge.firing("BackupNeverSucceeded", scene, {1: False, 60: False, 61: True})


def test_a_policy_that_never_succeeded_is_not_called_stale(judge: Judge):
    judge.firing("BackupStale", Scene().phase(30, BY_ALERT["BackupNeverSucceeded"].trouble), {20: False})


def test_a_failure_that_the_next_try_mends_wakes_nobody(judge: Judge):
    case = BY_ALERT["BackupFailed"]
    scene = Scene().phase(10, case.well).phase(4, case.trouble).phase(20, case.well)

    judge.firing("BackupFailed", scene, dict.fromkeys(range(34), False))


def test_an_alert_is_the_same_one_when_the_reason_changes(judge: Judge):
    first, then = (condition("LastRunSucceeded", "False", reason) for reason in ("ConnectionRefused", "StorageFull"))

    judge.firing("BackupFailed", Scene().phase(15, first).phase(15, then), dict.fromkeys(range(6, 30), True))


def test_a_run_that_takes_long_as_always_is_not_stuck(judge: Judge):
    figures = {"last_success_duration_seconds": 5 * HOUR, "objective_rpo_seconds": 25 * HOUR}
    scene = Scene().phase(120, of_policy(active_run_started_timestamp_seconds=-10 * HOUR, **figures))

    judge.firing("BackupRunStuck", scene, {20: False, 119: False})


def test_a_first_run_is_stuck_when_it_takes_longer_than_the_objective(judge: Judge):
    scene = Scene().phase(90, of_policy(active_run_started_timestamp_seconds=0, objective_rpo_seconds=HOUR))

    judge.firing("BackupRunStuck", scene, {60: False, 61: True})


def test_a_volume_that_is_unavailable_is_not_also_full_soon(judge: Judge):
    series = {**BY_ALERT["BackupStorageFullSoon"].trouble, **BY_ALERT["BackupStorageUnavailable"].trouble}

    judge.firing("BackupStorageFullSoon", Scene().phase(30, series), {20: False})
    judge.firing("BackupStorageUnavailable", Scene().phase(30, series), {20: True})


def test_a_suspended_policy_is_no_fault(judge: Judge):
    judge.firing("BackupNotScheduled", Scene().phase(30, condition("Scheduled", "False", "Suspended")), {20: False})


def test_a_policy_that_was_deleted_is_told_for_two_hours(judge: Judge):
    scene = Scene().phase(30, BY_ALERT["BackupMetricsAbsent"].well).phase(180, LEADER)

    judge.firing("BackupMetricsAbsent", scene, {35: False, 41: True, 140: True, 170: False})


def test_an_operator_that_is_down_is_one_alert_and_not_one_for_every_policy(judge: Judge):
    scene = Scene().phase(30, BY_ALERT["BackupMetricsAbsent"].well).gap(60)

    judge.firing("BackupMetricsAbsent", scene, {60: False})
    judge.firing("BackupOperatorDown", scene, {31: False, 36: True, 89: True})


@pytest.mark.parametrize(("up", "away"), [(2, 2), (1, 5), (3, 3), (1, 12)])
def test_an_operator_in_a_crash_loop_is_down(judge: Judge, up: int, away: int):
    scene = Scene().phase(60, LEADER)
    for _ in range(60 // (up + away)):
        scene.gap(away).phase(up, LEADER)

    judge.firing("BackupOperatorDown", scene, {59: False} | dict.fromkeys(range(85, 110), True))


def test_a_crash_loop_is_over_five_minutes_after_the_last_crash(judge: Judge):
    scene = Scene().phase(30, LEADER)
    for _ in range(10):
        scene.gap(2).phase(2, LEADER)

    judge.firing("BackupOperatorDown", scene.phase(30, LEADER), {69: True, 80: False, 99: False})


def test_an_operator_that_waits_for_the_lease_is_not_at_work(judge: Judge):
    waiting = dict.fromkeys(LEADER, 0)

    judge.firing("BackupOperatorDown", Scene().phase(30, waiting), {20: True})


def test_the_operator_of_another_release_does_not_count(judge: Judge):
    judge.firing("BackupOperatorDown", Scene().phase(30, {'leader{lease="other/other"}': 1}), {20: True})


def test_the_policies_of_another_release_are_not_told_to_be_absent(judge: Judge):
    other = {
        'leader{lease="other/other"}': 1.0,
        'policy_info{namespace="b",policy="of-other",lease="other/other"}': 1.0,
    }
    scene = Scene().phase(30, {**LEADER, **other}).phase(60, LEADER)

    judge.firing("BackupMetricsAbsent", scene, dict.fromkeys(range(90), False))


def test_policies_of_a_release_that_is_down_are_no_alerts_of_their_own_beside_another(judge: Judge):
    scene = Scene().phase(30, {**BY_ALERT["BackupMetricsAbsent"].well, 'leader{lease="other/other"}': 1})

    scene.phase(60, {'leader{lease="other/other"}': 1})

    judge.firing("BackupMetricsAbsent", scene, dict.fromkeys(range(90), False))


def test_an_alert_says_what_is_wrong_and_what_to_type(judge: Judge):
    scene = Scene().phase(30, BY_ALERT["BackupFailed"].trouble)

    judge.words(
        "BackupFailed",
        scene,
        20,
        {
            "summary": "The last backup run of prod/app-db failed",
            "description": "Reason: AuthenticationFailed. Earlier backups are as they were. The words and the hint: "
            "kubectl -n prod get bp app-db -o jsonpath='{.status.message}'",
            "runbook": "kubectl -n backup-operator get configmap backup-operator-runbooks "
            "-o jsonpath='{.data.BackupFailed}'",
        },
    )

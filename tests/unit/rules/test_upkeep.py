"""Retained, StorageAvailable and Plausible: a table of what is known, and what is said about it."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backup_operator.api.backuppolicy import (
    ActiveBackup,
    BackupPolicyStatus,
    ComparisonStatus,
    FailedBackup,
    NextToGo,
    OtherFiles,
    RetentionStatus,
    StorageStatus,
)
from backup_operator.rules.conditions import Finding
from backup_operator.rules.upkeep import plausible, retained, storage_available
from backup_operator.vocabulary.reasons import Reason
from tests.support.upkeep_cases import (
    ACCEPT,
    DRY,
    FALSE,
    GIB,
    HOUR,
    NOW,
    TRUE,
    WISH,
    Case,
    applied,
    out_of_line,
    preview,
    runs,
)

ABSENT = None
RETAINED = {
    "nothing is known": Case({}, ABSENT),
    "an inventory alone, nothing was to be applied yet": Case(
        {"retention": RetentionStatus(kept=3, preview=preview(2), rules_digest="now")}, ABSENT
    ),
    "nothing had to go": Case(
        {"retention": applied()}, TRUE, Reason.APPLIED, ("at 2026-11-24T11:00:00Z: kept 12, deleted nothing.",)
    ),
    "some went": Case(
        {
            "retention": applied(
                deleted=7,
                deleted_names=("backup_1", "backup_2"),
                freed_bytes=3 * GIB,
                next_to_go=NextToGo(name="backup_3", at=NOW + 14 * HOUR),
            )
        },
        TRUE,
        Reason.APPLIED,
        (
            "deleted 7 backups (backup_1, backup_2, …), 3.0 GiB freed.",
            "Next to go: backup_3, after the run of 2026-11-25T02:00:00Z.",
        ),
    ),
    "the floor alone keeps one": Case(
        {"retention": applied(held_back=1)}, TRUE, Reason.FLOOR_REACHED, ("1 stays only by spec.retention.minimum.",)
    ),
    "it was stopped": Case(
        {"retention": applied(stopped="the volume is read-only")},
        FALSE,
        Reason.NOT_YET_APPLIED,
        ("Retention was stopped: the volume is read-only.", "kubectl -n prod create job --from=cronjob/app-db"),
    ),
    "one is there yet because a restore reads it": Case(
        {"retention": applied(left=("backup_1: a restore reads it",))},
        TRUE,
        Reason.APPLIED,
        ("To go later: backup_1: a restore reads it.",),
    ),
    "a good run whose report was lost": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR)},
        FALSE,
        Reason.NOT_YET_APPLIED,
        ("ran last at 2026-11-23T11:00:00Z and is not known to have run after backup_9",),
    ),
    "a good run whose report was lost, and the store tells that nothing is to go": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR, preview=preview(0))}, TRUE, Reason.APPLIED
    ),
    "a good run whose report was lost, and the store tells that some should have gone": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR, preview=preview(2))}, FALSE, Reason.NOT_YET_APPLIED
    ),
    "a dry run was released, and no run came since": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR, dry_run_at=NOW - HOUR, preview=preview(2, at=NOW - HOUR))},
        TRUE,
        Reason.APPLIED,
        (
            "dryRun was on; the next good run applies the rules. By the present rules the next good run deletes",
            "2 backups (backup_0, backup_1), 2.0 GiB. To hold it back",
        ),
    ),
    "a dry run was released, and the report of a run since was lost": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR, dry_run_at=NOW - 2 * HOUR, preview=preview(2))},
        FALSE,
        Reason.NOT_YET_APPLIED,
    ),
    "a good run whose report is still to come": Case(
        {"retention": applied(applied_at=NOW - 25 * HOUR)},
        TRUE,
        Reason.APPLIED,
        runs=runs(active=ActiveBackup(job_name="app-db-2", since=NOW - HOUR)),
    ),
    "some are held while the newest is implausible": Case(
        {"retention": applied(blocked=2), "comparison": out_of_line()},
        FALSE,
        Reason.RETENTION_BLOCKED,
        ("2 backups that should go by the rules are kept", "everything from before backup_8", ACCEPT),
    ),
    "some are held and the change is accepted": Case(
        {"retention": applied(blocked=1), "comparison": out_of_line()},
        TRUE,
        Reason.APPLIED,
        ("1 backup that was held goes with the next good run.",),
        replace(WISH, accepted_run="backup_9"),
    ),
    "the rules have changed and the store was not asked yet": Case(
        {"retention": applied()},
        TRUE,
        Reason.APPLIED,
        ("The rules have changed since",),
        replace(WISH, retention_digest="later"),
    ),
    "the rules have changed and the store was asked": Case(
        {"retention": applied(preview=preview(6))},
        TRUE,
        Reason.APPLIED,
        (
            "the next good run deletes 6 backups (backup_0, backup_1, backup_2, backup_3, backup_4, …), 6.0 GiB.",
            """kubectl -n prod patch bp app-db --type merge -p '{"spec":{"retention":{"dryRun":true}}}'""",
        ),
    ),
    "a dry run of which nothing is known": Case({}, ABSENT, wish=DRY),
    "a dry run that was just asked for": Case(
        {"retention": applied()}, TRUE, Reason.DRY_RUN, ("nothing is deleted.", "is being read"), DRY
    ),
    "a dry run that deletes nothing": Case(
        {"retention": RetentionStatus(kept=3, preview=preview(0), rules_digest="now")},
        TRUE,
        Reason.DRY_RUN,
        ("nothing would be deleted; 3 backups would stay.",),
        DRY,
    ),
    "a dry run": Case(
        {"retention": RetentionStatus(kept=3, preview=preview(1), rules_digest="now")},
        TRUE,
        Reason.DRY_RUN,
        (
            "1 backup (backup_0), 1.0 GiB, would be deleted; 3 would stay.",
            """kubectl -n prod patch bp app-db --type merge -p '{"spec":{"retention":{"dryRun":false}}}'""",
        ),
        DRY,
    ),
    "a dry run after an edit, while only the effect of the old rules is known": Case(
        {"retention": applied(rules_digest="before", preview=preview(1), blocked=2), "backup_count": 3},
        TRUE,
        Reason.DRY_RUN,
        ("nothing is deleted. What would be deleted is being read from the store. To have the rules applied",),
        DRY,
    ),
    "a dry run after an edit, while the old rules could not be planned": Case(
        {"retention": applied(rules_digest="before", stopped="the time zone is unknown")},
        TRUE,
        Reason.DRY_RUN,
        ("is being read from the store.",),
        DRY,
    ),
    "a dry run after an edit of the rules of an empty store, which nobody reads": Case(
        {"retention": applied(rules_digest="before"), "backup_count": 0},
        TRUE,
        Reason.DRY_RUN,
        ("The store holds no backup, so nothing would be deleted.",),
        DRY,
    ),
    "a dry run that could not be planned": Case(
        {"retention": RetentionStatus(stopped="the time zone is unknown", rules_digest="now")},
        FALSE,
        Reason.NOT_YET_APPLIED,
        wish=DRY,
    ),
    "a dry run while something is held": Case(
        {"retention": applied(kept=3, preview=preview(0), blocked=2), "comparison": out_of_line()},
        TRUE,
        Reason.DRY_RUN,
        ("2 backups more are held while the newest one is implausible.",),
        DRY,
    ),
    "a dry run while what was held is free again": Case(
        {"retention": applied(kept=3, preview=preview(0), blocked=2), "comparison": out_of_line()},
        TRUE,
        Reason.DRY_RUN,
        ("2 backups that were held would go too, as the change is accepted.",),
        replace(DRY, accepted_run="backup_9"),
    ),
}


@pytest.mark.parametrize("case", RETAINED.values(), ids=RETAINED.keys())
def test_retained(case: Case):
    assert_found(retained(BackupPolicyStatus(**case.known), case.runs, case.wish), case)


def storage(percent: int, **changes: Any) -> StorageStatus:
    known = {"used_bytes": percent * GIB // 5, "capacity_bytes": 20 * GIB, "store_bytes": 3 * GIB}
    return StorageStatus(**{**known, "used_percent": percent, **changes})


def failed(reason: Reason, age: timedelta = timedelta()) -> FailedBackup:
    return FailedBackup(
        started_at=NOW - age - HOUR, completed_at=NOW - age, reason=reason, message="no room", hint="make room"
    )


STORAGE = {
    "nothing is known": Case({}, ABSENT),
    "well below": Case(
        {"storage": storage(25)},
        TRUE,
        Reason.BELOW_LIMIT,
        ("Claim backups: 5.0 GiB of 20.0 GiB used (25 %), below the limit of 90 %. This store holds 3.0 GiB.",),
    ),
    "at the limit": Case({"storage": storage(90)}, TRUE, Reason.BELOW_LIMIT),
    "above it": Case(
        {"storage": storage(91)},
        FALSE,
        Reason.USAGE_ABOVE_LIMIT,
        (
            "18.2 GiB of 20.0 GiB used (91 %), above spec.storage.usageLimitPercent, 90 %.",
            "kubectl -n prod edit bp app-db",
            """kubectl -n prod patch pvc backups --type merge -p """
            """'{"spec":{"resources":{"requests":{"storage":"30Gi"}}}}'""",
        ),
    ),
    "above another limit": Case(
        {"storage": storage(51)}, FALSE, Reason.USAGE_ABOVE_LIMIT, wish=replace(WISH, usage_limit_percent=50)
    ),
    "full within sight": Case(
        {"storage": storage(60, full_at=NOW + 48 * HOUR)}, TRUE, Reason.BELOW_LIMIT, ("full on 2026-11-26.",)
    ),
    "files of others": Case(
        {"storage": storage(5), "other_files": OtherFiles(old_scripts=3, foreign=1, names=("a.gpg", "b"))},
        TRUE,
        Reason.BELOW_LIMIT,
        ("never deleted: 3 of the old scripts and 1 of others (a.gpg, b, …).",),
    ),
    "the newest run found no room": Case(
        {"storage": storage(60)},
        FALSE,
        Reason.STORAGE_FULL,
        ("could not use the volume: no room. Hint: make room.", "60 % of claim backups"),
        runs=runs(last_failed=failed(Reason.STORAGE_FULL)),
    ),
    "the newest run found no claim, and nothing else is known": Case(
        {}, FALSE, Reason.CLAIM_MISSING, runs=runs(last_good=None, last_failed=failed(Reason.CLAIM_MISSING))
    ),
    "an inventory of a policy made again found no claim": Case(
        {},
        FALSE,
        Reason.CLAIM_MISSING,
        ("The store could not be read: ClaimMissing: no claim backups.",),
        runs=runs(
            last_good=None, inventory_reason=Reason.CLAIM_MISSING, inventory_words="ClaimMissing: no claim backups"
        ),
    ),
    "an inventory lacked its passphrase": Case(
        {}, ABSENT, runs=runs(inventory_reason=Reason.SECRET_MISSING, inventory_words="SecretMissing: no key")
    ),
    "an earlier run found no room": Case(
        {"storage": storage(60)},
        TRUE,
        Reason.BELOW_LIMIT,
        runs=runs(last_failed=failed(Reason.STORAGE_FULL, age=5 * HOUR)),
    ),
    "the newest run failed for another reason": Case(
        {"storage": storage(60)}, TRUE, Reason.BELOW_LIMIT, runs=runs(last_failed=failed(Reason.LOCK_TIMEOUT))
    ),
}
STORAGE |= {
    f"the newest run ended with {reason.value}": Case(
        {"storage": storage(60)}, FALSE, reason, runs=runs(last_failed=failed(reason))
    )
    for reason in (
        Reason.QUOTA_EXCEEDED,
        Reason.CLAIM_PENDING,
        Reason.CLAIM_READ_ONLY,
        Reason.STORE_PERMISSION,
        Reason.STORAGE_FAILED,
    )
}


@pytest.mark.parametrize("case", STORAGE.values(), ids=STORAGE.keys())
def test_storage_available(case: Case):
    assert_found(storage_available(BackupPolicyStatus(**case.known), case.runs, case.wish), case)


PLAUSIBLE = {
    "nothing is known": Case({}, ABSENT),
    "the first backup": Case(
        {"comparison": ComparisonStatus(run="backup_9", compared_with=0)},
        TRUE,
        Reason.NOTHING_TO_COMPARE,
        ("no earlier backup to compare backup_9 with",),
    ),
    "in line": Case(
        {"comparison": ComparisonStatus(run="backup_9", compared_with=1)},
        TRUE,
        Reason.IN_LINE,
        ("in line with the 1 backup before it",),
    ),
    "out of line": Case(
        {"comparison": out_of_line()},
        FALSE,
        Reason.ROWS_COLLAPSED,
        ("backup_9 holds 3 rows; expected about 900.", "from before backup_8", ACCEPT),
    ),
    "accepted by the newest run": Case(
        {"comparison": out_of_line()},
        TRUE,
        Reason.CHANGE_ACCEPTED,
        ("A person has accepted it.",),
        replace(WISH, accepted_run="backup_9"),
    ),
    "accepted by the first run that is out of line": Case(
        {"comparison": out_of_line()}, TRUE, Reason.CHANGE_ACCEPTED, wish=replace(WISH, accepted_run="backup_8")
    ),
    "another change was accepted before": Case(
        {"comparison": out_of_line()},
        FALSE,
        Reason.ROWS_COLLAPSED,
        ("The accepted run is backup_7, which is not it.",),
        replace(WISH, accepted_run="backup_7"),
    ),
    "a run to come accepts nothing": Case(
        {"comparison": out_of_line()}, FALSE, Reason.ROWS_COLLAPSED, wish=replace(WISH, accepted_run="backup_99")
    ),
    "the worker knows that it was accepted": Case(
        {"comparison": ComparisonStatus(run="backup_9", compared_with=0, accepted=True)},
        TRUE,
        Reason.CHANGE_ACCEPTED,
        ("backup_9 differs from older backups",),
    ),
}
PLAUSIBLE |= {
    reason.value: Case({"comparison": out_of_line(reason=reason)}, FALSE, reason)
    for reason in (Reason.SIZE_COLLAPSED, Reason.KEYS_COLLAPSED, Reason.TABLE_VANISHED)
}


@pytest.mark.parametrize("case", PLAUSIBLE.values(), ids=PLAUSIBLE.keys())
def test_plausible(case: Case):
    assert_found(plausible(BackupPolicyStatus(**case.known), case.wish), case)


JUDGED: Mapping[str, tuple[Mapping[str, Case], Callable[[Case], Finding | None]]] = {
    "Retained": (RETAINED, lambda case: retained(BackupPolicyStatus(**case.known), case.runs, case.wish)),
    "StorageAvailable": (
        STORAGE,
        lambda case: storage_available(BackupPolicyStatus(**case.known), case.runs, case.wish),
    ),
    "Plausible": (PLAUSIBLE, lambda case: plausible(BackupPolicyStatus(**case.known), case.wish)),
}


@pytest.mark.parametrize("kind", JUDGED)
def test_a_command_at_the_end_of_a_message_can_be_typed(kind: str):
    cases, judge = JUDGED[kind]
    found = [finding.message for case in cases.values() if (finding := judge(case)) is not None]
    commands = [shlex.split("kubectl" + message.rpartition("kubectl")[2]) for message in found if "kubectl" in message]

    assert commands
    for command in commands:
        assert command[:3] == ["kubectl", "-n", "prod"]
        assert command[3] in ("create", "annotate", "patch")
        if command[3] == "patch":
            assert json.loads(command[-1])["spec"]


def assert_found(found: Finding | None, case: Case) -> None:
    assert (found and found.status, found and found.reason) == (case.status, case.reason)
    message = found.message if found else ""
    assert [word for word in case.words if word not in message] == [], message

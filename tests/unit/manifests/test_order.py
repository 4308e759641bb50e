"""What the orders of a policy's workers say of retention, of what a person accepted, and of the heartbeat."""

from datetime import timedelta
from typing import Any

import pytest

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.meta import ACCEPTED_ANNOTATION
from backup_operator.contract.order import RetentionOrder
from backup_operator.manifests.order import backup_order, claim_of, inventory_order, secret_mounts, store_of
from tests.unit.manifests.policies import policy


def rules(**retention: Any) -> RetentionOrder:
    """The retention of both orders, which is one."""
    one = policy(retention=retention)
    order = backup_order(one).retention
    assert order is not None
    assert inventory_order(one).retention == order
    return order


def accepting(run: str) -> BackupPolicy:
    one = policy()
    metadata = one.metadata.model_copy(update={"annotations": {ACCEPTED_ANNOTATION: run}})
    return one.model_copy(update={"metadata": metadata})


def test_a_policy_that_states_nothing_keeps_thirty_days_and_three_backups():
    order = rules()

    assert order == RetentionOrder(max_age=timedelta(days=30), minimum=3, digest=order.digest)


def test_a_stated_rule_takes_the_place_of_the_thirty_days():
    order = rules(keepDaily=7, minimum=5)

    assert order == RetentionOrder(keep_daily=7, minimum=5, digest=order.digest)


def test_every_rule_is_handed_on():
    stated = {"keepLast": 1, "keepDaily": 2, "keepWeekly": 3, "keepMonthly": 4, "keepYearly": 5, "minimum": 6}

    order = rules(maxAge="36h", dryRun=True, **stated)

    assert order == RetentionOrder(
        max_age=timedelta(hours=36),
        keep_last=1,
        keep_daily=2,
        keep_weekly=3,
        keep_monthly=4,
        keep_yearly=5,
        minimum=6,
        dry_run=True,
        digest=order.digest,
    )


def test_days_are_those_of_the_policys_zone():
    order = backup_order(policy(timeZone="Europe/Berlin")).retention

    assert order is not None
    assert order.time_zone == "Europe/Berlin"


def test_the_digest_tells_rules_apart_and_a_dry_run_not():
    in_berlin = backup_order(policy(timeZone="Europe/Berlin")).retention
    assert in_berlin is not None
    digests = [rules().digest, rules(keepLast=9).digest, rules(minimum=4).digest, in_berlin.digest]

    assert len(set(digests)) == 4
    assert rules(dryRun=True).digest == rules(maxAge="30d", minimum=3).digest == digests[0]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("backup_20261124_020000", "backup_20261124_020000"),
        (" redis_20261124_020000\n", "redis_20261124_020000"),
        ("yes", ""),
        ("backup_20261124_029900", ""),
        ("x" * 100_000, ""),
    ],
    ids=["a run", "with blanks", "no run", "no time", "too long for an order"],
)
def test_what_a_person_accepted_is_in_both_orders(annotation: str, expected: str):
    one = accepting(annotation)

    assert (backup_order(one).accepted_run, inventory_order(one).accepted_run) == (expected, expected)


def test_nothing_is_accepted_by_itself():
    assert (backup_order(policy()).accepted_run, inventory_order(policy()).accepted_run) == ("", "")


def test_the_heartbeats_url_is_a_file_that_only_backups_mount():
    one = policy(notify={"heartbeatUrlSecretRef": {"name": "app", "key": "HEARTBEAT_URL"}})

    heartbeat = backup_order(one).heartbeat

    assert heartbeat is not None
    assert heartbeat.path == "/etc/backup-operator/secrets/heartbeat/HEARTBEAT_URL"
    assert heartbeat.described == "key HEARTBEAT_URL of Secret prod/app"
    assert heartbeat.path in {mount.path for mount in secret_mounts(one)}
    assert backup_order(policy()).heartbeat is None
    assert "heartbeat" not in {mount.role for mount in secret_mounts(policy())}


def test_a_store_on_a_claim_of_a_template_is_found_by_the_policys_name():
    one = policy(storage={"claimTemplate": {"size": "1Gi"}})

    assert claim_of(one) == "app-db-backups"
    assert store_of(one) == "app-db-backups:prod/app-db"
    assert backup_order(one).store.described == "claim prod/app-db-backups"

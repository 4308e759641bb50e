"""Edits of retention and accepted changes on a real API server: what they start, and what workers are then asked."""

import json
from typing import Any

from tests.integration.controller.operating import OperatorProcess
from tests.integration.controller.test_policies import OURS, POLICY, policy, wait_for
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until

ORDER = "backup.agentsflow.ai/order"


def inventories(namespace: Namespace) -> dict[str, dict[str, Any]]:
    """The orders of the inventories that are there, by Job."""
    jobs = namespace.list("job", f"{OURS},backup.agentsflow.ai/work=inventory")
    return {job["metadata"]["name"]: _order(job["spec"]["template"]) for job in jobs}


def backup_order(namespace: Namespace) -> dict[str, Any]:
    """What the CronJob's workers are asked."""
    cronjob = namespace.find("cronjob", "app-db")
    return _order(cronjob["spec"]["jobTemplate"]["spec"]["template"]) if cronjob else {}


def _order(template: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(template["metadata"]["annotations"][ORDER]))


def known_policy(operator: OperatorProcess, namespace: Namespace, **spec: Any) -> None:
    """A policy of whose store and rules an operator has known before, with one that starts now."""
    operator.stop()
    namespace.apply(policy(**spec))
    status = {
        "store": f"backups:{namespace.name}/app-db",
        "backupCount": 3,
        "retention": {"rulesDigest": "of-before"},
    }
    patch = json.dumps({"status": status})
    namespace.kubectl("patch", POLICY, "app-db", "--subresource=status", "--type=merge", f"--patch={patch}")
    operator.start()
    wait_for(namespace, Scheduled="Scheduled")


def test_each_change_of_the_rules_is_tried_in_an_inventory_of_its_own(operator: OperatorProcess, namespace: Namespace):
    known_policy(operator, namespace, retention={"keepLast": 5})
    first = wait_until(lambda: inventories(namespace), len, for_what="an inventory")

    namespace.patch(POLICY, "app-db", {"spec": {"retention": {"keepLast": 7, "dryRun": True}}})
    wait_until(
        lambda: backup_order(namespace)["retention"]["keep_last"], lambda found: found == 7, for_what="the new rules"
    )
    waiting = inventories(namespace)
    namespace.delete("job", next(iter(first)))

    second = wait_until(lambda: inventories(namespace), len, for_what="another inventory")
    assert waiting == first, "one at a time"
    assert first.keys().isdisjoint(second)
    (order,) = second.values()
    assert (order["retention"]["keep_last"], order["retention"]["dry_run"]) == (7, True)
    assert order["retention"] == backup_order(namespace)["retention"]


def test_what_a_person_accepts_is_in_the_next_order_at_once(operator: OperatorProcess, namespace: Namespace):
    known_policy(operator, namespace)
    run = "backup_20261124_020000"

    namespace.kubectl("annotate", POLICY, "app-db", "--overwrite", f"backup.agentsflow.ai/accepted-backup={run}")

    wait_until(
        lambda: backup_order(namespace)["accepted_run"],
        lambda found: found == run,
        for_what="the order",
    )


def test_the_heartbeats_secret_is_mounted_by_runs(operator: OperatorProcess, namespace: Namespace):
    known_policy(operator, namespace, notify={"heartbeatUrlSecretRef": {"name": "app", "key": "HEARTBEAT_URL"}})

    order = wait_until(lambda: backup_order(namespace), bool, for_what="the CronJob")

    assert order["heartbeat"]["path"] == "/etc/backup-operator/secrets/heartbeat/HEARTBEAT_URL"
    template = namespace.get("cronjob", "app-db")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = [one for one in template["volumes"] if one["name"] == "secret-heartbeat"]
    assert volume["secret"]["optional"] is True


def test_a_moved_clock_moves_the_operators_and_the_workers(operator: OperatorProcess, namespace: Namespace):
    operator.stop()
    namespace.apply(policy())
    operator.start(CLOCK_OFFSET_SECONDS=str(400 * 86400))

    found = wait_for(namespace, Scheduled="Scheduled")

    created = int(found["metadata"]["creationTimestamp"][:4])
    assert int(found["status"]["nextBackupAt"][:4]) >= created + 2
    template = namespace.get("cronjob", "app-db")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert template["containers"][0]["env"] == [{"name": "BACKUP_CLOCK_OFFSET_SECONDS", "value": "34560000"}]

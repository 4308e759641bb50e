"""Killed, cut off, doubled, and with many policies: it always ends in the same objects."""

import os
import re
import time
from pathlib import Path
from typing import Any

from kubernetes import client, config

from tests.integration.controller.operating import OperatorProcess, Road
from tests.integration.controller.test_policies import OURS, POLICY, cronjob_spec, policy, wait_for
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until

OUTAGE_SECONDS = 30
MANY = 500


def everything(namespace: Namespace) -> dict[str, Any]:
    """Every object of ours with its version: a write of any kind shows."""
    kinds = (POLICY, "cronjob", "job")
    objects = [one for kind in kinds for one in namespace.list(kind, "" if kind == POLICY else OURS)]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in objects}


def test_an_operator_that_is_killed_and_started_again_ends_in_the_same_objects(
    operator: OperatorProcess, namespace: Namespace
):
    namespace.apply(*(policy(f"db-{number}") for number in range(5)))
    for number in range(5):  # ClaimMissing is what their stores' inventories come to: no word is outstanding after it
        wait_for(namespace, f"db-{number}", Scheduled="Scheduled", StorageAvailable="ClaimMissing")
    before = wait_until(lambda: everything(namespace), lambda found: len(found) == 15, for_what="all children")

    operator.kill()
    operator.start()
    namespace.apply(policy("last"))
    wait_for(namespace, "last", Scheduled="Scheduled")

    after = everything(namespace)
    assert {name: after[name] for name in before if not name.startswith("Job/")} == {
        name: version for name, version in before.items() if not name.startswith("Job/")
    }
    assert len(after) == 18


def test_what_happens_while_the_operator_is_away_is_caught_up(operator: OperatorProcess, namespace: Namespace):
    namespace.apply(policy("stays"), policy("goes"))
    wait_for(namespace, "stays", Scheduled="Scheduled")
    wait_for(namespace, "goes", Scheduled="Scheduled")

    operator.kill()
    namespace.patch("cronjob", "stays", {"spec": {"schedule": "*/5 * * * *"}})
    namespace.delete(POLICY, "goes")
    namespace.apply(policy("comes"))
    operator.start()

    wait_for(namespace, "comes", Scheduled="Scheduled")
    wait_until(
        lambda: cronjob_spec(namespace, "stays")["schedule"], lambda found: found == "0 0 1 1 *", for_what="no drift"
    )


def test_an_outage_of_the_api_server_is_survived(namespace: Namespace, tmp_path: Path):
    road = Road(tmp_path)
    road.open()
    operator = OperatorProcess(namespace.name, tmp_path, kubeconfig=str(road.kubeconfig))
    operator.start()
    namespace.apply(policy("before"))
    wait_for(namespace, "before", Scheduled="Scheduled")

    road.close()
    namespace.apply(policy("during"))
    namespace.patch("cronjob", "before", {"spec": {"schedule": "*/5 * * * *"}})
    _watch_for(OUTAGE_SECONDS, operator)
    road.open()

    wait_for(namespace, "during", Scheduled="Scheduled")
    wait_until(
        lambda: cronjob_spec(namespace, "before")["schedule"], lambda found: found == "0 0 1 1 *", for_what="no drift"
    )
    namespace.apply(policy("after"))
    wait_for(namespace, "after", Scheduled="Scheduled")
    assert operator.health == 200
    operator.stop()
    road.close()


def _watch_for(seconds: float, operator: OperatorProcess) -> None:
    """The operator is alive and well for that long."""
    deadline = time.monotonic() + seconds
    wait_until(
        lambda: (operator.exit_code, operator.health, time.monotonic()),
        lambda seen: seen[:2] != (None, 200) or seen[2] > deadline,
        for_what="the end of the outage",
        timeout_seconds=seconds + 30,
    )
    assert (operator.exit_code, operator.health) == (None, 200)


def test_a_second_operator_waits_and_takes_over(operator: OperatorProcess, namespace: Namespace, tmp_path: Path):
    namespace.apply(policy("first"))
    wait_for(namespace, "first", Scheduled="Scheduled")
    second = OperatorProcess(namespace.name, tmp_path, name="second")
    # so long must the first one not renew its Lease: 4 s, as the others wait, a busy machine may keep it from that
    second.start(LEASE_SECONDS="20")
    assert "lease taken" not in second.log()

    operator.kill()

    wait_until(second.log, lambda log: "lease taken" in log, for_what="the second operator at work", timeout_seconds=90)
    namespace.apply(policy("second"))
    wait_for(namespace, "second", Scheduled="Scheduled")
    second.stop()


def test_an_operator_that_is_stopped_hands_over_at_once(
    operator: OperatorProcess, namespace: Namespace, tmp_path: Path
):
    wait_until(operator.log, lambda log: "lease taken" in log, for_what="the operator at work")

    operator.stop()

    assert operator.exit_code == 0
    lease = namespace.get("lease", "backup-operator")
    assert not lease["spec"].get("holderIdentity")


def test_without_settings_the_process_ends_in_words(namespace: Namespace, tmp_path: Path):
    operator = OperatorProcess(namespace.name, tmp_path)

    operator.launch(BACKUP_IMAGE="")

    wait_until(lambda: operator.exit_code, lambda code: code is not None, for_what="the end of the process")
    assert operator.exit_code != 0
    assert "BACKUP_IMAGE is not set" in operator.log()


def test_many_policies_are_compared_again_without_a_single_write(operator: OperatorProcess, namespace: Namespace):
    operator.stop()
    _make_policies_whose_stores_are_known(namespace)
    operator.start()
    wait_until(lambda: _unfinished(namespace), lambda left: left == [], for_what="all policies", timeout_seconds=300)
    wait_until(lambda: _writes(namespace), _Still().is_still, for_what="an operator at rest", timeout_seconds=180)
    operator.stop()
    before = _writes(namespace)

    operator.start()
    namespace.apply(policy("last"))
    wait_for(namespace, "last", Scheduled="Scheduled")
    wait_until(lambda: _writes(namespace), _Still().is_still, for_what="an operator at rest", timeout_seconds=120)

    written = {name: count - before[name] for name, count in _writes(namespace).items()}
    assert written["cronjobs"] == 1, "that of the new policy"
    assert written["backuppolicies"] <= 4, "the new policy, its status, and what its inventory adds"
    assert namespace.list("job", f"{OURS},backup.agentsflow.ai/policy!=last") == []


def _unfinished(namespace: Namespace) -> list[str]:
    """Policies whose status does not say that they have a CronJob."""
    return [
        one["metadata"]["name"]
        for one in namespace.list(POLICY)
        if not any(each["reason"] == "Scheduled" for each in one["status"].get("conditions", []))
    ]


class _Still:
    """Whether a reading has been the same ten times in a row."""

    def __init__(self) -> None:
        self._last: object = None
        self._times = 0

    def is_still(self, reading: object) -> bool:
        self._times = self._times + 1 if reading == self._last else 0
        self._last = reading
        return self._times >= 10


def _make_policies_whose_stores_are_known(namespace: Namespace) -> None:
    """Policies that an operator has seen before: none of them needs an inventory."""
    for start in range(0, MANY, 100):
        namespace.apply(*(policy(f"db-{number}") for number in range(start, start + 100)))
    config.load_kube_config(os.environ["KUBECONFIG"])
    door = client.CustomObjectsApi()
    for number in range(MANY):
        status = {"store": f"backups:{namespace.name}/db-{number}", "backupCount": 0}
        place = ("backup.agentsflow.ai", "v1alpha1", namespace.name, "backuppolicies", f"db-{number}")
        door.patch_namespaced_custom_object_status(*place, {"status": status})


_APPLIES = re.compile(
    r'^apiserver_request_total\{.*resource="(cronjobs|backuppolicies)".*verb="APPLY".*\} (\d+)$', re.M
)


def _writes(namespace: Namespace) -> dict[str, int]:
    """Server-side applies that the API server has counted; only operators apply CronJobs and policies' statuses."""
    counted: dict[str, int] = {}
    for line in _APPLIES.finditer(namespace.kubectl("get", "--raw", "/metrics")):
        counted[line[1]] = counted.get(line[1], 0) + int(line[2])
    return counted

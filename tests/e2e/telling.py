"""What a person sees of a run that failed and of the one that heals it. Used by the end-to-end tests."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.support.kubectl import Namespace
from tests.support.policies import RUN_SECONDS, SAID_SECONDS, Change, Policy
from tests.support.polling import wait_until

ORDER = "backup.agentsflow.ai/order"
"""The annotation of a worker's pod that holds its order as JSON."""
FAILED_WITHIN_SECONDS = RUN_SECONDS
"""From `kubectl create job` to the condition, where a pod must start and fail first: 7 to 20 s were measured with a
load of ten on two cores, nearly all of it the start of the pod. What is more is for a machine that does yet more."""
NOT_STARTED_WITHIN_SECONDS = SAID_SECONDS
"""The same where the pod cannot start at all: 2 s were measured, the cluster's own remark and ours."""
SAID_WITHIN_SECONDS = 60
"""From the end of the run to the condition: what the kubelet takes to tell of it, and the operator, which looks at
once; who looked at every object again and again only would take 10 min. By the clocks of the worker and the operator,
in whole seconds."""


def assert_is_told(
    policy: Policy, reason: str, *, listed: Sequence[str] = (), within_seconds: float = FAILED_WITHIN_SECONDS
) -> dict[str, Any]:
    """In the condition, in Ready, in `kubectl get bp`, in status.lastFailedBackup with a hint, and as an Event.

    `listed` are the backups that the store holds, newest first: nothing half-written is ever among them.
    Yields status.lastFailedBackup.
    """
    condition = policy.wait_for("LastRunSucceeded", "False", reason, timeout_seconds=within_seconds)
    failed = policy.status["lastFailedBackup"]
    assert failed["reason"] == reason
    assert failed["message"]
    assert failed["hint"]
    assert failed["message"].rstrip(".") in condition["message"]
    assert said_after_seconds(condition, failed) <= SAID_WITHIN_SECONDS
    assert policy.conditions["Ready"]["reason"] == reason
    assert policy.columns["READY"] == f"False ({reason})"
    assert [line["name"] for line in policy.status.get("backups", [])] == list(listed)
    wait_until(lambda: event_reasons(policy), lambda told: reason in told, for_what=f"an Event {reason}")
    return dict(failed)


def said_after_seconds(condition: Mapping[str, Any], failed: Mapping[str, Any]) -> float:
    """How long after the run's end the condition turned; 0 while the run has not ended, as with a pod that waits."""
    turned = datetime.fromisoformat(condition["lastTransitionTime"])
    return (turned - datetime.fromisoformat(failed.get("completedAt", condition["lastTransitionTime"]))).total_seconds()


def assert_heals(policy: Policy) -> None:
    """A good run makes everything true again, and its backup is the only one."""
    good = policy.back_up("heals")
    assert_all_is_well(policy)
    assert [line["name"] for line in policy.status["backups"]] == [good["name"]]


def assert_all_is_well(policy: Policy) -> None:
    """In the conditions and in `kubectl get bp`."""
    policy.wait_for("LastRunSucceeded", "True", "Succeeded")
    policy.wait_for("Ready", "True", "Ready")
    assert policy.columns["READY"] == "True"


def event_reasons(policy: Policy) -> set[str]:
    """Reasons of the Events about the policy."""
    selector = f"involvedObject.kind=BackupPolicy,involvedObject.name={policy.name}"
    lines = policy.namespace.kubectl(
        "get", "events", f"--field-selector={selector}", "--output=jsonpath={.items[*].reason}"
    )
    return set(lines.split())


def ordered(change: Callable[[dict[str, Any]], None]) -> Change:
    """Changes the order that a Job made by hand carries: for a time limit that a test would wait for too long."""

    def in_job(job: dict[str, Any]) -> None:
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        order = json.loads(annotations[ORDER])
        change(order)
        annotations[ORDER] = json.dumps(order)

    return in_job


def wait_for_running_pod(namespace: Namespace, job: str) -> Mapping[str, Any]:
    """The Job's pod, once it runs."""
    pods = wait_until(
        lambda: namespace.list("pod", f"batch.kubernetes.io/job-name={job}"),
        lambda found: [pod for pod in found if pod["status"]["phase"] == "Running"],
        for_what=f"a running pod of {job}",
    )
    return next(pod for pod in pods if pod["status"]["phase"] == "Running")

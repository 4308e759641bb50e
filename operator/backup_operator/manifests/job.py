"""Room `manifests`: the template of a backup Job and the inventory Job; called by `manifests.children`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backup_operator.contract.exits import Exit
from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.manifests.labels import (
    GROUP,
    ORDER_ANNOTATION,
    POLICY_ANNOTATION,
    STORE_ANNOTATION,
    Work,
    inventory_job_name,
    policy_labels,
)
from backup_operator.manifests.pod import CONTAINER, PodContent, PodPlacement, WorkerPod, worker_pod_spec

API_VERSION = f"{GROUP}/v1alpha1"
DEADLINE_MARGIN = timedelta(minutes=5)
"""What a Job gets above the worker's own deadline: time to start a pod, and for the worker to say why it stopped.

A Job over its deadline deletes the pod and with it the report, so the worker's deadline must come first."""
INVENTORY_KEPT = timedelta(minutes=10)
"""How long an inventory Job stays after its end; a failed one is tried again when it is gone."""
INVENTORY_RETRIES = 2


@dataclass(frozen=True)
class Owner:
    """What children belong to: they go when it goes. A claim with backups never has an owner."""

    namespace: str
    name: str
    uid: str
    kind: str = "BackupPolicy"

    def reference(self) -> dict[str, Any]:
        """The ownerReference of a child."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


@dataclass(frozen=True)
class PodPlan:
    """Everything about the pod of a Job that is not its order."""

    worker: WorkerPod
    placement: PodPlacement
    content: PodContent


def backup_job_template(order: BackupOrder, plan: PodPlan, *, store: str, backoff_limit: int) -> dict[str, Any]:
    """The `jobTemplate` of a policy's CronJob; Jobs made by hand from it carry the same labels and annotations."""
    policy = order.policy.name
    annotations = {POLICY_ANNOTATION: policy, STORE_ANNOTATION: store}
    metadata = {"labels": policy_labels(policy, Work.BACKUP), "annotations": annotations}
    return {"metadata": metadata, "spec": _job_spec(order, plan, backoff_limit, Work.BACKUP)}


def inventory_job(owner: Owner, order: InventoryOrder, plan: PodPlan, *, store: str, cause: str = "") -> dict[str, Any]:
    """A Job that reads a store's catalog; its name tells store and cause, so that a retry makes no second one."""
    spec = _job_spec(order, plan, INVENTORY_RETRIES, Work.INVENTORY)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": inventory_job_name(owner.name, owner.uid, f"{store}/{cause}"),
            "namespace": owner.namespace,
            "labels": policy_labels(owner.name, Work.INVENTORY),
            "annotations": {POLICY_ANNOTATION: owner.name, STORE_ANNOTATION: store},
            "ownerReferences": [owner.reference()],
        },
        "spec": {**spec, "ttlSecondsAfterFinished": int(INVENTORY_KEPT.total_seconds())},
    }


def _job_spec(order: BackupOrder | InventoryOrder, plan: PodPlan, backoff_limit: int, work: Work) -> dict[str, Any]:
    policy = order.policy.name
    return {
        "backoffLimit": backoff_limit,
        "activeDeadlineSeconds": int((order.deadline + DEADLINE_MARGIN).total_seconds()),
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {
            "metadata": {
                "labels": policy_labels(policy, work),
                "annotations": {POLICY_ANNOTATION: policy, ORDER_ANNOTATION: order.model_dump_json(exclude_none=True)},
            },
            "spec": worker_pod_spec(plan.worker, plan.placement, plan.content),
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    """First match wins: a disrupted pod costs no retry, a fault that no retry heals ends the Job.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
    """
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [Exit.FINAL.value]},
        },
    ]

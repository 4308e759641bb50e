"""Room `manifests`: everything that a policy's spec wants in the cluster; called by `controller.policies`."""

from typing import Any

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.manifests.cronjob import Timing, backup_cronjob, catch_up_window
from backup_operator.manifests.job import Owner, PodPlan, backup_job_template, inventory_job
from backup_operator.manifests.order import (
    backup_order,
    claim_of,
    inventory_mounts,
    inventory_order,
    secret_mounts,
    store_of,
)
from backup_operator.manifests.placement import policy_placement
from backup_operator.manifests.pod import PodContent, WorkerPod


def owner_of(policy: BackupPolicy) -> Owner:
    """The policy as owner of its children."""
    return Owner(policy.metadata.namespace, policy.metadata.name, policy.metadata.uid)


def cronjob_of(policy: BackupPolicy, worker: WorkerPod) -> dict[str, Any]:
    """The CronJob that the spec asks for."""
    spec = policy.spec
    timing = Timing(spec.schedule, spec.time_zone, spec.suspend, catch_up_window(spec.objectives.rpo))
    content = PodContent(claim=claim_of(policy), secrets=secret_mounts(policy))
    plan = PodPlan(worker, policy_placement(policy), content)
    template = backup_job_template(
        backup_order(policy), plan, store=store_of(policy), backoff_limit=spec.job.backoff_limit
    )
    return backup_cronjob(owner_of(policy), timing, template)


def inventory_job_of(policy: BackupPolicy, worker: WorkerPod, *, cause: str = "") -> dict[str, Any]:
    """The Job that reads the policy's store; another `cause` makes another Job: a lost report, changed rules."""
    content = PodContent(claim=claim_of(policy), secrets=inventory_mounts(policy), store_read_only=True)
    plan = PodPlan(worker, policy_placement(policy), content)
    return inventory_job(owner_of(policy), inventory_order(policy), plan, store=store_of(policy), cause=cause)

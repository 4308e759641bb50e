"""Room `manifests`: the labels, annotations and names that tie every child to its policy or to its RestoreRequest.

Read by `controller`. A policy's name has up to 253 characters, a label value and a Job's name 63, a CronJob's 52: the
full name is an annotation, label and names are shortened with a hash.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from backup_operator.rules.short_names import digest, short_name

GROUP = "backup.agentsflow.ai"
MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "backup-operator"
POLICY_LABEL = f"{GROUP}/policy"
WORK_LABEL = f"{GROUP}/work"
POLICY_ANNOTATION = f"{GROUP}/policy-name"
REQUEST_LABEL = f"{GROUP}/request"
REQUEST_ANNOTATION = f"{GROUP}/request-name"
ORDER_ANNOTATION = f"{GROUP}/order"
STORE_ANNOTATION = f"{GROUP}/store"
WISH_ANNOTATION = f"{GROUP}/wish"
"""A digest of everything that was wanted of an object when it was applied."""
OURS = f"{MANAGED_BY}={OPERATOR}"
"""The label selector of everything that the operator makes, for policies and for requests."""

CRONJOB_NAME_LIMIT = 52
JOB_NAME_LIMIT = 63
LABEL_LIMIT = 63


class Work(StrEnum):
    """What a Job of ours does."""

    BACKUP = "backup"
    INVENTORY = "inventory"
    PLAN = "plan"
    RESTORE = "restore"


def policy_labels(policy: str, work: Work | None = None) -> dict[str, str]:
    """The labels of a policy's children; `work` is left out on objects that run nothing."""
    labels = {MANAGED_BY: OPERATOR, POLICY_LABEL: short_name(policy, LABEL_LIMIT)}
    return labels if work is None else {**labels, WORK_LABEL: work.value}


def policy_selector(policy: str) -> str:
    """The label selector of one policy's children."""
    return f"{OURS},{POLICY_LABEL}={short_name(policy, LABEL_LIMIT)}"


def policy_of(manifest: Mapping[str, Any]) -> str | None:
    """The full name of the policy that a child belongs to; None when the object is not a child of ours."""
    return _owner_in(manifest, POLICY_ANNOTATION)


def request_labels(request: str, work: Work) -> dict[str, str]:
    """The labels of a RestoreRequest's Jobs and of their pods."""
    return {MANAGED_BY: OPERATOR, REQUEST_LABEL: short_name(request, LABEL_LIMIT), WORK_LABEL: work.value}


def request_selector(request: str) -> str:
    """The label selector of one RestoreRequest's Jobs and pods."""
    return f"{OURS},{REQUEST_LABEL}={short_name(request, LABEL_LIMIT)}"


def request_of(manifest: Mapping[str, Any]) -> str | None:
    """The full name of the RestoreRequest that a child belongs to; None when the object is not a child of ours."""
    return _owner_in(manifest, REQUEST_ANNOTATION)


def _owner_in(manifest: Mapping[str, Any], annotation: str) -> str | None:
    metadata = manifest.get("metadata", {})
    if metadata.get("labels", {}).get(MANAGED_BY) != OPERATOR:
        return None
    name = metadata.get("annotations", {}).get(annotation)
    return name if isinstance(name, str) else None


def cronjob_name(policy: str) -> str:
    """The policy's name, shortened where a CronJob's may not be that long."""
    return short_name(policy, CRONJOB_NAME_LIMIT)


def inventory_job_name(policy: str, uid: str, cause: str) -> str:
    """The same for the same policy and cause, so that a retry meets its own Job instead of making a second one."""
    suffix = f"-inventory-{digest(f'{uid}/{cause}')}"
    return short_name(policy, JOB_NAME_LIMIT - len(suffix)) + suffix

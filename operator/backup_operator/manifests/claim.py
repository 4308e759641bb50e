"""Room `manifests`: the PersistentVolumeClaim of a claimTemplate; called by `controller.claims`."""

from typing import Any

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.storage import ClaimTemplate
from backup_operator.manifests.labels import POLICY_ANNOTATION, policy_labels
from backup_operator.manifests.order import claim_of


def backup_claim(policy: BackupPolicy) -> dict[str, Any] | None:
    """The claim that the spec's template asks for, None without one.

    It has no owner: it outlives the policy with every backup on it, and a policy that is made again takes it up.
    """
    template = policy.spec.storage.claim_template
    if template is None:
        return None
    name = policy.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_of(policy),
            "namespace": policy.metadata.namespace,
            "labels": policy_labels(name),
            "annotations": {POLICY_ANNOTATION: name},
        },
        "spec": _claim_spec(template),
    }


def _claim_spec(template: ClaimTemplate) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": [mode.value for mode in template.access_modes],
        "resources": {"requests": {"storage": template.size}},
    }
    # a class that is left out is the cluster's default; an empty one would be none at all
    return spec if template.storage_class_name is None else {**spec, "storageClassName": template.storage_class_name}

"""Room `manifests`: `spec.job` of either resource as the placement of pods; called by `.children` and `.restore`."""

from collections.abc import Iterable
from typing import Any

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.job import ImagePullSecret, Resources, RestoreJobSettings, Toleration
from backup_operator.manifests.pod import PodPlacement


def policy_placement(policy: BackupPolicy) -> PodPlacement:
    """Where a policy's pods run and what they may take."""
    job = policy.spec.job
    return PodPlacement(
        resources=_resources(job.resources),
        node_selector=job.node_selector,
        tolerations=_tolerations(job.tolerations),
        image_pull_secrets=_names(job.image_pull_secrets),
    )


def restore_placement(job: RestoreJobSettings | None, policy: BackupPolicy | None) -> PodPlacement:
    """The same of a restore; what the request leaves out is the policy's."""
    default = policy_placement(policy) if policy is not None else PodPlacement()
    if job is None:
        return default
    return PodPlacement(
        resources=default.resources if job.resources is None else _resources(job.resources),
        node_selector=default.node_selector if job.node_selector is None else job.node_selector,
        tolerations=default.tolerations if job.tolerations is None else _tolerations(job.tolerations),
        image_pull_secrets=(
            default.image_pull_secrets if job.image_pull_secrets is None else _names(job.image_pull_secrets)
        ),
    )


def _resources(resources: Resources) -> dict[str, Any]:
    fields: dict[str, Any] = resources.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in fields.items() if value}


def _tolerations(tolerations: Iterable[Toleration]) -> tuple[dict[str, Any], ...]:
    return tuple(one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in tolerations)


def _names(secrets: Iterable[ImagePullSecret]) -> tuple[str, ...]:
    return tuple(one.name for one in secrets)

"""Room `manifests`: the pod that a worker runs in; called by `manifests.job`.

Restricted as the Pod Security Standards ask, without a service account token. Secrets are optional files: a missing one
is reported by the worker in words instead of leaving the pod in ContainerCreating. The order comes from an annotation
through the downward API, where `$(` is not expanded as it would be in an argument or a variable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from backup_operator.manifests.labels import ORDER_ANNOTATION

CONTAINER = "worker"
ORDER_DIRECTORY = "/etc/backup-operator/order"
ORDER_FILE = "order.json"
SECRETS_DIRECTORY = "/etc/backup-operator/secrets"
STORE_MOUNT = "/backups"
SCRATCH_MOUNT = "/tmp"  # noqa: S108 - the pod's own emptyDir
WORKER_UID = 65532
LOG_FORMAT_VARIABLE = "BACKUP_LOG_FORMAT"
CLOCK_OFFSET_VARIABLE = "BACKUP_CLOCK_OFFSET_SECONDS"
GRACE_SECONDS = 30
"""Time for a worker to write its report after SIGTERM."""


@dataclass(frozen=True)
class SecretMount:
    """One key of a Secret, mounted for the worker in the directory of its role (`url`, `passphrase`, `ca`, …)."""

    role: str
    secret: str
    key: str

    @property
    def path(self) -> str:
        """Where the worker finds it; there is no file when the Secret or the key is missing."""
        return str(PurePosixPath(SECRETS_DIRECTORY, self.role, self.key))


@dataclass(frozen=True)
class WorkerPod:
    """What the operator's own settings say about every worker pod."""

    image: str
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = field(default_factory=dict)
    scratch_size: str = "1Gi"
    priority_class: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    log_format: str = ""
    """json or human; empty leaves it to the worker."""
    clock_offset: timedelta = timedelta()
    """For tests: how far ahead the worker's clock is."""

    @property
    def environment(self) -> dict[str, str]:
        """The worker's variables, none of them a secret."""
        seconds = int(self.clock_offset.total_seconds())
        known = {LOG_FORMAT_VARIABLE: self.log_format, CLOCK_OFFSET_VARIABLE: str(seconds) if seconds else ""}
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True)
class PodPlacement:
    """What a policy's `job` block says about its pods; empty means the operator's default."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    image_pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class PodContent:
    """What one worker pod mounts."""

    claim: str
    secrets: tuple[SecretMount, ...]
    store_read_only: bool = False


def worker_pod_spec(worker: WorkerPod, placement: PodPlacement, content: PodContent) -> dict[str, Any]:
    """The spec of a worker pod."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _pod_security(),
        "containers": [_container(worker, placement, content)],
        "volumes": _volumes(worker, content),
    }
    pull_secrets = placement.image_pull_secrets or worker.image_pull_secrets
    optional = {
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
        "nodeSelector": dict(placement.node_selector),
        "tolerations": [dict(toleration) for toleration in placement.tolerations],
        "priorityClassName": worker.priority_class,
    }
    return spec | {name: value for name, value in optional.items() if value}


def _pod_security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": WORKER_UID,
        "runAsGroup": WORKER_UID,
        "fsGroup": WORKER_UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _container(worker: WorkerPod, placement: PodPlacement, content: PodContent) -> dict[str, Any]:
    environment = [{"name": name, "value": value} for name, value in worker.environment.items()]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": worker.image,
        "imagePullPolicy": worker.pull_policy,
        "args": ["run", "--order", f"{ORDER_DIRECTORY}/{ORDER_FILE}"],
        "workingDir": SCRATCH_MOUNT,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": dict(placement.resources or worker.resources),
        "volumeMounts": _mounts(content),
    }
    return {**container, "env": environment} if environment else container


def _mounts(content: PodContent) -> list[dict[str, Any]]:
    store: dict[str, Any] = {"name": "store", "mountPath": STORE_MOUNT}
    if content.store_read_only:
        store["readOnly"] = True
    return [
        {"name": "order", "mountPath": ORDER_DIRECTORY, "readOnly": True},
        store,
        {"name": "scratch", "mountPath": SCRATCH_MOUNT},
        *(
            {"name": f"secret-{mount.role}", "mountPath": f"{SECRETS_DIRECTORY}/{mount.role}", "readOnly": True}
            for mount in content.secrets
        ),
    ]


def _volumes(worker: WorkerPod, content: PodContent) -> list[dict[str, Any]]:
    order = {"path": ORDER_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ORDER_ANNOTATION}']"}}
    return [
        {"name": "order", "downwardAPI": {"items": [order]}},
        {"name": "store", "persistentVolumeClaim": {"claimName": content.claim}},
        {"name": "scratch", "emptyDir": {"sizeLimit": worker.scratch_size}},
        *(_secret_volume(mount) for mount in content.secrets),
    ]


def _secret_volume(mount: SecretMount) -> dict[str, Any]:
    return {
        "name": f"secret-{mount.role}",
        "secret": {
            "secretName": mount.secret,
            "items": [{"key": mount.key, "path": mount.key}],
            "optional": True,
            "defaultMode": 0o440,
        },
    }

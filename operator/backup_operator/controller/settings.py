"""Room `controller`: what the chart tells the operator, read once from the environment by `controller.main`."""

import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from backup_operator.controller.cluster import Key
from backup_operator.controller.routes import Notifications, notifications_in
from backup_operator.manifests.pod import WorkerPod


class SettingsInvalid(ValueError):
    """A variable is missing or cannot be read; the text names it."""


@dataclass(frozen=True)
class Settings:
    """Everything that differs from one installation to the next."""

    worker: WorkerPod
    """BACKUP_IMAGE, BACKUP_IMAGE_PULL_POLICY, WORKER_RESOURCES (JSON), WORKER_SCRATCH_SIZE, WORKER_PRIORITY_CLASS,
    WORKER_IMAGE_PULL_SECRETS (names, comma-separated), WORKER_LOG_FORMAT (json or human)."""
    namespaces: tuple[str, ...]
    """WATCH_NAMESPACES, comma-separated; empty means all of them. The same that `kopf run` is told with -n or -A."""
    identity: str
    """POD_NAME: who holds the Lease; a restarted container of the same pod takes it up again at once."""
    lease: Key
    """LEASE_NAMESPACE and LEASE_NAME; in a namespace that is watched."""
    lease_duration: timedelta
    """LEASE_SECONDS: how long a Lease that is not renewed keeps others out."""
    resync: timedelta
    """RESYNC_SECONDS: how often everything is compared with a LIST."""
    workers: int
    """WORKERS: how many policies are reconciled at the same time."""
    metrics_port: int | None
    """METRICS_PORT: where /metrics is served; None where it is not set, and then it is not."""
    clock_offset: timedelta
    """CLOCK_OFFSET_SECONDS, for tests: our clock and the workers' are so far ahead, or behind where it is negative."""
    notifications: Notifications
    """NOTIFICATION_ROUTES (JSON) and NOTIFICATION_URLS, the directory of the mounted Secret."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises: SettingsInvalid."""
        namespaces = _names(environment.get("WATCH_NAMESPACES", ""))
        lease_namespace = environment.get("LEASE_NAMESPACE") or (namespaces[0] if namespaces else "default")
        return cls(
            worker=_worker(environment),
            namespaces=namespaces,
            identity=environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            lease=Key(lease_namespace, environment.get("LEASE_NAME") or "backup-operator"),
            lease_duration=_seconds(environment, "LEASE_SECONDS", 20),
            resync=_seconds(environment, "RESYNC_SECONDS", 600),
            workers=_number(environment, "WORKERS", 8),
            metrics_port=_number(environment, "METRICS_PORT", 8081) if environment.get("METRICS_PORT") else None,
            clock_offset=_clock_offset(environment),
            notifications=_notifications(environment),
        )

    def moved(self, clock: Callable[[], datetime]) -> Callable[[], datetime]:
        """The clock, ahead by the offset; the API server's times are not."""
        return lambda: clock() + self.clock_offset


def _worker(environment: Mapping[str, str]) -> WorkerPod:
    image = environment.get("BACKUP_IMAGE", "")
    if not image:
        raise SettingsInvalid("BACKUP_IMAGE is not set: it names the image of the worker pods")
    try:
        # a value that Helm was told to take out comes as null
        resources = json.loads(environment.get("WORKER_RESOURCES") or "{}") or {}
    except ValueError as exc:
        raise SettingsInvalid(f"WORKER_RESOURCES is not JSON: {exc}") from exc
    if not isinstance(resources, dict):
        raise SettingsInvalid("WORKER_RESOURCES is no JSON object with requests and limits")
    return WorkerPod(
        image=image,
        pull_policy=environment.get("BACKUP_IMAGE_PULL_POLICY") or "IfNotPresent",
        resources=resources,
        scratch_size=environment.get("WORKER_SCRATCH_SIZE") or "1Gi",
        priority_class=environment.get("WORKER_PRIORITY_CLASS", ""),
        image_pull_secrets=_names(environment.get("WORKER_IMAGE_PULL_SECRETS", "")),
        log_format=_log_format(environment),
        clock_offset=_clock_offset(environment),
    )


def _log_format(environment: Mapping[str, str]) -> str:
    name = environment.get("WORKER_LOG_FORMAT", "")
    if name not in ("", "json", "human"):
        raise SettingsInvalid(f"WORKER_LOG_FORMAT is {name!r}; json or human is expected")
    return name


def _clock_offset(environment: Mapping[str, str]) -> timedelta:
    text = environment.get("CLOCK_OFFSET_SECONDS") or "0"
    if not re.fullmatch("[+-]?[0-9]{1,10}", text, re.ASCII):
        raise SettingsInvalid(f"CLOCK_OFFSET_SECONDS is {text!r}; a whole number, which may be negative, is expected")
    return timedelta(seconds=int(text))


def _notifications(environment: Mapping[str, str]) -> Notifications:
    try:
        return notifications_in(environment)
    except ValueError as exc:
        raise SettingsInvalid(f"NOTIFICATION_ROUTES cannot be read: {exc}") from exc


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seconds(environment: Mapping[str, str], name: str, default: int) -> timedelta:
    return timedelta(seconds=_number(environment, name, default))


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsInvalid(f"{name} is {text!r}; a whole number from 1 on is expected")
    return int(text)

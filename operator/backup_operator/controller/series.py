"""Room `controller`: the series of one policy or request, read from its object as it is; called by `signals`.

Everything comes from spec and status, so it is there right after a restart. What is not known has no series: a zero
would say that it is known.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from prometheus_client.samples import Sample
from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicyStatus, BackupRecord, Objectives
from backup_operator.api.backuppolicy import status_in as policy_status_in
from backup_operator.api.parts import Part
from backup_operator.api.restorestatus import status_in as request_status_in
from backup_operator.api.storage import Storage
from backup_operator.controller.cluster import Manifest

PREFIX = "backup_operator_"

HELP: Mapping[str, str] = {
    "policy_info": "A BackupPolicy: source, schedule, claim and path, and its operator's Lease; always 1.",
    "policy_created_timestamp_seconds": "When the BackupPolicy was created.",
    "last_success_timestamp_seconds": "When the newest verified backup was stored and verified.",
    "last_success_started_timestamp_seconds": "When the newest verified backup began; its data is no older than this.",
    "last_success_duration_seconds": "How long the newest verified backup took.",
    "last_success_size_bytes": "Stored size of the newest verified backup.",
    "last_success_rows": "Rows in the newest verified backup (PostgreSQL).",
    "last_success_keys": "Keys in the newest verified backup (Redis).",
    "last_failure_timestamp_seconds": "When the newest failed run ended.",
    "backups": "Verified backups in the store.",
    "oldest_backup_timestamp_seconds": "When the oldest backup in the store began.",
    "storage_used_bytes": "Used on the volume, by everyone, after the newest run.",
    "storage_capacity_bytes": "Size of the volume.",
    "storage_limit_percent": "spec.storage.usageLimitPercent: use of the volume above this is too much.",
    "storage_full_timestamp_seconds": "When the volume will be full at the present pace; absent when not within sight.",
    "store_bytes": "Used by this policy's store.",
    "objective_rpo_seconds": "spec.objectives.rpo: the newest verified backup must have begun less than this ago.",
    "next_run_timestamp_seconds": "When the next run starts; absent while suspended.",
    "active_run_started_timestamp_seconds": "When the run in progress was started; absent while there is none.",
    "retention_deleted": "Backups that retention deleted after the newest good run.",
    "retention_blocked": "Backups that would go and are kept while the newest one is implausible.",
    "condition": "The conditions of a BackupPolicy, one series each with its present status and reason; always 1.",
    "restore_state": "How far a RestoreRequest is, in one word; always 1.",
}
"""Every series of an object, with what it tells."""


def policy_series(policy: Manifest, lease: str = "") -> tuple[Sample, ...]:
    """What is known about a policy; `lease` is that of the operator that serves it."""
    metadata, spec, status = policy["metadata"], policy.get("spec") or {}, policy_status_in(policy)
    place = {"namespace": metadata["namespace"], "policy": metadata["name"]}
    numbers = {
        **_numbers_of_spec(metadata, spec),
        **_numbers_of_runs(status),
        **_numbers_of_last_success(status.last_successful_backup),
        **_numbers_of_store(status),
    }
    return (
        _sample("policy_info", place | _words(spec, status) | ({"lease": lease} if lease else {})),
        *(_sample(name, place, value) for name, value in numbers.items() if value is not None),
        *(
            _sample("condition", {**place, "condition": one.type, "status": one.status.value, "reason": one.reason})
            for one in status.conditions
        ),
    )


def request_series(request: Manifest) -> tuple[Sample, ...]:
    """What is known about a RestoreRequest."""
    metadata, status = request["metadata"], request_status_in(request)
    if status.state is None:
        return ()
    place = {"namespace": metadata["namespace"], "request": metadata["name"]}
    return (_sample("restore_state", {**place, "state": status.state.value}),)


def _sample(name: str, labels: dict[str, str], value: float = 1) -> Sample:
    return Sample(PREFIX + name, labels, float(value))


def _words(spec: Mapping[str, Any], status: BackupPolicyStatus) -> dict[str, str]:
    kind = "Redis" if "redis" in (spec.get("source") or {}) else "PostgreSQL"
    return {
        "source": status.source or kind,
        "schedule": str(spec.get("schedule", "")),
        "store": status.store or "",
    }


def _numbers_of_spec(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, float | None]:
    objectives, storage = _part(Objectives, spec.get("objectives")), _part(Storage, spec.get("storage"))
    created = metadata.get("creationTimestamp")
    return {
        "policy_created_timestamp_seconds": _seconds(datetime.fromisoformat(created)) if created else None,
        "objective_rpo_seconds": objectives.rpo.total_seconds() if objectives else None,
        "storage_limit_percent": storage.effective_usage_limit_percent if storage else None,
    }


def _numbers_of_runs(status: BackupPolicyStatus) -> dict[str, float | None]:
    failed, active = status.last_failed_backup, status.active_backup
    return {
        "last_failure_timestamp_seconds": _seconds(failed.completed_at) if failed else None,
        "next_run_timestamp_seconds": _seconds(status.next_backup_at),
        "active_run_started_timestamp_seconds": _seconds(active.since) if active else None,
    }


def _numbers_of_last_success(good: BackupRecord | None) -> dict[str, float | None]:
    if good is None:
        return {}
    return {
        "last_success_timestamp_seconds": _seconds(good.completed_at),
        "last_success_started_timestamp_seconds": _seconds(good.started_at),
        "last_success_duration_seconds": good.duration_seconds,
        "last_success_size_bytes": good.size_bytes,
        "last_success_rows": good.rows,
        "last_success_keys": good.keys,
    }


def _numbers_of_store(status: BackupPolicyStatus) -> dict[str, float | None]:
    storage, retention = status.storage, status.retention
    return {
        "backups": status.backup_count,
        "oldest_backup_timestamp_seconds": _seconds(status.oldest_backup_at),
        "storage_used_bytes": storage.used_bytes if storage else None,
        "storage_capacity_bytes": storage.capacity_bytes if storage else None,
        "storage_full_timestamp_seconds": _seconds(storage.full_at) if storage else None,
        "store_bytes": storage.store_bytes if storage else None,
        "retention_deleted": retention.deleted if retention else None,
        "retention_blocked": (retention.blocked or 0) if retention else None,
    }


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


P = TypeVar("P", bound=Part)


def _part(model: type[P], fields: object) -> P | None:
    """The part of a spec with its defaults; None where it cannot be read."""
    try:
        return model.model_validate(fields or {})
    except ValidationError:
        return None

"""Room `controller`: one reconcile for a RestoreRequest; called by `controller.queue`.

Restores are a feature of a later release: every request ends at once and for good in Failed, and touches nothing.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from backup_operator.api.meta import API_VERSION, Condition
from backup_operator.api.restorerequest import BackupChoice, RestoreRequestSpec
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState
from backup_operator.api.restoretarget import Target
from backup_operator.controller.announce import announce
from backup_operator.controller.cluster import RESTORES, Cluster, Key, Manifest
from backup_operator.controller.settings import Settings
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.rules.admission import Verdict, judge_restore_request
from backup_operator.vocabulary.conditions import ConditionStatus, RestoreConditionType
from backup_operator.vocabulary.reasons import Reason

log = logging.getLogger(__name__)

_FINAL = (RestoreConditionType.COMPLETE.value, RestoreConditionType.FAILED.value)

_NOT_BUILT = Verdict(
    accepted=False,
    reason=Reason.NOT_YET_SUPPORTED,
    message="Restores are a feature of a later release; nothing was read and nothing was touched. Open the stored "
    "files by hand as RECOVER.md in the store says, and delete this request: kubectl delete rr <name>",
)


class Restores:
    """Reconciles RestoreRequests."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock

    async def reconcile(self, key: Key) -> timedelta | None:
        """End a request that has not ended. Raises: ClusterError."""
        raw = await self._cluster.get(RESTORES, key)
        if raw is None or raw["metadata"].get("deletionTimestamp") or has_ended(raw):
            return None
        now, (_, verdict) = self._clock(), judge_restore_request(raw)
        if verdict.accepted:
            verdict = _NOT_BUILT
        metadata = raw["metadata"]
        target = {"namespace": key.namespace, "name": key.name, "resourceVersion": metadata["resourceVersion"]}
        status = refused_status(raw, verdict, now).wire()
        await self._cluster.apply_status(
            RESTORES, {"apiVersion": API_VERSION, "kind": RESTORES.kind, "metadata": target, "status": status}
        )
        log.info("restore refused", extra={"request": str(key), "reason": verdict.reason.value})
        subject = Subject(RESTORES.kind, key.namespace, key.name, metadata["uid"])
        told = Occurrence(verdict.reason.value, status["message"], warning=True)
        await announce(self._cluster, subject, [told], now, instance=self._settings.identity)
        return None


def has_ended(raw: Manifest) -> bool:
    """Whether a request is in one of its two ends, which it never leaves."""
    conditions = (raw.get("status") or {}).get("conditions") or []
    return any(one["type"] in _FINAL and one["status"] == ConditionStatus.TRUE for one in conditions)


def refused_status(raw: Manifest, verdict: Verdict, now: datetime) -> RestoreRequestStatus:
    """The status of a request that ends in Failed, with the columns of `kubectl get rr` as far as the spec tells."""
    metadata = raw["metadata"]
    message = verdict.message.replace("<name>", metadata["name"])
    failed = Condition(
        type=RestoreConditionType.FAILED.value,
        status=ConditionStatus.TRUE,
        observed_generation=metadata.get("generation"),
        last_transition_time=now.replace(microsecond=0),
        reason=verdict.reason.value,
        message=message,
    )
    return RestoreRequestStatus(
        observed_generation=metadata.get("generation"),
        conditions=(failed,),
        completed_at=now.replace(microsecond=0),
        message=message,
        state=RestoreState.FAILED,
        **_columns(raw.get("spec")),
    )


def _columns(spec: object) -> dict[str, Any]:
    try:
        read = RestoreRequestSpec.model_validate(spec)
    except ValidationError:
        return {}
    store, policy = read.origin.store, read.origin.policy_ref
    source = policy.name if policy else f"{store.claim_name}:{store.path}" if store else None
    return {"source": source, "backup": _backup_words(read.backup), "target": _target_words(read.target)}


def _backup_words(backup: BackupChoice) -> str:
    if backup.name is not None:
        return backup.name
    return f"before {backup.before:%Y-%m-%dT%H:%M:%SZ}" if backup.before else "latest"


def _target_words(target: Target) -> str:
    if target.postgres is not None:
        return f"PostgreSQL {target.postgres.strategy or 'NewDatabase'} {target.postgres.database or ''}".strip()
    if target.redis is not None:
        return f"Redis {target.redis.strategy or 'FailIfNotEmpty'}"
    assert target.redis_volume is not None
    return f"claim {target.redis_volume.claim_name}"

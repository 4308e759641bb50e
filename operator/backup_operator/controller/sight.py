"""Room `controller`: Jobs, Pods and Events as the API server gives them, turned into what `rules` judge.

Pure; called by `controller.observe` and `controller.memory`. Source of the fields:
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from backup_operator.contract.report import Report, decode
from backup_operator.contract.restore import RestoreReport, decode_restore
from backup_operator.controller.cluster import Manifest
from backup_operator.manifests.labels import GROUP, STORE_ANNOTATION, WORK_LABEL, Work
from backup_operator.manifests.pod import CONTAINER
from backup_operator.rules.pods import ClaimSeen, Remark, WaitingPod
from backup_operator.rules.runs import Attempt, JobState

ASKED_BY_ANNOTATION = f"{GROUP}/requested-by"
_ASKED_BY_LIMIT = 300
_A_NODE_ANSWERS_WITHIN = timedelta(seconds=60)
"""How long after a pod's last second its node may take to say that it has ended."""
_URL_VOLUME = "secret-url"
"""The volume that `manifests.pod` makes of the role `url`."""
_ENDED = ("Succeeded", "Failed")
_RESTORING = (Work.PLAN, Work.RESTORE)


def moment(text: str) -> datetime:
    """A time of the API server."""
    return datetime.fromisoformat(text)


def job_uid_of(pod: Manifest) -> str | None:
    """The Job that a pod belongs to."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("kind") == "Job"), None)


def job_name_of(pod: Manifest) -> str:
    """The name of the Job that a pod belongs to; empty when it belongs to none."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(owner["name"]) for owner in owners if owner.get("kind") == "Job"), "")


def is_owned_by(child: Manifest, uid: str) -> bool:
    """Whether this very object, and not one of the same name, owns the child."""
    return any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences") or [])


def url_secret_of(job: Manifest) -> str:
    """`<Secret>/<key>` of the URL of the server that a Job is at, as `manifests.restore.target_secret`; empty: none."""
    volumes = job["spec"]["template"]["spec"].get("volumes", [])
    secret = next((one["secret"] for one in volumes if one["name"] == _URL_VOLUME), None)
    return f"{secret['secretName']}/{secret['items'][0]['key']}" if secret else ""


def asked_by(metadata: Mapping[str, Any]) -> str:
    """Who asked for an object, as far as it tells: the annotation, then the programs that wrote it and how."""
    named = (metadata.get("annotations") or {}).get(ASKED_BY_ANNOTATION, "").strip()
    entries = [one for one in metadata.get("managedFields") or [] if not one.get("subresource")]
    programs = dict.fromkeys(f"{one.get('manager', '?')} ({one.get('operation', '?')})" for one in entries)
    told = "; ".join(part for part in (named, ", ".join(programs)) if part)
    return told if len(told) <= _ASKED_BY_LIMIT else told[: _ASKED_BY_LIMIT - 1] + "…"


def work_of(child: Manifest) -> Work | None:
    """What a Job or a pod does; None when its label is not of this version."""
    label = child["metadata"].get("labels", {}).get(WORK_LABEL, "")
    return Work(label) if label in Work.__members__.values() else None


def store_in(job: Manifest) -> str:
    """The store that a Job works on, `claim:path`; empty when it does not say."""
    return str(job["metadata"].get("annotations", {}).get(STORE_ANNOTATION, ""))


def job_state(job: Manifest) -> JobState:
    """How far a Job is; one that is about to fail or to complete counts as active until its pods have ended."""
    if _condition(job, "Complete"):
        return JobState.COMPLETE
    return JobState.FAILED if _condition(job, "Failed") else JobState.ACTIVE


def failed_condition(job: Manifest) -> tuple[str, str]:
    """Reason and message of a failed Job; empty otherwise."""
    found = _condition(job, "Failed") or {}
    return found.get("reason", ""), found.get("message", "")


def finished_at(job: Manifest) -> datetime | None:
    """When a Job ended."""
    found = _condition(job, "Complete") or _condition(job, "Failed")
    return moment(found["lastTransitionTime"]) if found else None


def is_waiting(pod: Manifest) -> bool:
    """Whether a pod has not started its container."""
    metadata, status = pod["metadata"], pod.get("status", {})
    if metadata.get("deletionTimestamp") or status.get("phase") in _ENDED:
        return False
    state = _container(pod).get("state", {})
    return "running" not in state and "terminated" not in state


def is_going(pod: Manifest) -> bool:
    """Whether a pod may still do something."""
    return attempt_in(pod) is None and not pod["metadata"].get("deletionTimestamp")


def must_stop_by(pod: Manifest) -> datetime | None:
    """When the time of a pod is over that was told to stop and has not ended; None for every other one."""
    told = pod["metadata"].get("deletionTimestamp")
    return moment(told) if told and attempt_in(pod) is None else None


def is_overdue(pod: Manifest, now: datetime) -> bool:
    """Whether a pod should have ended, and its node does not say that it has."""
    stop_by = must_stop_by(pod)
    return stop_by is not None and now - stop_by > _A_NODE_ANSWERS_WITHIN


def waiting_pod(pod: Manifest, claim: ClaimSeen | None, remarks: Iterable[Remark] = ()) -> WaitingPod:
    """A pod that has not started, for `rules.pods`."""
    metadata = pod["metadata"]
    waiting = _container(pod).get("state", {}).get("waiting", {})
    unscheduled = _condition(pod, "PodScheduled", "False") or {}
    return WaitingPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        created_at=moment(metadata["creationTimestamp"]),
        scheduler_says=unscheduled.get("message", "") if unscheduled.get("reason") == "Unschedulable" else "",
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        remarks=tuple(remarks),
        claim=claim,
    )


def claim_name_in(pod: Manifest) -> str:
    """The claim that a worker pod mounts; empty when it has none."""
    claims = (volume.get("persistentVolumeClaim") for volume in pod["spec"].get("volumes", []))
    return next((claim["claimName"] for claim in claims if claim), "")


def remarks_in(events: Iterable[Manifest]) -> list[Remark]:
    """Warnings of the cluster, the newest first."""
    warnings = [one for one in events if one.get("type") == "Warning"]
    warnings.sort(key=_event_time, reverse=True)
    return [Remark(one.get("reason", ""), one.get("message", "")) for one in warnings]


def attempt_in(pod: Manifest) -> Attempt | None:
    """What an ended pod says; None while its container may still start or run."""
    ended = _container(pod).get("state", {}).get("terminated")
    status, metadata = pod.get("status", {}), pod["metadata"]
    if ended is None and status.get("phase") not in _ENDED:
        return None
    ended = ended or {}
    message, restores = ended.get("message") or "", work_of(pod) in _RESTORING
    created = metadata["creationTimestamp"]
    started = ended.get("startedAt") or status.get("startTime") or created
    return Attempt(
        pod=metadata["name"],
        started_at=moment(started),
        finished_at=moment(ended.get("finishedAt") or _last_change(pod) or started),
        report=None if restores else _report(message),
        restore=_restore_report(message) if restores else None,
        exit_code=ended.get("exitCode"),
        ended_by=ended.get("reason") or status.get("reason", ""),
        disrupted=_condition(pod, "DisruptionTarget") is not None,
        words=status.get("message") or _unreadable(message),
        memory_limit=_memory_limit(pod),
    )


def _report(message: str) -> Report | None:
    try:
        return decode(message)
    except ValidationError:
        return None


def _restore_report(message: str) -> RestoreReport | None:
    try:
        return decode_restore(message)
    except ValidationError:
        return None


def _unreadable(message: str) -> str:
    """A termination message that is no report, in one short line."""
    return "" if message.startswith("{") else " ".join(message.split())[:300]


def _memory_limit(pod: Manifest) -> str:
    containers = pod["spec"].get("containers", [])
    for one in containers:
        if one["name"] == CONTAINER:
            return str(one.get("resources", {}).get("limits", {}).get("memory", ""))
    return ""


def _container(pod: Manifest) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    found: dict[str, Any] = next((one for one in statuses if one["name"] == CONTAINER), {})
    return found


def _condition(manifest: Manifest, kind: str, status: str = "True") -> dict[str, Any] | None:
    conditions = manifest.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)


def _last_change(pod: Manifest) -> str | None:
    conditions = pod.get("status", {}).get("conditions") or []
    return max((one["lastTransitionTime"] for one in conditions if one.get("lastTransitionTime")), default=None)


def _event_time(one: Manifest) -> str:
    return str(one.get("lastTimestamp") or one.get("eventTime") or one["metadata"].get("creationTimestamp") or "")

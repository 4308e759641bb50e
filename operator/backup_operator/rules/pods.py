"""Room `rules`: why a pod that should run does not, from what the cluster says about it; called by `rules.runs`.

The words that are looked for are those of kubelet and scheduler of Kubernetes 1.30 to 1.35.
Source: https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/images/types.go (waiting reasons) and
pkg/scheduler/framework/plugins/volumebinding (claims).
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_operator.contract.report import Fault
from backup_operator.vocabulary.reasons import Reason

PATIENCE = timedelta(seconds=30)
"""How long a pod may wait without a reason before it is called pending: provisioning and pulls take this long."""

_IMAGE_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
        "SignatureValidationFailed",
    }
)
_CONTAINER_WAITS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_BROKEN_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedMapVolume"})
_SCHEDULER_SAYS = (
    (re.compile(r'persistentvolumeclaim "[^"]*" (not found|is being deleted)'), Reason.CLAIM_MISSING),
    (re.compile(r"ReadWriteOncePod"), Reason.CLAIM_IN_USE),
    (re.compile(r"unbound immediate PersistentVolumeClaims"), Reason.CLAIM_PENDING),
    (re.compile(r"didn't find available persistent volumes to bind"), Reason.CLAIM_PENDING),
    (re.compile(r"bound to non-existent persistentvolume"), Reason.CLAIM_PENDING),
)


@dataclass(frozen=True)
class Remark:
    """A warning event of the cluster about an object."""

    reason: str
    message: str


@dataclass(frozen=True)
class ClaimSeen:
    """The claim that a pod mounts: its phase (empty when it does not exist) and what was last said about it."""

    name: str
    phase: str
    remark: str = ""


@dataclass(frozen=True)
class WaitingPod:
    """A pod that has not started its container."""

    namespace: str
    name: str
    created_at: datetime
    scheduler_says: str = ""
    """Why no node takes it, in the scheduler's words; empty when it said nothing."""
    waiting_reason: str = ""
    waiting_message: str = ""
    remarks: tuple[Remark, ...] = ()
    claim: ClaimSeen | None = None


def trouble_of(pod: WaitingPod, now: datetime) -> Fault | None:
    """Why the pod does not start; None while it may still be on its way."""
    look = f"kubectl -n {pod.namespace} describe pod {pod.name}"
    if pod.waiting_reason in _IMAGE_WAITS:
        return _fault(Reason.IMAGE_UNAVAILABLE, "The worker image cannot be pulled", pod.waiting_message, look)
    if pod.waiting_reason in _CONTAINER_WAITS:
        return _fault(Reason.CONTAINER_REFUSED, "The container cannot be started", pod.waiting_message, look)
    if pod.scheduler_says:
        return _unscheduled(pod, look)
    return _broken(pod, look) or _overdue(pod, now, look)


def _unscheduled(pod: WaitingPod, look: str) -> Fault:
    words = pod.scheduler_says
    reason = next((reason for pattern, reason in _SCHEDULER_SAYS if pattern.search(words)), Reason.UNSCHEDULABLE)
    name = pod.claim.name if pod.claim else "<claim>"
    claims = f"kubectl -n {pod.namespace} describe pvc {name}"
    sentences = {
        Reason.CLAIM_MISSING: (
            f"The claim {pod.namespace}/{name} does not exist",
            f"create it, or correct claimName (for a restore in another request); kubectl -n {pod.namespace} get pvc",
        ),
        Reason.CLAIM_IN_USE: (f"The claim {pod.namespace}/{name} is in use by another pod", claims),
        Reason.CLAIM_PENDING: (f"The claim {pod.namespace}/{name} is not bound to a volume", claims),
        Reason.UNSCHEDULABLE: ("No node takes the pod", look),
    }
    message, hint = sentences[reason]
    remark = pod.claim.remark if pod.claim and reason is Reason.CLAIM_PENDING else ""
    return _fault(reason, message, remark or words, hint)


def _broken(pod: WaitingPod, look: str) -> Fault | None:
    remark = next((remark for remark in pod.remarks if remark.reason in _BROKEN_EVENTS), None)
    if remark is None:
        return None
    if "Multi-Attach" in remark.message:
        return _fault(Reason.CLAIM_IN_USE, "The volume is attached to another node", remark.message, look)
    return _fault(Reason.CONTAINER_REFUSED, f"The pod cannot be set up ({remark.reason})", remark.message, look)


def _overdue(pod: WaitingPod, now: datetime, look: str) -> Fault | None:
    if now - pod.created_at < PATIENCE:
        return None
    claim = pod.claim
    if claim is not None and claim.phase != "Bound":
        describe = f"kubectl -n {pod.namespace} describe pvc {claim.name}"
        state = f"claim {claim.name} is {claim.phase or 'missing'}"
        return _fault(Reason.CLAIM_PENDING, f"The {state} and the pod waits for it", claim.remark or state, describe)
    said = pod.waiting_message or next((remark.message for remark in pod.remarks), pod.waiting_reason)
    return _fault(Reason.POD_PENDING, "The pod has not started yet", said, look)


def pods_refused(namespace: str, job: str, words: str) -> Fault:
    """What to say of a Job whose pods the API server does not take."""
    hint = f"kubectl -n {namespace} describe job {job}; kubectl -n {namespace} describe quota"
    return _fault(Reason.POD_REFUSED, "The API server refused the pod", words, hint)


def _fault(reason: Reason, message: str, detail: str, hint: str) -> Fault:
    return Fault(reason=reason, message=message, detail=_shortened(detail), hint=hint, retryable=True)


def _shortened(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

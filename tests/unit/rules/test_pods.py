"""Why a pod does not start, in the words of kubelet and scheduler of Kubernetes 1.35."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.rules.pods import PATIENCE, ClaimSeen, Remark, WaitingPod, trouble_of
from backup_operator.vocabulary.reasons import Reason

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
BOUND = ClaimSeen("backups", "Bound")
YOUNG = WaitingPod("prod", "app-db-1-x", NOW - timedelta(seconds=2), claim=BOUND)
OLD = replace(YOUNG, created_at=NOW - PATIENCE)
NODES = "0/2 nodes are available: "

TROUBLES = {
    "image cannot be pulled": (replace(YOUNG, waiting_reason="ErrImagePull"), Reason.IMAGE_UNAVAILABLE),
    "image is waited for": (replace(YOUNG, waiting_reason="ImagePullBackOff"), Reason.IMAGE_UNAVAILABLE),
    "image name is wrong": (replace(YOUNG, waiting_reason="InvalidImageName"), Reason.IMAGE_UNAVAILABLE),
    "container cannot be made": (replace(YOUNG, waiting_reason="CreateContainerError"), Reason.CONTAINER_REFUSED),
    "claim is missing": (
        replace(YOUNG, scheduler_says=NODES + 'persistentvolumeclaim "backups" not found. preemption: none'),
        Reason.CLAIM_MISSING,
    ),
    "claim is not bound": (
        replace(YOUNG, scheduler_says=NODES + "pod has unbound immediate PersistentVolumeClaims."),
        Reason.CLAIM_PENDING,
    ),
    "claim is in use": (
        replace(
            YOUNG,
            scheduler_says=NODES
            + "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.",
        ),
        Reason.CLAIM_IN_USE,
    ),
    "no node fits": (
        replace(YOUNG, scheduler_says=NODES + "2 node(s) didn't match Pod's node affinity/selector."),
        Reason.UNSCHEDULABLE,
    ),
    "volume is attached elsewhere": (
        replace(YOUNG, remarks=(Remark("FailedAttachVolume", "Multi-Attach error for volume"),)),
        Reason.CLAIM_IN_USE,
    ),
    "volume cannot be mounted": (
        replace(YOUNG, remarks=(Remark("FailedMount", "MountVolume.SetUp failed"),)),
        Reason.CONTAINER_REFUSED,
    ),
    "nobody provides the claim": (replace(OLD, claim=ClaimSeen("backups", "Pending")), Reason.CLAIM_PENDING),
    "nothing is said for long": (OLD, Reason.POD_PENDING),
}


@pytest.mark.parametrize(("pod", "reason"), TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_named_with_what_to_type(pod: WaitingPod, reason: Reason):
    fault = trouble_of(pod, NOW)

    assert fault is not None
    assert fault.reason is reason
    assert "kubectl -n prod" in fault.hint


def test_the_schedulers_words_are_kept():
    pod, _ = TROUBLES["no node fits"]

    fault = trouble_of(pod, NOW)

    assert fault is not None
    assert pod.scheduler_says in fault.detail


@pytest.mark.parametrize("waiting", ["", "ContainerCreating"])
def test_a_young_pod_is_on_its_way(waiting: str):
    assert trouble_of(replace(YOUNG, waiting_reason=waiting), NOW) is None

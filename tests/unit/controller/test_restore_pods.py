"""What becomes of a RestoreRequest whose Job or pods vanish, do not start or die; with a cluster in memory."""

from datetime import timedelta
from typing import Any

import pytest

from backup_operator.controller.cluster import PODS
from tests.unit.controller.restoring import (
    IN_PLACE,
    NOW,
    World,
    policy,
    request,
    restored,
)


def test_a_job_that_vanished_unseen_is_lost_and_says_where_to_look():
    world = World(policy(), request(**IN_PLACE))
    world.settle()

    world.remove_job()
    world.start_operator()
    world.settle()

    status = world.status()
    assert world.true_conditions() == {"Failed": "JobLost"}
    assert "The target is as it was" in status["message"]
    assert "uid-of-back.started" in status["hint"]
    assert "backups:prod/app-db" in status["hint"]


def test_a_job_that_was_deleted_while_its_pod_still_ends_is_waited_for():
    world = World(policy(), request())
    world.settle()
    pod = world.run_pod()

    world.remove_job()
    world.settle()
    assert (world.status()["state"], world.true_conditions()) == ("Running", {})
    pod["status"] = {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": {"terminated": {
        "exitCode": 20, "message": "", "reason": "Error", "startedAt": "2026-11-24T02:00:00Z",
        "finishedAt": "2026-11-24T02:00:09Z"}}}]}  # fmt: skip
    world.memory.remember_pod(pod)
    world.cluster.objects = {place: one for place, one in world.cluster.objects.items() if place[0] != "pods"}
    world.settle()

    assert world.true_conditions() == {"Failed": "JobLost"}
    assert "Whether the worker ever ran is not known" not in world.status()["message"]


def test_what_a_pod_reported_counts_although_its_job_is_gone():
    world = World(policy(), request())
    world.settle()
    world.memory.remember_pod(world.end_pod(restored()))

    world.remove_job()
    world.cluster.objects = {place: one for place, one in world.cluster.objects.items() if place[0] != "pods"}
    world.settle()

    assert world.true_conditions() == {"Complete": "Restored"}


def test_a_pod_that_does_not_start_is_told_while_it_waits_and_when_its_time_is_over():
    world = World(policy(), request(**IN_PLACE))
    world.settle()
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}

    world.run_pod(phase="Pending", containerStatuses=[{"name": "worker", "state": waiting}])
    world.settle()
    status = world.status()
    world.cluster.objects = {place: one for place, one in world.cluster.objects.items() if place[0] != "pods"}
    world.end_job("Failed", reason="DeadlineExceeded")
    world.settle()

    assert status["state"] == "Running"
    assert status["message"] == "The worker image cannot be pulled: not found."
    assert world.true_conditions() == {"Failed": "ImageUnavailable"}
    assert "Nothing was touched: the worker never ran." in world.status()["message"]


@pytest.mark.parametrize(
    ("terminated", "reason"),
    [
        ({"reason": "OOMKilled", "exitCode": 137}, "OutOfMemory"),
        ({"reason": "Error", "exitCode": 137}, "Interrupted"),
        ({"reason": "Error", "exitCode": 1}, "JobLost"),
    ],
)
def test_a_worker_that_died_without_a_word_is_named_with_the_state_of_its_target(
    terminated: dict[str, Any], reason: str
):
    world = World(policy(), request(**IN_PLACE))
    world.settle()

    world.end_pod(None, **terminated)
    world.settle()
    assert world.status()["state"] == "Running"
    world.end_job("Failed")
    world.settle()

    assert world.true_conditions() == {"Failed": reason}
    assert "The target is as it was" in world.status()["message"]
    assert "create another one" in world.status()["hint"]


@pytest.mark.parametrize("job_is_gone", [True, False])
def test_a_pod_whose_node_is_silent_is_told_and_not_taken_for_ended(*, job_is_gone: bool):
    world = World(policy(), request())
    world.settle()
    pod = world.run_pod()
    pod["metadata"]["deletionTimestamp"] = NOW.isoformat()
    world.cluster.put(PODS, pod)
    if job_is_gone:
        world.remove_job()

    world.now = NOW + timedelta(seconds=50)
    world.settle()
    soon = world.status()["message"]
    world.now = NOW + timedelta(minutes=5)
    world.settle()

    assert "its node does not say" not in soon
    assert world.status()["state"] == "Running"
    assert "its node does not say" in world.status()["message"]
    assert f"delete pod {pod['metadata']['name']} --force" in world.status()["hint"]
    assert world.reconcile() == timedelta(minutes=1)

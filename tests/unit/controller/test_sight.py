"""Pods and Jobs as Kubernetes 1.35 gives them, turned into what the rules judge."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backup_operator.contract.report import Report, encode
from backup_operator.controller.sight import (
    attempt_in,
    claim_name_in,
    failed_condition,
    is_waiting,
    job_state,
    job_uid_of,
    remarks_in,
    waiting_pod,
)
from backup_operator.rules.runs import JobState
from backup_operator.vocabulary.choices import Outcome

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
REPORT = Report(outcome=Outcome.SUCCEEDED, started_at=START, completed_at=START)


def pod(*, phase: str = "Pending", state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    container = {"name": "worker", "resources": {"limits": {"memory": "64Mi"}}}
    statuses = [{"name": "worker", "state": state}] if state else []
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "store", "persistentVolumeClaim": {"claimName": "b"}}]
    return {
        "metadata": {
            "namespace": "prod",
            "name": "app-db-1-x",
            "uid": "pod-uid",
            "creationTimestamp": "2026-11-24T02:00:00Z",
            "ownerReferences": [{"kind": "Job", "uid": "job-uid"}],
        },
        "spec": {"containers": [container], "volumes": volumes},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def terminated(**fields: Any) -> dict[str, Any]:
    times = {"startedAt": "2026-11-24T02:00:01Z", "finishedAt": "2026-11-24T02:00:09Z"}
    return {"terminated": {"exitCode": 0, "reason": "Completed", **times, **fields}}


def test_an_ended_pod_gives_its_report():
    attempt = attempt_in(pod(phase="Succeeded", state=terminated(message=encode(REPORT).decode())))

    assert attempt is not None
    assert (attempt.report, attempt.exit_code, attempt.ended_by) == (REPORT, 0, "Completed")
    assert (attempt.finished_at - attempt.started_at).total_seconds() == 8


def test_a_report_is_taken_before_the_pod_itself_has_ended():
    attempt = attempt_in(pod(phase="Running", state=terminated(message=encode(REPORT).decode())))

    assert attempt is not None
    assert attempt.report == REPORT


@pytest.mark.parametrize("message", ["", "Traceback: no JSON", '{"version": 99}', "{"])
def test_what_is_no_report_is_none(message: str):
    attempt = attempt_in(pod(phase="Failed", state=terminated(exitCode=1, message=message)))

    assert attempt is not None
    assert attempt.report is None


def test_the_memory_limit_of_a_killed_worker_is_known():
    attempt = attempt_in(pod(phase="Failed", state=terminated(exitCode=137, reason="OOMKilled")))

    assert attempt is not None
    assert (attempt.ended_by, attempt.memory_limit) == ("OOMKilled", "64Mi")


def test_a_pod_that_was_evicted_before_it_started_has_ended():
    conditions = [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-11-24T02:00:30Z"}]
    attempt = attempt_in(pod(phase="Failed", reason="Evicted", message="low on disk", conditions=conditions))

    assert attempt is not None
    assert (attempt.ended_by, attempt.disrupted, attempt.words) == ("Evicted", True, "low on disk")
    assert attempt.finished_at == datetime(2026, 11, 24, 2, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("phase", "state", "waits"),
    [
        ("Pending", None, True),
        ("Pending", {"waiting": {"reason": "ImagePullBackOff"}}, True),
        ("Running", {"running": {"startedAt": "2026-11-24T02:00:01Z"}}, False),
        ("Failed", None, False),
    ],
)
def test_whether_a_pod_waits(phase: str, state: dict[str, Any] | None, *, waits: bool):
    assert is_waiting(pod(phase=phase, state=state)) is waits
    assert (attempt_in(pod(phase=phase, state=state)) is None) is (phase != "Failed")


def test_a_waiting_pod_keeps_the_words_of_kubelet_and_scheduler():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}

    seen = waiting_pod(pod(state=waiting, conditions=[condition]), None)

    assert (seen.scheduler_says, seen.waiting_reason, seen.waiting_message) == (
        "0/1 nodes",
        "ErrImagePull",
        "not found",
    )


def test_a_pod_knows_its_job_and_its_claim():
    assert job_uid_of(pod()) == "job-uid"
    assert claim_name_in(pod()) == "b"


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([], JobState.ACTIVE),
        ([{"type": "Suspended", "status": "False"}], JobState.ACTIVE),
        ([{"type": "FailureTarget", "status": "True"}], JobState.ACTIVE),
        ([{"type": "Complete", "status": "True"}], JobState.COMPLETE),
        ([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}], JobState.FAILED),
    ],
)
def test_how_far_a_job_is(conditions: list[dict[str, str]], state: JobState):
    job = {"status": {"conditions": conditions}}

    assert job_state(job) is state
    assert failed_condition(job) == (("DeadlineExceeded", "m") if state is JobState.FAILED else ("", ""))


def test_remarks_are_warnings_the_newest_first():
    events = [
        {"type": "Warning", "reason": "Old", "message": "1", "lastTimestamp": "2026-11-24T01:00:00Z", "metadata": {}},
        {"type": "Normal", "reason": "Pulled", "message": "2", "lastTimestamp": "2026-11-24T03:00:00Z", "metadata": {}},
        {"type": "Warning", "reason": "New", "message": "3", "eventTime": "2026-11-24T02:00:00.1Z", "metadata": {}},
    ]

    assert [remark.reason for remark in remarks_in(events)] == ["New", "Old"]

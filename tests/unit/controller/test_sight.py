"""Pods and Jobs as Kubernetes 1.35 gives them, turned into what the rules judge."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backup_operator.contract.report import Report, encode
from backup_operator.contract.restore import RestoreReport, encode_restore
from backup_operator.controller.sight import (
    asked_by,
    attempt_in,
    claim_name_in,
    failed_condition,
    is_waiting,
    job_state,
    job_uid_of,
    remarks_in,
    url_secret_of,
    waiting_pod,
)
from backup_operator.manifests.labels import Work
from backup_operator.manifests.pod import WorkerPod
from backup_operator.manifests.restore import restore_job, target_secret
from backup_operator.rules.runs import JobState
from backup_operator.vocabulary.choices import Outcome
from tests.unit.manifests.policies import policy
from tests.unit.manifests.requests import request

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


def child_of(work: str, message: bytes) -> dict[str, Any]:
    made = pod(phase="Succeeded", state=terminated(message=message.decode()))
    made["metadata"]["labels"] = {"backup.agentsflow.ai/work": work}
    return made


@pytest.mark.parametrize("work", ["plan", "restore"])
def test_a_restoring_pod_is_read_as_one(work: str):
    report = RestoreReport(outcome=Outcome.SUCCEEDED, dry_run=work == "plan", started_at=START, completed_at=START)

    attempt = attempt_in(child_of(work, encode_restore(report)))

    assert attempt is not None
    assert (attempt.restore, attempt.report) == (report, None)


def test_the_report_of_one_kind_of_worker_is_none_of_another():
    report = RestoreReport(outcome=Outcome.SUCCEEDED, dry_run=False, started_at=START, completed_at=START)

    of_restore, of_backup = (
        attempt_in(child_of("restore", encode(REPORT))),
        attempt_in(child_of("backup", encode(REPORT))),
    )

    assert of_restore is not None
    assert of_backup is not None
    assert (of_restore.restore, of_restore.report) == (None, None)
    assert (of_backup.restore, of_backup.report) == (None, REPORT)
    assert encode_restore(report) != encode(REPORT)


def test_who_asked_is_said_in_few_words():
    written = [
        {"manager": "argocd", "operation": "Apply"},
        {"manager": "kubectl-patch", "operation": "Update"},
        {"manager": "kubectl-patch", "operation": "Update"},
        {"manager": "backup-operator", "operation": "Apply", "subresource": "status"},
    ]
    named = {"backup.agentsflow.ai/requested-by": " alice "}

    assert asked_by({}) == ""
    assert asked_by({"managedFields": written}) == "argocd (Apply), kubectl-patch (Update)"
    assert asked_by({"managedFields": written, "annotations": named}).startswith("alice; argocd (Apply)")
    assert len(asked_by({"annotations": {"backup.agentsflow.ai/requested-by": "x" * 1000}})) == 300


def test_the_server_of_a_job_is_told_by_the_secret_that_it_mounts():
    job = restore_job(request(), policy(), WorkerPod(image="worker:1"), work=Work.RESTORE, approved="", asked_by="")

    assert url_secret_of(job) == target_secret(request(), policy())
    assert url_secret_of({"spec": {"template": {"spec": {"volumes": []}}}}) == ""

"""One RestoreRequest step by step: what is seen gives its status and what to do next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState
from backup_operator.contract.report import Fault
from backup_operator.rules.admission import Verdict
from backup_operator.rules.occurrences import restore_happenings
from backup_operator.rules.restore_ends import fault_words
from backup_operator.rules.restoring import Action, LeftPods, Sight, decide
from backup_operator.rules.runs import Attempt, JobSeen, JobState
from backup_operator.vocabulary.reasons import Reason

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
LATER = START + timedelta(minutes=1)
NEW_DATABASE = {"postgres": {"database": "app_restored"}}


def request(target: dict[str, Any] | None = None, **spec: Any) -> RestoreRequest:
    wanted = {"from": {"policyRef": {"name": "app-db"}}, "backup": {"latest": True}, "target": target or NEW_DATABASE}
    overwrites = {"confirm": "app"} if "strategy" in str(wanted["target"]) else {}
    metadata = {"namespace": "prod", "name": "back", "uid": "uid-1"}
    return RestoreRequest.model_validate({"metadata": metadata, "spec": {**wanted, **overwrites, **spec}})


SIGHT = Sight(
    namespace="prod",
    name="back",
    uid="uid-1",
    generation=1,
    request=request(),
    verdict=Verdict(accepted=True, reason=Reason.ACCEPTED, message="fine"),
    plan_job_name="back-plan-1",
    restore_job_name="back-restore-1",
    store="backups:prod/app-db",
)
NOTHING = RestoreRequestStatus()
BEGUN = decide(NOTHING, SIGHT, START).status
ACTIVE = JobSeen("prod", "back-restore-1", "job-uid", START, JobState.ACTIVE)
FAILED = replace(ACTIVE, state=JobState.FAILED, finished_at=LATER, failed_reason="BackoffLimitExceeded")
KILLED = Attempt("pod-1", START, LATER, exit_code=137)
TROUBLE = Fault(reason=Reason.IMAGE_UNAVAILABLE, message="The worker image cannot be pulled", hint="look")


def ended(status: RestoreRequestStatus) -> tuple[str, str]:
    """Its last condition, and reason."""
    condition = status.conditions[-1]
    assert condition.status.value == "True"
    return condition.type, condition.reason


def test_the_marker_comes_with_the_job_and_never_again():
    decision = decide(NOTHING, SIGHT, START)

    assert (decision.action, decision.status.started_at, decision.status.job_name) == (
        Action.RESTORE,
        START,
        "back-restore-1",
    )
    for sight in (SIGHT, replace(SIGHT, restore_job=ACTIVE), replace(SIGHT, waits="…"), replace(SIGHT, request=None)):
        assert decide(decision.status, sight, LATER).action is Action.NONE


def test_only_who_wrote_the_marker_and_got_no_answer_may_create_the_job_again():
    again = decide(BEGUN, replace(SIGHT, may_create=True), LATER)

    assert (again.action, again.status) == (Action.RESTORE, BEGUN)


def test_a_marker_that_somebody_took_out_is_found_again_in_the_job():
    decision = decide(NOTHING, replace(SIGHT, restore_job=ACTIVE), LATER)

    assert (decision.action, decision.status.started_at, decision.status.state) == (
        Action.NONE,
        START,
        RestoreState.RUNNING,
    )


def test_a_time_that_is_no_whole_second_is_written_as_the_server_keeps_it():
    status = decide(NOTHING, SIGHT, START.replace(microsecond=123456)).status

    assert RestoreRequestStatus.model_validate(status.wire()) == status


def test_a_plan_whose_report_is_lost_is_no_plan():
    job = replace(ACTIVE, name="back-plan-1", state=JobState.COMPLETE, finished_at=LATER)

    status = decide(NOTHING, replace(SIGHT, request=request(dryRun=True), plan_job=job), LATER).status

    assert ended(status) == ("Failed", "JobLost")
    assert status.message is not None
    assert "nothing was touched" in status.message


def test_a_plan_whose_image_is_missing_says_so_until_the_end():
    planning = replace(SIGHT, request=request(dryRun=True))
    job = replace(ACTIVE, name="back-plan-1", trouble=TROUBLE)

    waiting = decide(NOTHING, replace(planning, plan_job=job), START).status
    over = replace(job, trouble=None, state=JobState.FAILED, failed_reason="DeadlineExceeded", finished_at=LATER)
    status = decide(waiting, replace(planning, plan_job=over), LATER).status

    assert (waiting.state, waiting.message) == (RestoreState.PLANNING, "The worker image cannot be pulled.")
    assert ended(status) == ("Failed", "ImageUnavailable")
    assert len(status.conditions) == 1


def test_a_restore_whose_report_is_lost_and_whose_job_is_complete_is_complete():
    job = replace(ACTIVE, state=JobState.COMPLETE, finished_at=LATER)

    status = decide(BEGUN, replace(SIGHT, restore_job=job), LATER).status

    assert ended(status) == ("Complete", "Restored")
    assert "lost" in (status.message or "")


def test_trouble_with_the_pod_is_said_and_forgotten_when_it_starts():
    waiting = decide(BEGUN, replace(SIGHT, restore_job=replace(ACTIVE, trouble=TROUBLE)), START).status
    running = decide(waiting, replace(SIGHT, restore_job=ACTIVE), LATER).status

    assert [(one.type, one.status, one.reason) for one in waiting.conditions] == [
        ("Complete", "False", "ImageUnavailable")
    ]
    assert running == BEGUN


TARGETS: dict[str, tuple[dict[str, Any], str]] = {
    "NewDatabase": (NEW_DATABASE, "No database that was there is changed"),
    "SwapDatabase": ({"postgres": {"strategy": "SwapDatabase"}}, "or else swapped as a whole"),
    "InPlace": ({"postgres": {"strategy": "InPlace"}}, "The target is as it was"),
    "FailIfNotEmpty": ({"redis": {}}, "may now hold a part of the keys"),
    "Merge": ({"redis": {"strategy": "Merge"}}, "A part of the backup's keys may be written"),
    "Replace": ({"redis": {"strategy": "Replace"}}, "may hold a part of the backup only"),
}


@pytest.mark.parametrize(("target", "words"), TARGETS.values(), ids=TARGETS)
def test_a_worker_that_was_killed_leaves_its_target_in_a_state_that_is_said(target: dict[str, Any], words: str):
    sight = replace(SIGHT, request=request(target), restore_job=replace(FAILED, attempts=(KILLED,)))

    status = decide(BEGUN, sight, LATER).status

    assert ended(status) == ("Failed", "Interrupted")
    assert words in (status.message or "")
    assert "Whether the worker ever ran" not in (status.message or "")
    assert "uid-1.started" in (status.hint or "")


UNKNOWN = replace(KILLED, ended_by="ContainerStatusUnknown")
RAN: dict[str, tuple[tuple[Attempt, ...], bool, str]] = {
    "its container could not be started": (
        (replace(KILLED, exit_code=128, ended_by="StartError"),),
        False,
        "never ran",
    ),
    "nothing is known of a pod": ((), False, "Whether the worker ever ran is not known"),
    "its pod never started": ((), True, "never ran"),
    "kubelet never had a container": ((UNKNOWN,), True, "never ran"),
    "kubelet lost the container": ((UNKNOWN,), False, "Whether the worker ever ran is not known"),
    "kubelet lost a running container": (
        (replace(UNKNOWN, words="…  The container used to be Running"),),
        True,
        "No database that was there is changed",
    ),
    "it was killed": ((KILLED,), True, "No database that was there is changed"),
}


@pytest.mark.parametrize("is_gone", [True, False], ids=["its Job is gone", "its Job failed"])
@pytest.mark.parametrize(("attempts", "waited", "words"), RAN.values(), ids=RAN)
def test_whether_the_worker_ever_ran_is_said(*, attempts: tuple[Attempt, ...], waited: bool, words: str, is_gone: bool):
    trouble = replace(SIGHT, restore_job=replace(ACTIVE, trouble=TROUBLE if waited else None))
    before = decide(BEGUN, trouble, START).status
    sight = (
        replace(SIGHT, left=LeftPods(attempts))
        if is_gone
        else replace(SIGHT, restore_job=replace(FAILED, attempts=attempts))
    )

    status = decide(before, sight, LATER).status

    assert ended(status)[0] == "Failed"
    assert words in (status.message or "")


def test_an_end_is_for_good_whatever_is_seen():
    status = decide(BEGUN, replace(SIGHT, restore_job=replace(FAILED, attempts=(KILLED,))), LATER).status

    for sight in (
        SIGHT,
        replace(SIGHT, restore_job=ACTIVE),
        replace(SIGHT, generation=2),
        replace(SIGHT, may_create=True),
    ):
        assert decide(status, sight, LATER).status == status
        assert decide(status, sight, LATER).action is Action.NONE


def test_events_are_told_once():
    running = restore_happenings(NOTHING, BEGUN)
    waiting = decide(BEGUN, replace(SIGHT, restore_job=replace(ACTIVE, trouble=TROUBLE)), START).status
    failed = decide(waiting, replace(SIGHT, restore_job=replace(FAILED, attempts=(KILLED,))), LATER).status

    assert [(one.reason, one.warning) for one in running] == [("RestoreStarted", False)]
    assert [(one.reason, one.warning) for one in restore_happenings(BEGUN, waiting)] == [("ImageUnavailable", True)]
    assert [(one.reason, one.warning) for one in restore_happenings(waiting, failed)] == [("Interrupted", True)]
    assert restore_happenings(failed, failed) == []


@pytest.mark.parametrize(
    ("message", "detail", "words"),
    [
        ("it failed", "", "it failed."),
        ("it failed", "because", "it failed: because."),
        ("it failed. Nothing was touched", "because", "it failed. Nothing was touched. Detail: because."),
        ("it failed", "Nothing was touched.", "it failed. Nothing was touched."),
        ("none is there; nothing was changed", "one of May", "none is there: one of May. Nothing was changed."),
        ("it failed because of it", "because of it", "it failed because of it."),
    ],
)
def test_a_fault_is_told_in_sentences(message: str, detail: str, words: str):
    assert fault_words(Fault(reason=Reason.RESTORE_FAILED, message=message, detail=detail)) == words

"""What a Job says about its run, reported or not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.report import Fault, Report
from backup_operator.rules.runs import Attempt, JobSeen, JobState, verdict_of
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
END = START + timedelta(minutes=1)
ACTIVE = JobSeen("prod", "app-db-1", "uid", START, JobState.ACTIVE)
FAILED = replace(ACTIVE, state=JobState.FAILED, finished_at=END, failed_reason="BackoffLimitExceeded")
OVERDUE = replace(FAILED, failed_reason="DeadlineExceeded", failed_message="Job was active longer than specified")
COMPLETE = replace(ACTIVE, state=JobState.COMPLETE, finished_at=END)
KILLED = Attempt("pod-1", START, END, exit_code=137)


def report(reason: Reason | None = None) -> Report:
    fault = Fault(reason=reason, message="why", hint="what to do") if reason else None
    outcome = Outcome.FAILED if fault else Outcome.SUCCEEDED
    return Report(outcome=outcome, run="backup_x", started_at=START, completed_at=END, fault=fault)


def ended(reason: Reason | None = None, **fields: object) -> Attempt:
    known = {"exit_code": 20 if reason else 0, "report": report(reason)} | fields
    return Attempt("pod-1", START, END, **known)  # type: ignore[arg-type]  # fields of the case's own


TROUBLE = Fault(reason=Reason.IMAGE_UNAVAILABLE, message="no image")
FAULTS = {
    "the worker's own reason": (replace(FAILED, attempts=(ended(Reason.LOCK_TIMEOUT),)), Reason.LOCK_TIMEOUT),
    "the newest attempt counts": (
        replace(FAILED, attempts=(ended(Reason.LOCK_TIMEOUT), ended(Reason.STORE_BUSY))),
        Reason.STORE_BUSY,
    ),
    "killed for its memory": (
        replace(FAILED, attempts=(replace(KILLED, ended_by="OOMKilled"),)),
        Reason.OUT_OF_MEMORY,
    ),
    "killed for its memory after it had reported": (
        replace(FAILED, attempts=(ended(Reason.DUMP_INCOMPLETE, ended_by="OOMKilled", exit_code=137),)),
        Reason.OUT_OF_MEMORY,
    ),
    "killed by someone": (replace(FAILED, attempts=(KILLED,)), Reason.INTERRUPTED),
    "evicted": (replace(ACTIVE, attempts=(Attempt("p", START, END, ended_by="Evicted"),)), Reason.INTERRUPTED),
    "drained": (replace(ACTIVE, attempts=(Attempt("p", START, END, exit_code=1, disrupted=True),)), Reason.INTERRUPTED),
    "a container that did not start": (
        replace(FAILED, attempts=(Attempt("p", START, END, exit_code=128, ended_by="StartError"),)),
        Reason.CONTAINER_REFUSED,
    ),
    "a crash without a word": (replace(FAILED, attempts=(Attempt("p", START, END, exit_code=1),)), Reason.JOB_LOST),
    "no pod left": (FAILED, Reason.JOB_LOST),
    "over its deadline, pod gone": (OVERDUE, Reason.DEADLINE_EXCEEDED),
    "over its deadline, stopped while it worked": (
        replace(OVERDUE, attempts=(ended(Reason.INTERRUPTED),)),
        Reason.DEADLINE_EXCEEDED,
    ),
    "a pod that does not start": (replace(ACTIVE, trouble=TROUBLE), Reason.IMAGE_UNAVAILABLE),
    "a retry that does not start": (
        replace(ACTIVE, attempts=(ended(Reason.LOCK_TIMEOUT),), trouble=TROUBLE),
        Reason.IMAGE_UNAVAILABLE,
    ),
    "a first attempt that failed while the Job goes on": (
        replace(ACTIVE, attempts=(ended(Reason.CONNECTION_REFUSED),)),
        Reason.CONNECTION_REFUSED,
    ),
}


@pytest.mark.parametrize(("job", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_failure_is_named(job: JobSeen, reason: Reason):
    verdict = verdict_of(job)

    assert verdict is not None
    assert verdict.fault is not None
    assert verdict.fault.reason is reason
    assert verdict.fault.message
    assert verdict.over is (job.state is JobState.FAILED)


@pytest.mark.parametrize(
    ("job", "reason"), [case for case in FAULTS.values() if not case[0].attempts or not case[0].attempts[-1].report]
)
def test_what_we_name_ourselves_says_what_to_type_next(job: JobSeen, reason: Reason):
    verdict = verdict_of(job)

    assert verdict is not None
    assert verdict.fault is not None
    assert verdict.fault.hint or verdict.fault is TROUBLE


def test_a_run_on_its_way_says_nothing():
    assert verdict_of(ACTIVE) is None


def test_a_run_that_passed_its_memory_limit_says_how_to_see_what_it_had():
    verdict = verdict_of(replace(FAILED, attempts=(replace(KILLED, ended_by="OOMKilled"),)))

    assert verdict is not None
    assert verdict.fault is not None
    assert verdict.fault.hint.endswith(f"kubectl -n {FAILED.namespace} describe job {FAILED.name}")


def test_a_good_run_says_so_with_its_report():
    verdict = verdict_of(replace(COMPLETE, attempts=(ended(Reason.LOCK_TIMEOUT), ended())))

    assert verdict is not None
    assert verdict.fault is None
    assert verdict.report == report()


def test_a_complete_job_without_its_pod_is_a_good_run_without_a_report():
    verdict = verdict_of(COMPLETE)

    assert verdict is not None
    assert (verdict.fault, verdict.report) == (None, None)

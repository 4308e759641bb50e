"""What the watch has told: pods that are gone, and who writes where."""

from typing import Any

import pytest

from backup_operator.controller.cluster import Key
from backup_operator.controller.memory import GONE_JOBS_KNOWN, Memory, writes_where_it_wants
from tests.unit.controller.test_sight import pod, terminated

POSTGRES = {"postgres": {"urlSecretRef": {"name": "app", "key": "URL"}}}


def policy(name: str, path: str, *, in_use: str = "", generation: int = 1) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "prod",
            "name": name,
            "uid": f"uid-{name}",
            "generation": generation,
            "creationTimestamp": "2026-11-24T02:00:00Z",
        },
        "spec": {
            "source": POSTGRES,
            "schedule": "@daily",
            "encryption": {"passphraseSecretRef": {"name": "app", "key": "KEY"}},
            "storage": {"claimName": "backups", "path": path},
        },
        "status": {"store": in_use} if in_use else {},
    }


def test_what_a_pod_said_outlives_it_until_its_job_is_gone():
    memory = Memory()

    memory.remember_pod(pod())
    assert memory.attempts("job-uid") == {}
    memory.remember_pod(pod(phase="Failed", state=terminated(exitCode=20)))
    assert list(memory.attempts("job-uid")) == ["pod-uid"]
    memory.forget_job("job-uid")
    assert memory.attempts("job-uid") == {}


def test_a_pod_that_goes_after_its_job_is_not_kept_for_ever():
    memory = Memory()
    ended = pod(phase="Failed", state=terminated(exitCode=20))

    memory.remember_pod(ended)
    memory.forget_job("job-uid")
    memory.remember_pod(ended)

    assert memory.attempts("job-uid") == {}


def test_jobs_that_are_gone_are_forgotten_in_the_end():
    memory = Memory()

    for number in range(GONE_JOBS_KNOWN + 5):
        memory.forget_job(f"job-{number}")

    assert len(memory._gone_jobs) == GONE_JOBS_KNOWN


def test_a_policy_is_news_once_and_its_runs_are_none():
    memory = Memory()
    first = policy("a", "db")

    assert memory.learn_policy(first)
    assert not memory.learn_policy({**first, "status": {"backupCount": 3}})
    assert memory.learn_policy(policy("a", "db", generation=2))


def test_a_store_that_is_written_to_and_one_that_is_wanted_are_both_known():
    memory = Memory()

    memory.learn_policy(policy("a", "new", in_use="backups:old"))

    assert {(one.path, one.holds) for one in memory.neighbours("prod")} == {("new", False), ("old", True)}
    assert memory.neighbours("other") == ()
    memory.forget_policy(Key("prod", "a"))
    assert memory.neighbours("prod") == ()


def test_who_writes_where_it_wants():
    assert writes_where_it_wants(policy("a", "db", in_use="backups:db"))
    assert not writes_where_it_wants(policy("a", "db", in_use="backups:other"))
    assert not writes_where_it_wants(policy("a", "db"))


def pod_of_restore(*, state: dict[str, Any]) -> dict[str, Any]:
    made = pod(phase="Failed", state=state)
    made["metadata"] |= {
        "labels": {"app.kubernetes.io/managed-by": "backup-operator", "backup.agentsflow.ai/work": "restore"},
        "annotations": {"backup.agentsflow.ai/request-name": "back"},
        "ownerReferences": [{"kind": "Job", "uid": "job-uid", "name": "back-restore-1"}],
    }
    return made


def test_what_the_pod_of_a_restore_said_is_found_by_its_jobs_name_until_the_request_has_ended():
    memory, key = Memory(), Key("prod", "back")
    ended = pod_of_restore(state=terminated(exitCode=20))

    memory.remember_pod(ended)
    assert list(memory.attempts_for(key, "back-restore-1")) == ["pod-uid"]
    assert memory.attempts_for(key, "back-restore-2") == {}
    assert memory.attempts_for(Key("other", "back"), "back-restore-1") == {}
    memory.forget_request(key)
    memory.remember_pod(ended)
    assert memory.attempts_for(key, "back-restore-1") == {}


def request(name: str = "a", namespace: str = "prod", *, dry_run: bool = False, **status: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "generation": 1}
    return {"metadata": metadata, "spec": {"dryRun": dry_run}, "status": status}


@pytest.mark.parametrize(
    ("seen", "is_open"),
    [
        (request(), True),
        (request(state="Waiting"), True),
        (request(state="Planned"), True),
        (request(state="Planned", dry_run=True), False),
        (request(state="Running", startedAt="…"), False),
        (request(state="Failed", completedAt="…"), False),
    ],
    ids=["new", "waiting", "approved", "planned", "running", "ended"],
)
def test_requests_that_may_wait_for_something_are_known_by_their_namespace(*, seen: dict[str, Any], is_open: bool):
    memory = Memory()
    memory.learn_request(request(namespace="other"))

    memory.learn_request(request())
    memory.learn_request(seen)

    assert memory.open_requests("prod") == ({Key("prod", "a")} if is_open else set())


def test_a_request_is_news_to_others_when_it_is_new_edited_or_one_state_on():
    memory = Memory()

    assert memory.learn_request(request(state="Waiting"))
    assert not memory.learn_request(request(state="Waiting", message="for another reason"))
    assert memory.learn_request(request(state="Running"))
    memory.forget_request(Key("prod", "a"))
    assert memory.learn_request(request(state="Running"))

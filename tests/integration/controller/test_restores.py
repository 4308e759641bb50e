"""A RestoreRequest's life on a real API server, with the rights of the chart; its worker's image cannot be pulled."""

import json
from typing import Any

import pytest

from tests.integration.controller.test_policies import policy
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until
from tests.support.shell import ProgramFailed

REQUEST = "restorerequest"
OF_REQUESTS = "backup.agentsflow.ai/request"
ORDER = "backup.agentsflow.ai/order"


def request(name: str = "back", **spec: Any) -> dict[str, Any]:
    wanted = {
        "from": {"policyRef": {"name": "app-db"}},
        "backup": {"latest": True},
        "target": {"postgres": {"database": "app_restored"}},
    }
    return {
        "apiVersion": "backup.agentsflow.ai/v1alpha1",
        "kind": "RestoreRequest",
        "metadata": {"name": name},
        "spec": wanted | spec,
    }


def status_of(namespace: Namespace, name: str = "back") -> dict[str, Any]:
    return dict(namespace.find(REQUEST, name).get("status", {}))


def wait_for_state(namespace: Namespace, state: str, name: str = "back", *, says: str = "") -> dict[str, Any]:
    """Its status, once it is in that state and its message holds these words."""
    return wait_until(
        lambda: status_of(namespace, name),
        lambda status: status.get("state") == state and says in status.get("message", ""),
        for_what=f"{name} is {state} and says {says!r}",
    )


def true_conditions(namespace: Namespace, name: str = "back") -> dict[str, str]:
    found = status_of(namespace, name).get("conditions", [])
    return {one["type"]: one["reason"] for one in found if one["status"] == "True"}


def restore_jobs(namespace: Namespace) -> list[str]:
    return [one["metadata"]["name"] for one in namespace.list("job", OF_REQUESTS)]


def events(namespace: Namespace) -> set[str]:
    try:
        answer = namespace.kubectl("get", "events.events.k8s.io", "--output=json")
    except ProgramFailed:
        return set()
    regarding = [(one.get("regarding", {}).get("kind"), one["reason"]) for one in json.loads(answer)["items"]]
    return {reason for kind, reason in regarding if kind == "RestoreRequest"}


def with_policy(namespace: Namespace) -> Namespace:
    """The namespace, with a policy and its claim."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "backups"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    namespace.apply(claim, policy())
    return namespace


@pytest.fixture
def served(operator_everywhere: None, namespace: Namespace) -> Namespace:
    """The namespace, with a policy and its claim, and an operator that has the rights of the chart."""
    return with_policy(namespace)


def test_a_request_gets_its_job_and_says_what_its_pod_waits_for(served: Namespace):
    served.apply(request(), as_manager="alice")

    status = wait_for_state(served, "Running", says="The worker image cannot be pulled")

    (job,) = served.list("job", OF_REQUESTS)
    order = json.loads(job["spec"]["template"]["metadata"]["annotations"][ORDER])
    assert job["metadata"]["name"] == status["jobName"]
    assert (job["spec"]["backoffLimit"], job["spec"]["podReplacementPolicy"]) == (0, "Failed")
    assert order["request"]["asked_by"] == "alice (Apply)"
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]] == [
        ("Complete", "False", "ImageUnavailable")
    ]
    wait_until(lambda: events(served), {"RestoreStarted", "ImageUnavailable"}.issubset, for_what="Events")
    columns = served.kubectl("get", "rr", "back").splitlines()[1].split()
    assert columns[:2] == ["back", "app-db"]


def test_a_restore_that_is_deleted_takes_its_job_along(served: Namespace):
    served.apply(request())
    wait_for_state(served, "Running")

    served.delete(REQUEST, "back")

    wait_until(lambda: restore_jobs(served), lambda jobs: not jobs, for_what="no Job")


def test_a_job_that_is_deleted_before_its_pod_ran_ends_the_request(served: Namespace):
    served.apply(request())
    status = wait_for_state(served, "Running", says="cannot be pulled")

    served.delete("job", status["jobName"])

    ended = wait_for_state(served, "Failed")
    assert true_conditions(served) == {"Failed": "JobLost"}
    assert "Nothing was touched" in ended["message"]
    served.kubectl("annotate", REQUEST, "back", "touched=yes")
    served.apply(request("other", target={"postgres": {"urlSecretRef": {"name": "other", "key": "URL"}}}))
    wait_for_state(served, "Running", "other")
    assert status_of(served) == ended
    assert len(restore_jobs(served)) == 1


@pytest.mark.usefixtures("operator_everywhere")
def test_what_a_request_waits_for_wakes_it(namespace: Namespace):
    namespace.apply(request())
    wait_for_state(namespace, "Waiting", says="BackupPolicy app-db does not exist (yet)")

    with_policy(namespace)

    wait_for_state(namespace, "Running")


def test_the_next_request_to_a_target_begins_when_the_one_before_is_gone(served: Namespace):
    served.apply(request("first"))
    wait_for_state(served, "Running", "first")
    served.apply(request("second"))
    wait_for_state(served, "Waiting", "second")

    served.delete(REQUEST, "first")

    wait_for_state(served, "Running", "second")


def test_a_backup_of_the_target_is_waited_for(served: Namespace):
    wait_until(lambda: served.find("cronjob", "app-db"), bool, for_what="the CronJob")
    served.kubectl("create", "job", "--from=cronjob/app-db", "a-backup")
    served.apply(request())
    wait_for_state(served, "Waiting", says="its Job a-backup has not ended")

    served.delete("job", "a-backup")

    wait_for_state(served, "Running")


def test_a_chain_of_requests_fails_with_its_first(served: Namespace):
    served.apply(request("first"))
    status = wait_for_state(served, "Running", "first")
    served.apply(request("second", after=["first"]), request("third", after=["second"]))
    wait_for_state(served, "Waiting", "third")

    served.delete("job", status["jobName"])

    wait_for_state(served, "Failed", "third")
    assert true_conditions(served, "second") == {"Failed": "AfterFailed"}
    assert true_conditions(served, "third") == {"Failed": "AfterFailed"}


def test_a_plan_is_asked_for_with_a_store_that_cannot_be_written(served: Namespace):
    served.apply(request(dryRun=True))

    status = wait_for_state(served, "Planning", says="The worker image cannot be pulled")

    (job,) = served.list("job", OF_REQUESTS)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "-plan-" in status["jobName"]
    assert [one.get("readOnly") for one in container["volumeMounts"] if one["name"] == "store"] == [True]


def test_a_feature_of_a_later_release_is_refused_for_good(served: Namespace):
    volume = {"redisVolume": {"claimName": "data", "workloadRef": {"kind": "StatefulSet", "name": "redis"}}}
    served.apply(request(target=volume, confirm="data"))

    status = wait_for_state(served, "Failed")

    assert true_conditions(served) == {"Failed": "NotYetSupported"}
    assert (status["source"], status["backup"], status["target"]) == ("app-db", "latest", "claim data")
    assert restore_jobs(served) == []

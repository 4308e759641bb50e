"""A policy's life on a real API server: CronJob, status, Events, drift, refusals, death."""

import json
from typing import Any

import pytest

from tests.support.kubectl import Namespace
from tests.support.policies import SAID_SECONDS
from tests.support.polling import wait_until
from tests.support.shell import ProgramFailed

pytestmark = pytest.mark.usefixtures("operator_everywhere")

POLICY = "backuppolicy"
OURS = "app.kubernetes.io/managed-by=backup-operator"


def policy(name: str = "app-db", **spec: Any) -> dict[str, Any]:
    """A policy that runs once a year."""
    wanted = {
        "source": {"postgres": {"urlSecretRef": {"name": "app", "key": "URL"}}},
        "schedule": "0 0 1 1 *",
        "encryption": {"passphraseSecretRef": {"name": "app", "key": "KEY"}},
        "storage": {"claimName": "backups"},
    } | spec
    return {
        "apiVersion": "backup.agentsflow.ai/v1alpha1",
        "kind": "BackupPolicy",
        "metadata": {"name": name},
        "spec": wanted,
    }


def conditions(namespace: Namespace, name: str = "app-db") -> dict[str, str]:
    """The reason of each condition."""
    status = namespace.find(POLICY, name).get("status", {})
    return {one["type"]: one["reason"] for one in status.get("conditions", [])}


def wait_for(
    namespace: Namespace, name: str = "app-db", *, timeout_seconds: float = SAID_SECONDS, **reasons: str
) -> dict[str, Any]:
    """The policy, when its conditions have these reasons."""
    wait_until(
        lambda: conditions(namespace, name),
        lambda found: reasons.items() <= found.items(),
        for_what=f"{name} with {reasons}",
        timeout_seconds=timeout_seconds,
    )
    return namespace.get(POLICY, name)


def cronjob_spec(namespace: Namespace, name: str = "app-db") -> dict[str, Any]:
    """The spec of a CronJob; empty while there is none."""
    spec: dict[str, Any] = namespace.find("cronjob", name).get("spec", {})
    return spec


def test_a_policy_gets_its_cronjob_an_inventory_a_status_and_events(namespace: Namespace):
    namespace.apply(policy())

    found = wait_for(namespace, Accepted="Accepted", Scheduled="Scheduled", Fresh="NeverSucceeded", Ready="NeverRun")

    assert cronjob_spec(namespace)["schedule"] == "0 0 1 1 *"
    assert found["status"]["observedGeneration"] == 1
    assert found["status"]["nextBackupAt"].endswith("-01-01T00:00:00Z")
    assert found["status"]["store"] == f"backups:{namespace.name}/app-db"
    inventory = wait_until(lambda: namespace.list("job", OURS), len, for_what="the inventory Job")[0]
    assert inventory["metadata"]["name"].startswith("app-db-inventory-")
    expected = {"Accepted", "Scheduled", "NeverSucceeded", "ClaimMissing"}
    wait_until(lambda: _events(namespace), lambda told: told == expected, for_what="Events")


def test_nothing_of_the_watch_engine_is_left_in_a_policy(namespace: Namespace):
    namespace.apply(policy())

    wait_for(namespace, Scheduled="Scheduled")
    found = json.loads(namespace.kubectl("get", POLICY, "app-db", "--show-managed-fields", "--output=json"))
    metadata = found["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    assert {one["manager"] for one in metadata["managedFields"]} == {"e2e", "backup-operator"}


def test_the_cronjob_follows_the_spec(namespace: Namespace):
    namespace.apply(policy())
    wait_for(namespace, Scheduled="Scheduled")

    namespace.apply(policy(schedule="30 4 * * *", timeZone="Europe/Berlin", suspend=True))

    found = wait_for(namespace, Scheduled="Suspended", Ready="Suspended")
    spec = cronjob_spec(namespace)
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 4 * * *", "Europe/Berlin", True)
    assert "nextBackupAt" not in found["status"]
    namespace.apply(policy(schedule="30 4 * * *", timeZone="Europe/Berlin"))
    wait_for(namespace, Scheduled="Scheduled")


def test_drift_is_repaired(namespace: Namespace):
    namespace.apply(policy())
    wait_for(namespace, Scheduled="Scheduled")

    namespace.patch("cronjob", "app-db", {"spec": {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow"}})
    spec = wait_until(
        lambda: cronjob_spec(namespace), lambda found: found["schedule"] == "0 0 1 1 *", for_what="our schedule again"
    )
    assert spec["concurrencyPolicy"] == "Forbid"

    uid = namespace.get("cronjob", "app-db")["metadata"]["uid"]
    namespace.delete("cronjob", "app-db", wait=False)
    wait_until(
        lambda: namespace.find("cronjob", "app-db").get("metadata", {}).get("uid", uid),
        lambda found: found != uid,
        for_what="another CronJob",
    )


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"drill": {"schedule": "@weekly"}}, "NotYetSupported", "spec.drill"),
        ({"timeZone": "Mars/Olympus"}, "InvalidSpec", "Mars/Olympus"),
    ],
)
def test_while_a_spec_is_not_accepted_the_last_accepted_cronjob_stays(
    namespace: Namespace, change: dict[str, Any], reason: str, words: str
):
    namespace.apply(policy())
    wait_for(namespace, Scheduled="Scheduled")
    before = namespace.get("cronjob", "app-db")

    namespace.apply(policy(schedule="@daily", **change))

    found = wait_for(namespace, Accepted=reason, Ready=reason, Scheduled="Scheduled")
    assert words in found["status"]["message"]
    assert namespace.get("cronjob", "app-db")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    namespace.apply(policy(schedule="@daily"))
    wait_for(namespace, Accepted="Accepted")
    assert cronjob_spec(namespace)["schedule"] == "@daily"


def test_a_new_policy_that_is_not_accepted_gets_nothing(namespace: Namespace):
    namespace.apply(policy(drill={"schedule": "@weekly"}))

    wait_for(namespace, Accepted="NotYetSupported", Scheduled="NotYetSupported", Ready="NotYetSupported")

    assert namespace.list("cronjob") == []
    assert namespace.list("job") == []


def test_of_two_policies_on_one_path_the_older_has_it_until_it_goes(namespace: Namespace):
    namespace.apply(policy("first", storage={"claimName": "backups", "path": "same"}))
    wait_for(namespace, "first", Accepted="Accepted")

    namespace.apply(policy("second", storage={"claimName": "backups", "path": "same/below"}))

    found = wait_for(namespace, "second", Accepted="PathTaken")
    assert "BackupPolicy first" in found["status"]["message"]
    assert conditions(namespace, "first")["Accepted"] == "Accepted"
    namespace.delete(POLICY, "first")
    wait_for(namespace, "second", Accepted="Accepted", Scheduled="Scheduled")


def test_a_cronjob_of_somebody_else_is_left_alone(namespace: Namespace):
    job = {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "registry.invalid/a"}]}}
    }
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "app-db"},
        "spec": {"schedule": "0 0 2 2 *", "jobTemplate": {"spec": job}},
    }
    namespace.apply(theirs)

    namespace.apply(policy())

    found = wait_for(namespace, Accepted="Accepted", Scheduled="ApplyRefused", Ready="ApplyRefused")
    assert "delete cronjob app-db" in found["status"]["message"]
    assert cronjob_spec(namespace)["schedule"] == "0 0 2 2 *"
    namespace.delete("cronjob", "app-db")
    namespace.patch(POLICY, "app-db", {"spec": {"schedule": "@daily"}})
    wait_for(namespace, Scheduled="Scheduled")


def test_a_name_of_253_characters_works(namespace: Namespace):
    name = ".".join(["a" * 60] * 4)[:243] + "-" + "z" * 9

    namespace.apply(policy(name))

    wait_for(namespace, name, Scheduled="Scheduled")
    (cronjob,) = namespace.list("cronjob")
    assert len(cronjob["metadata"]["name"]) <= 52
    wait_until(lambda: namespace.list("job"), len, for_what="the inventory Job")
    namespace.kubectl("create", "job", f"--from=cronjob/{cronjob['metadata']['name']}", "by-hand")
    found = wait_until(
        lambda: namespace.get(POLICY, name), lambda one: "activeBackup" in one["status"], for_what="the run by hand"
    )
    assert found["status"]["activeBackup"]["jobName"] == "by-hand"


def test_a_deleted_policy_takes_its_jobs_with_it_and_leaves_the_claim(namespace: Namespace):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "backups"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    namespace.apply(claim, policy())
    wait_for(namespace, Scheduled="Scheduled")
    namespace.kubectl("create", "job", "--from=cronjob/app-db", "by-hand")
    wait_until(lambda: namespace.list("pod"), len, for_what="a pod")

    namespace.delete(POLICY, "app-db")

    wait_until(
        lambda: [*namespace.list("cronjob"), *namespace.list("job"), *namespace.list("pod")],
        lambda left: left == [],
        for_what="nothing that runs",
    )
    assert "deletionTimestamp" not in namespace.get("persistentvolumeclaim", "backups")["metadata"]


def test_a_deleted_policy_that_is_made_again_starts_over_under_its_new_uid(namespace: Namespace):
    namespace.apply(policy())
    wait_for(namespace, Scheduled="Scheduled")

    namespace.delete(POLICY, "app-db")
    namespace.apply(policy())

    uid = wait_for(namespace, Scheduled="Scheduled")["metadata"]["uid"]
    wait_until(
        lambda: {owner["uid"] for one in namespace.list("cronjob") for owner in one["metadata"]["ownerReferences"]},
        lambda owners: owners == {uid},
        for_what="a CronJob of the new policy",
    )


def test_pods_that_a_quota_refuses_are_named(namespace: Namespace):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    namespace.apply(policy())
    wait_for(namespace, Scheduled="Scheduled")
    namespace.apply(quota)
    wait_until(lambda: namespace.get("resourcequota", "none").get("status", {}).get("hard"), bool, for_what="the quota")

    namespace.kubectl("create", "job", "--from=cronjob/app-db", "refused")

    found = wait_for(namespace, LastRunSucceeded="PodRefused", Ready="PodRefused")
    assert "exceeded quota" in found["status"]["message"]


def _events(namespace: Namespace) -> set[str]:
    try:
        answer = namespace.kubectl("get", "events.events.k8s.io", "--output=json")
    except ProgramFailed:
        return set()
    return {
        one["reason"] for one in json.loads(answer)["items"] if one.get("regarding", {}).get("kind") == "BackupPolicy"
    }

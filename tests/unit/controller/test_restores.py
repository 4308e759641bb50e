"""A RestoreRequest's life with a cluster in memory: waiting, planning, running, its two ends, and never again."""

import asyncio
import copy
from datetime import timedelta
from typing import Any

import pytest
import yaml

from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.controller.cluster import CLAIMS, JOBS, PODS, RESTORES, Key, Refused, Resource
from backup_operator.manifests.labels import ORDER_ANNOTATION, Work
from backup_operator.vocabulary.reasons import Reason
from tests.unit.controller.restoring import (
    IN_PLACE,
    NAMESPACE,
    NOW,
    World,
    claim,
    failed,
    plan,
    policy,
    request,
    restored,
)

APP_KEY = {"name": "app", "key": "KEY"}


def order_of(job: dict[str, Any]) -> str:
    return str(job["spec"]["template"]["metadata"]["annotations"][ORDER_ANNOTATION])


def test_a_restore_ends_complete_with_everything_that_was_found():
    world = World(policy(), request())

    world.settle()
    running = world.status()
    world.run_job(restored())
    world.settle()

    status = world.status()
    assert (running["state"], running["startedAt"], running["jobName"]) == (
        "Running",
        "2026-11-24T02:00:00Z",
        world.created_jobs()[0],
    )
    assert {name: status[name] for name in status if name != "conditions"} == {
        "observedGeneration": 1,
        "artifact": "backup_20261124_010000.sql.gz.gpg",
        "jobName": running["jobName"],
        "steps": [{"name": "verify", "seconds": 1}, {"name": "restore", "seconds": 40}],
        "checks": [{"name": "users", "expected": "at least 1", "found": "7", "passed": True}],
        "rows": 7,
        "startedAt": "2026-11-24T02:00:00Z",
        "completedAt": "2026-11-24T02:00:42Z",
        "durationSeconds": 42,
        "message": "backup_20261124_010000 is restored to PostgreSQL NewDatabase app_restored "
        "(7 rows, its check holds).",
        "source": "app-db",
        "backup": "backup_20261124_010000",
        "target": "PostgreSQL NewDatabase app_restored",
        "state": "Complete",
    }
    assert world.true_conditions() == {"Complete": "Restored"}
    assert sorted(world.events()) == ["RestoreStarted", "Restored"]


def test_a_plan_is_written_and_its_approval_carries_its_pin():
    world = World(policy(), request(dryRun=True))

    world.settle()
    assert world.status()["state"] == "Planning"
    world.run_job(plan(), Work.PLAN)
    world.settle()
    status = world.status()
    world.approve()
    world.settle()

    assert (status["state"], status["pin"], status["plan"]) == ("Planned", "pin-1", ["Into a new database."])
    assert "startedAt" not in status
    assert '{"spec":{"dryRun":false}}' in status["hint"]
    (job,) = world.jobs()
    assert '"approved":"pin-1"' in order_of(job)
    assert world.true_conditions() == {"Planned": "Planned"}
    assert {"plan", "pin", "artifact"} <= world.status().keys()
    assert "steps" not in world.status()
    world.run_job(restored())
    world.settle()
    assert world.true_conditions() == {"Planned": "Planned", "Complete": "Restored"}
    assert world.status()["plan"] == ["Into a new database."]


def test_a_plan_with_obstacles_names_them_in_its_condition():
    world = World(policy(), request(dryRun=True))
    world.settle()

    world.run_job(plan(obstacles=("role reader is missing",)), Work.PLAN)
    world.settle()

    (condition,) = world.status()["conditions"]
    assert (condition["type"], condition["reason"]) == ("Planned", "ObstaclesFound")
    assert "role reader is missing" in condition["message"]


def test_an_approval_that_comes_before_the_plan_waits_for_it():
    world = World(policy(), request(dryRun=True))
    world.settle()

    world.approve()
    world.settle()
    assert world.created_jobs() == []
    world.run_job(plan(), Work.PLAN)
    world.settle()

    assert '"approved":"pin-1"' in order_of(world.jobs()[0])


def test_a_plan_that_cannot_be_made_fails_and_nothing_is_touched():
    world = World(policy(), request(dryRun=True))
    world.settle()

    world.run_job(failed(Reason.BACKUP_NOT_FOUND, dry_run=True), Work.PLAN)
    world.settle()

    assert world.true_conditions() == {"Failed": "BackupNotFound"}
    assert world.status()["message"] == "No plan was made, and nothing was touched: it could not: for a cause."
    assert world.created_jobs() == []


def test_a_planning_job_that_was_deleted_is_made_again():
    world = World(policy(), request(dryRun=True))
    world.settle()
    (job,) = world.jobs(Work.PLAN)

    world.cluster.remove(JOBS, Key(NAMESPACE, job["metadata"]["name"]))
    world.settle()

    assert len(world.jobs(Work.PLAN)) == 1
    assert world.status()["state"] == "Planning"


@pytest.mark.parametrize(
    "kind",
    ["reconciled", "operator restarted", "job deleted", "spec applied again", "status reset by hand"],
)
def test_an_ended_request_never_runs_again(kind: str):
    world = World(policy(), request())
    world.settle()
    world.run_job(restored())
    world.settle()
    ended = world.status()

    if kind == "operator restarted":
        world.start_operator()
    if kind == "job deleted":
        world.remove_job()
    if kind == "spec applied again":
        world.put({**copy.deepcopy(world.request()), "spec": request()["spec"]})
    if kind == "status reset by hand":
        world.put({**copy.deepcopy(world.request()), "status": {}})
    world.settle()

    assert len(world.created_jobs()) == 1
    assert world.status() == ended or kind == "status reset by hand"
    assert world.true_conditions() == {"Complete": "Restored"}


def test_a_request_that_is_created_again_is_another_one():
    world = World(policy(), request())
    world.settle()
    world.run_job(restored())
    world.settle()
    first = world.cluster.remove(RESTORES, Key(NAMESPACE, "back"))
    again = request()
    again["metadata"]["uid"] = "another"

    world.put(again)
    world.settle()

    assert first["status"]["state"] == "Complete"
    assert len(set(world.created_jobs())) == 2


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


def test_a_failure_is_told_as_the_worker_reported_it():
    world = World(policy(), request())
    world.settle()

    world.run_job(failed(Reason.CHECK_FAILED, safety_backup=""))
    world.settle()

    assert world.true_conditions() == {"Failed": "CheckFailed"}
    assert (world.status()["message"], world.status()["hint"]) == ("it could not: for a cause.", "do this")
    assert "CheckFailed" in world.events()


def test_a_safety_backup_comes_with_the_one_manifest_that_brings_it_back():
    world = World(policy(), request(**IN_PLACE))
    world.settle()

    world.run_job(restored(safety_backup="safety_20261124_020000"))
    world.settle()

    status = world.status()
    assert status["hint"] == (
        "to bring back what was there: kubectl -n prod get rr back "
        """-o jsonpath='{range .status.undo[*]}{@}{"\\n"}{end}' | kubectl apply -f -"""
    )
    undo = yaml.safe_load("\n".join(status["undo"]))
    assert status["safetyBackup"] == "safety_20261124_020000"
    assert undo["metadata"] == {"name": "back-undo-20261124-020000", "namespace": NAMESPACE}
    assert undo["spec"] == {
        "from": {"policyRef": {"name": "app-db"}},
        "backup": {"name": "safety_20261124_020000"},
        "target": {"postgres": {"strategy": "InPlace", "database": "app", "dropDependents": True}},
        "confirm": "app",
        "safetyBackup": False,
    }
    undo["metadata"] |= {"uid": "x"}
    RestoreRequest.model_validate(undo)


def test_a_policy_that_is_missing_is_waited_for():
    world = World(request())

    world.settle()
    waiting = world.status()
    world.put(policy())
    world.settle()

    assert (waiting["state"], waiting["message"]) == (
        "Waiting",
        "BackupPolicy app-db does not exist (yet); if it is gone for good, name its claim and path in from.store of "
        "another request.",
    )
    assert world.status()["state"] == "Running"


def test_a_claim_that_is_missing_is_waited_for_and_looked_for_again():
    world = World(policy(), request())
    world.cluster.remove(CLAIMS, Key(NAMESPACE, "backups"))
    pause = world.reconcile()
    waiting = world.status()
    world.cluster.put(CLAIMS, claim())
    world.settle()

    assert waiting["state"] == "Waiting"
    assert waiting["message"].startswith("Claim backups, which holds the store, does not exist (yet): kubectl -n prod ")
    assert "startedAt" not in waiting
    assert pause is not None
    assert world.status()["state"] == "Running"


def test_a_request_whose_claim_is_missing_holds_nobody_up():
    vault = {"claimName": "vault", "path": "prod/app-db", "encryption": {"passphraseSecretRef": APP_KEY}}
    spec: dict[str, Any] = {
        "from": {"store": vault},
        "target": {"postgres": {"urlSecretRef": {"name": "app", "key": "URL"}}},
    }
    world = World(policy(), request("lost", age=60, **spec), request())
    world.settle("lost", "back")

    assert world.status("lost")["state"] == "Waiting"
    assert world.status()["state"] == "Running"


def test_a_policy_of_another_kind_can_never_do():
    world = World(policy(kind="redis"), request())

    world.settle()

    assert world.true_conditions() == {"Failed": "InvalidSpec"}
    assert world.created_jobs() == []


def test_a_spec_for_a_later_release_fails_at_once():
    volume = {"redisVolume": {"claimName": "data", "workloadRef": {"kind": "StatefulSet", "name": "redis"}}}
    world = World(policy(kind="redis"), request(target=volume, confirm="data"))

    world.settle()

    assert world.true_conditions() == {"Failed": "NotYetSupported"}


def test_a_spec_that_cannot_be_read_fails_at_once():
    world = World(policy(), request(target={}))

    world.settle()

    assert world.true_conditions() == {"Failed": "InvalidSpec"}


def test_of_two_requests_to_one_target_the_older_one_goes_first_and_the_other_one_after_it():
    world = World(policy(), request("young"), request("old", age=60))

    world.settle("young", "old")
    assert world.status("young")["state"] == "Waiting"
    assert "RestoreRequest old" in world.status("young")["message"]
    assert [name.startswith("old-") for name in world.created_jobs()] == [True]
    world.run_job(restored())
    world.settle("young", "old")

    assert world.status("old")["state"] == "Complete"
    assert world.status("young")["state"] == "Running"


def test_requests_to_two_targets_run_beside_one_another():
    other = {"postgres": {"urlSecretRef": {"name": "other", "key": "URL"}}}
    world = World(policy(), request("one"), request("two", target=other))

    world.settle("one", "two")

    assert len(world.created_jobs()) == 2


def test_an_older_request_that_cannot_begin_holds_nobody_up():
    world = World(policy(), request("old", age=60, after=["young"]), request("young"))

    world.settle("old", "young")

    assert world.status("young")["state"] == "Running"
    assert world.status("old")["message"] == "Waits for spec.after: RestoreRequest young is Running."


def test_a_plan_does_not_hold_up_a_restore_and_waits_for_none_that_waits():
    world = World(policy(), request("plan", age=60, dryRun=True), request("real"))

    world.settle("plan", "real")

    assert world.status("plan")["state"] == "Planning"
    assert world.status("real")["state"] == "Running"


def test_a_backup_of_the_target_is_waited_for():
    world = World(policy(), request())
    labels = {"app.kubernetes.io/managed-by": "backup-operator", "backup.agentsflow.ai/work": "backup"}
    url = {"name": "secret-url", "secret": {"secretName": "app", "items": [{"key": "URL", "path": "URL"}]}}
    backup = {
        "metadata": {
            "namespace": NAMESPACE,
            "name": "app-db-1",
            "labels": labels,
            "annotations": {"backup.agentsflow.ai/policy-name": "app-db"},
        },
        "spec": {"template": {"spec": {"volumes": [url]}}},
    }
    world.cluster.put(JOBS, backup)

    world.settle()
    waiting = world.status()
    ended = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-24T02:00:00Z"}]}
    world.cluster.put(JOBS, {**backup, "status": ended})
    world.settle()

    assert waiting["message"] == (
        "BackupPolicy app-db is at the server of Secret app/URL: its Job app-db-1 has not ended."
    )
    assert world.status()["state"] == "Running"


def test_a_running_restore_of_a_request_that_is_gone_is_waited_for():
    world = World(policy(), request("gone"), request("next"))
    world.settle("gone")
    world.cluster.remove(RESTORES, Key(NAMESPACE, "gone"))

    world.settle("next")

    assert world.status("next")["state"] == "Waiting"
    assert "RestoreRequest gone, which is gone," in world.status("next")["message"]


def test_after_orders_requests_and_a_failed_one_stops_the_chain():
    other = {"postgres": {"urlSecretRef": {"name": "other", "key": "URL"}}}
    names = ("one", "two", "three")
    world = World(
        policy(), request("one"), request("two", after=["one"]), request("three", after=["two"], target=other)
    )

    world.settle(*names)
    assert [world.status(name)["state"] for name in names] == ["Running", "Waiting", "Waiting"]
    world.run_job(failed(Reason.TARGET_EXISTS))
    world.settle(*names)

    assert world.true_conditions("one") == {"Failed": "TargetExists"}
    assert world.true_conditions("two") == {"Failed": "AfterFailed"}
    assert world.true_conditions("three") == {"Failed": "AfterFailed"}
    assert len(world.created_jobs()) == 1


def test_a_circle_of_requests_is_refused():
    world = World(policy(), request("one", after=["two"]), request("two", after=["one"]), request("me", after=["me"]))

    world.settle("one", "two", "me")

    assert [world.true_conditions(name) for name in ("one", "two", "me")] == [{"Failed": "InvalidSpec"}] * 3


def test_a_job_that_the_api_server_refuses_ends_the_request():
    world = World(policy(), request())

    def refuse(call: str) -> None:
        if call == "create jobs":
            raise Refused(403, "exceeded quota: jobs")

    world.cluster.before_call = refuse
    world.settle()

    assert world.true_conditions() == {"Failed": "ApplyRefused"}
    assert "exceeded quota: jobs" in world.status()["message"]
    assert "Nothing was touched" in world.status()["message"]


def test_a_job_of_that_name_that_is_not_ours_ends_the_request():
    world = World(policy(), request())
    mine = World(policy(), request())
    mine.settle()
    (job,) = mine.jobs()
    job["metadata"]["ownerReferences"][0]["uid"] = "somebody else"
    ended = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-24T02:00:00Z"}]}
    world.cluster.put(JOBS, {**job, "status": ended})

    world.settle()

    assert world.true_conditions() == {"Failed": "ApplyRefused"}
    assert "is not of this request" in world.status()["message"]
    assert world.created_jobs() == []


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


def test_nothing_is_written_when_nothing_changed():
    world = World(policy(), request())
    world.settle()
    writes: list[str] = []
    world.cluster.before_call = lambda call: writes.append(call) if not call.startswith(("get", "list")) else None

    world.reconcile()
    world.start_operator()
    world.reconcile()

    assert writes == []


def test_the_order_says_who_asked():
    wanted = request()
    wanted["metadata"]["annotations"] = {"backup.agentsflow.ai/requested-by": "alice"}
    wanted["metadata"]["managedFields"] = [
        {"manager": "kubectl-client-side-apply", "operation": "Update"},
        {"manager": "backup-operator", "operation": "Apply", "subresource": "status"},
    ]
    world = World(policy(), wanted)

    world.settle()

    assert '"asked_by":"alice; kubectl-client-side-apply (Update)"' in order_of(world.jobs()[0])


def test_a_request_that_was_deleted_is_forgotten():
    world = World(policy(), request())
    world.memory.learn_request(world.request())
    world.cluster.remove(RESTORES, Key(NAMESPACE, "back"))

    world.settle()

    assert world.memory.open_requests(NAMESPACE) == frozenset()
    assert world.created_jobs() == []


def test_many_that_are_reconciled_at_the_same_time_begin_one_by_one():
    names = [f"r{number}" for number in range(12)]
    world = World(policy(), *(request(name) for name in names))

    async def all_at_once() -> None:
        await asyncio.gather(*(world.restores.reconcile(Key(NAMESPACE, name)) for name in reversed(names)))

    asyncio.run(all_at_once())

    assert [world.status(name)["state"] for name in names] == ["Running"] + ["Waiting"] * 11


def test_a_request_that_is_woken_while_another_one_decides_does_not_begin_beside_it():
    other = {"postgres": {"urlSecretRef": {"name": "other", "key": "URL"}}}
    world = World(policy(), request("first", target=other), request("old", age=60, after=["first"]), request("young"))
    world.settle("first")
    world.run_job(restored())
    has_looked, goes_on = asyncio.Event(), asyncio.Event()
    listing = world.cluster.list

    async def list_and_pause(resource: Resource, *arguments: Any, **more: Any) -> list[dict[str, Any]]:
        found = await listing(resource, *arguments, **more)
        if resource is RESTORES and not has_looked.is_set():
            has_looked.set()
            await goes_on.wait()
        return found

    async def race() -> None:
        young = asyncio.create_task(world.restores.reconcile(Key(NAMESPACE, "young")))
        await has_looked.wait()
        await world.restores.reconcile(Key(NAMESPACE, "first"))
        old = asyncio.create_task(world.restores.reconcile(Key(NAMESPACE, "old")))
        for _ in range(100):
            await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(young, old)

    world.cluster.list = list_and_pause  # type: ignore[method-assign]  # the fake, paused in the middle of a look
    asyncio.run(race())

    assert world.status("first")["state"] == "Complete"
    assert [world.status(name)["state"] for name in ("young", "old")] == ["Running", "Waiting"]


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

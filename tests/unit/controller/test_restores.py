"""A RestoreRequest's life with a cluster in memory: waiting, planning, running, its two ends, and never again."""

import copy
from typing import Any

import pytest
import yaml

from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.controller.cluster import JOBS, RESTORES, Key, Refused
from backup_operator.manifests.labels import ORDER_ANNOTATION, Work
from backup_operator.vocabulary.reasons import Reason
from tests.unit.controller.restoring import (
    IN_PLACE,
    NAMESPACE,
    World,
    failed,
    plan,
    policy,
    request,
    restored,
)


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

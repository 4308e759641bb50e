"""Whose turn a RestoreRequest is: what it waits for, who goes first, and that one begins at a time; in memory."""

import asyncio
from typing import Any

from backup_operator.controller.cluster import CLAIMS, JOBS, RESTORES, Key, Resource
from backup_operator.vocabulary.reasons import Reason
from tests.unit.controller.restoring import (
    NAMESPACE,
    World,
    claim,
    failed,
    policy,
    request,
    restored,
)

APP_KEY = {"name": "app", "key": "KEY"}


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

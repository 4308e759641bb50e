"""The operator's start, with and without CRDs and API server; and what wakes a RestoreRequest that waits."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from backup_operator.controller import engine
from backup_operator.controller.cluster import Key
from backup_operator.controller.engine import CrdsMissing, Engine
from backup_operator.controller.settings import Settings
from tests.unit.controller.fake_cluster import FakeCluster


def made(cluster: FakeCluster) -> Engine:
    return Engine(cluster, Settings.from_environment({"BACKUP_IMAGE": "worker:1"}))  # type: ignore[arg-type]  # a fake


def test_missing_crds_end_the_operator_in_words():
    cluster = FakeCluster()
    cluster.served = frozenset({"backuppolicies"})

    with pytest.raises(CrdsMissing, match=r"restorerequests.*crds.install=true"):
        asyncio.run(made(cluster).check_crds())


def test_an_api_server_that_is_away_is_waited_for():
    async def main() -> None:
        cluster = FakeCluster()
        cluster.served = frozenset({"backuppolicies", "restorerequests"})
        cluster.away = True
        checking = asyncio.create_task(made(cluster).check_crds())
        await asyncio.sleep(0)
        assert not checking.done()
        cluster.away = False
        async with asyncio.timeout(2 * engine.PAUSE_AFTER_ERROR.total_seconds()):
            await checking

    asyncio.run(main())


def request(name: str, **status: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "prod", "name": name, "uid": f"uid-{name}"}, "spec": {}, "status": status}


def job(*, work: str, ended: bool = False, **annotations: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "backup-operator", "backup.agentsflow.ai/work": work}
    condition = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-24T02:00:00Z"}
    named = {f"backup.agentsflow.ai/{name}-name": value for name, value in annotations.items()}
    metadata = {"namespace": "prod", "name": "a-job", "uid": "job-uid", "labels": labels, "annotations": named}
    return {"metadata": metadata, "status": {"conditions": [condition] if ended else []}}


POLICY = {"metadata": {"namespace": "prod", "name": "app-db", "uid": "1", "creationTimestamp": "2026-11-24T02:00:00Z"}}
ENDED = request("other", completedAt="…")
WAKES: dict[str, tuple[Callable[[Engine], None], bool]] = {
    "a policy that came": (lambda engine: engine.policy_seen({**POLICY, "spec": {}}, deleted=False), True),
    "a policy that went": (lambda engine: engine.policy_seen({**POLICY, "spec": {}}, deleted=True), True),
    "another request that came": (lambda engine: engine.restore_seen(request("other"), deleted=False), True),
    "another request that ended": (lambda engine: engine.restore_seen(ENDED, deleted=False), True),
    "another request that went": (lambda engine: engine.restore_seen(request("known"), deleted=True), True),
    "another request that says more": (
        lambda engine: engine.restore_seen(request("known", message="…"), deleted=False),
        False,
    ),
    "a backup that runs": (lambda engine: engine.job_seen(job(work="backup", policy="app-db")), False),
    "a backup that has ended": (lambda engine: engine.job_seen(job(work="backup", policy="app-db", ended=True)), True),
    "a backup that was deleted": (lambda engine: engine.job_gone(job(work="backup", policy="app-db")), True),
    "its own Job": (lambda engine: engine.job_seen(job(work="restore", request="waits")), True),
    "its own pod": (lambda engine: engine.child_seen(job(work="restore", request="waits")), True),
    "the Job of a request that is gone": (lambda engine: engine.job_gone(job(work="restore", request="gone")), True),
}


@pytest.mark.parametrize(("happens", "wakes"), WAKES.values(), ids=WAKES)
def test_a_request_that_waits_is_woken_by_what_it_may_wait_for(*, happens: Callable[[Engine], None], wakes: bool):
    engine = made(FakeCluster())
    marked: list[str] = []
    for one in (request("waits"), request("has-ended", completedAt="…"), request("known", startedAt="…")):
        engine.restore_seen(one, deleted=False)
    engine._queue.mark = lambda key: marked.append(str(key))  # type: ignore[method-assign]  # what is marked

    happens(engine)

    assert ("restorerequests prod/waits" in marked) == wakes
    assert "restorerequests prod/has-ended" not in marked


def test_what_the_pod_of_a_restore_said_outlives_its_job():
    engine = made(FakeCluster())
    ended = {"name": "worker", "state": {"terminated": {"exitCode": 20}}}
    child = job(work="restore", request="back")
    owner = {"kind": "Job", "uid": "job-uid", "name": "a-job"}
    pod = {
        "metadata": {**child["metadata"], "creationTimestamp": "2026-11-24T02:00:00Z", "ownerReferences": [owner]},
        "spec": {},
        "status": {"phase": "Failed", "containerStatuses": [ended]},
    }

    engine.pod_seen(pod)
    engine.job_gone(child)

    assert len(engine._memory.attempts_for(Key("prod", "back"), "a-job")) == 1

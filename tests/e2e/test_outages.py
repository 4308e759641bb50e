"""The operator killed at any moment and the API server gone for a while end in the same objects.

These disturb every other test of the cluster, so they run after them and alone: see tests/e2e/__main__.py.
"""

import itertools

import pytest

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.node import Node
from tests.support.operator import operator_pods
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers
from tests.support.shell import ProgramFailed

pytestmark = pytest.mark.alone

API_DOWN_SECONDS = 30
BACK_SECONDS = 150


def kill_operator(operator: Namespace) -> None:
    """The pod goes without any time to put things in order."""
    for pod in operator_pods():
        operator.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def children(namespace: Namespace) -> dict[str, list[str]]:
    """Names of everything that the operator makes."""
    kinds = ("cronjob", "pvc", "backuppolicy")
    return {kind: sorted(one["metadata"]["name"] for one in namespace.list(kind)) for kind in kinds}


def test_the_operator_killed_at_any_moment_ends_in_the_same_objects(ground: Namespace, operator: Namespace):
    """Killed after every step of the life of three policies, each of which goes on as if nothing had happened."""
    names = ["one", "two", "three"]
    policies = [Policy(ground, name) for name in names]
    ground.apply(*(objects.backup_policy(name, objects.redis_source()) for name in names))
    kill_operator(operator)
    for policy in policies:
        policy.wait_for("Scheduled", "True", timeout_seconds=BACK_SECONDS)
    for policy in policies:
        policy.start(f"{policy.name}-now")
        kill_operator(operator)
    for policy in policies:
        assert policy.wait_for_job(f"{policy.name}-now") == "Complete"
    kill_operator(operator)

    for policy in policies:
        policy.wait_for("Ready", "True", timeout_seconds=BACK_SECONDS)
        assert policy.status["backupCount"] == 1
        assert "activeBackup" not in policy.status
    assert children(ground) == {"cronjob": sorted(names), "pvc": ["backups"], "backuppolicy": sorted(names)}
    assert wait_until(operator_pods, lambda pods: len(pods) == 1, for_what="one operator")


def test_runs_that_end_while_the_operator_is_away_are_known_when_it_is_back(ground: Namespace, operator: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    cronjob = policy.wait_for_cronjob()
    operator.kubectl("scale", "deployment", "--all", "--replicas=0")
    wait_until(operator_pods, lambda pods: not pods, for_what="no operator")
    try:
        for job in ("first", "second"):
            ground.kubectl("create", "job", f"--from=cronjob/{cronjob}", job)
            assert policy.wait_for_job(job) == "Complete"
        assert "lastSuccessfulBackup" not in policy.status
    finally:
        operator.kubectl("scale", "deployment", "--all", "--replicas=1")

    seen = wait_until(
        lambda: policy.status,
        lambda status: status.get("backupCount") == 2,
        for_what="both",
        timeout_seconds=BACK_SECONDS,
    )
    assert len(seen["backups"]) == 2
    policy.wait_for("Ready", "True")


def test_an_api_server_that_is_gone_for_half_a_minute_changes_nothing(
    ground: Namespace, servers: Servers, operator: Namespace
):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    policy.back_up("before")
    before = policy.object
    restarts = operator_restarts(operator)
    node = Node(ground)
    node.start()
    policy.start("across")

    node.keep_the_api_server_down(API_DOWN_SECONDS)

    wait_until(lambda: is_up(ground), lambda up: not up, for_what="the API server is gone")
    answers = (is_up(ground) for _ in itertools.count())
    wait_until(lambda: next(answers), bool, for_what="the API server is back", timeout_seconds=BACK_SECONDS)
    assert policy.wait_for_job("across", timeout_seconds=BACK_SECONDS) == "Complete"
    after = wait_until(
        lambda: policy.status,
        lambda seen: seen.get("backupCount") == 2,
        for_what="the run across",
        timeout_seconds=BACK_SECONDS,
    )
    assert policy.object["metadata"]["uid"] == before["metadata"]["uid"]
    assert policy.object["spec"] == before["spec"]
    assert after["backups"][1]["name"] == before["status"]["backups"][0]["name"]
    assert operator_restarts(operator) == restarts, "an API outage alone must not end the operator"
    ground.patch("backuppolicy", "app", {"spec": {"suspend": True}})
    policy.wait_for("Scheduled", "False", "Suspended", timeout_seconds=BACK_SECONDS)
    wait_for_new_services(ground)


def wait_for_new_services(namespace: Namespace) -> None:
    """Until the node's proxy, too, is back from the outage: whoever comes next needs Services that lead somewhere."""
    Servers(namespace, "after the outage").start("redis")
    ask = f"redis-cli -h redis.{namespace.name}.svc ping 2>&1 || true"
    wait_until(
        lambda: namespace.shell("redis").run("sh", "-c", ask).decode(),
        lambda said: "NOAUTH" in said,
        for_what="a new Service leads to its pod",
        timeout_seconds=BACK_SECONDS,
    )


def operator_restarts(operator: Namespace) -> dict[str, int]:
    """Restarts by pod of the operator."""
    pods = operator.list("pod", "app.kubernetes.io/instance=backup-operator")
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def is_up(namespace: Namespace) -> bool:
    """Whether the API server answers."""
    try:
        namespace.kubectl("get", "--raw=/readyz", "--request-timeout=3s", timeout_seconds=15)
    except ProgramFailed:
        return False
    return True

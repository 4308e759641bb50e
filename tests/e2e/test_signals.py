"""What others are told without asking kubectl: a dead man's switch, and Prometheus."""

import json
import urllib.request
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.telling import assert_all_is_well
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.operator import install_operator, operator_pods
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers

PORT = 8080
SECRET = "secret-of-the-switch"
METRICS_PORT = 8081


def test_a_heartbeat_follows_each_good_run_and_nothing_else(ground: Namespace, servers: Servers):
    url = f"http://{start_listener(ground)}/{SECRET}"
    ground.apply(servers.app_secret(HEARTBEAT_URL=url))
    notify = {"heartbeatUrlSecretRef": {"name": "app", "key": "HEARTBEAT_URL"}}
    ground.apply(objects.backup_policy("app", objects.redis_source(), notify=notify))
    policy = Policy(ground, "app")

    assert "warnings" not in policy.back_up("good")
    # what a container has just printed is in its log a moment later
    wait_until(lambda: beats(ground), bool, for_what="the heartbeat")
    assert beats(ground) == 1

    ground.apply(servers.app_secret(HEARTBEAT_URL=url, REDIS_URL=servers.redis_url(password="wrong")))
    policy.start("bad")
    assert policy.wait_for_job("bad") == "Failed"
    assert beats(ground) == 1

    ground.apply(servers.app_secret(HEARTBEAT_URL=url))
    ground.delete("pod", "listener")
    unheard = policy.back_up("unheard")
    assert "its heartbeat was not heard" in " ".join(unheard["warnings"])
    assert SECRET not in str(policy.object["status"])
    assert_all_is_well(policy)


def start_listener(ground: Namespace) -> str:
    """A pod that prints what it is sent; its host and port."""
    script = (objects.SCRIPTS / "hook.py").read_text()
    container = {
        "command": ["python3", "-c", script, str(PORT)],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    ground.apply(objects.pod("listener", container), objects.service("listener", PORT))
    ground.wait_for_pod("listener")
    return f"listener.{ground.name}.svc:{PORT}"


def beats(ground: Namespace) -> int:
    """How often the listener was asked."""
    return ground.kubectl("logs", "listener").count(f"GET /{SECRET}")


def test_the_installed_operator_tells_prometheus_what_the_status_says(ground: Namespace, operator: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    policy.wait_for("Fresh", "False", "NeverSucceeded")
    (pod,) = operator_pods()
    with operator.forward(pod, METRICS_PORT) as port:
        before = wait_until(
            lambda: series(port, ground.name), lambda found: "condition/Fresh" in found, for_what="the policy's series"
        )
        assert before["condition/Fresh"] == 1
        assert "last_success_timestamp_seconds" not in before, "absent, not zero"

        good = policy.back_up("good")
        assert_all_is_well(policy)

        found = wait_until(
            lambda: series(port, ground.name),
            lambda found: "last_success_timestamp_seconds" in found,
            for_what="the backup's series",
        )
    assert found["last_success_timestamp_seconds"] == datetime.fromisoformat(good["completedAt"]).timestamp()
    assert found["last_success_keys"] == 100
    assert found["backups"] == 1
    assert found["storage_used_bytes"] == policy.status["storage"]["usedBytes"]
    assert found["objective_rpo_seconds"] == 25 * 3600
    assert found["next_run_timestamp_seconds"] > found["last_success_timestamp_seconds"]


def series(port: int, namespace: str) -> dict[str, float]:
    """Of the policies of a namespace, by name; a condition by its type."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        sample.name.removeprefix("backup_operator_")
        + (f"/{sample.labels['condition']}" if "condition" in sample.labels else ""): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("namespace") == namespace
    }


@pytest.mark.alone
def test_a_webhook_hears_of_each_trouble_once_and_of_its_end(ground: Namespace, servers: Servers, operator: Namespace):
    """A day passes by the clocks of the operator and its workers: the good backup is stale, and the next runs fail."""
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    policy.back_up("yesterday")
    operator.apply(objects.secret("notices", {"hook": f"json://{start_listener(ground)}/{SECRET}"}))
    route = {"urlKey": "hook", "events": ["Failed", "Recovered", "Stale", "Fresh"], "namespaces": [ground.name]}
    install_operator(
        *("--set", "notifications.secretName=notices", "--set-json", f"notifications.routes={json.dumps([route])}"),
        *("--set", f"testing.clockOffsetSeconds={26 * 3600}"),
    )
    try:
        policy.wait_for("Fresh", "False", "ObjectiveExceeded")
        wait_until(lambda: told(ground), lambda titles: len(titles) == 1, for_what="the notice of the stale backup")
        ground.apply(servers.app_secret(REDIS_URL=servers.redis_url(password="wrong")))
        for job in ("bad", "worse"):
            policy.start(job)
            assert policy.wait_for_job(job) == "Failed"
        wait_until(lambda: told(ground), lambda titles: len(titles) == 2, for_what="the notice of the failure")
        ground.apply(servers.app_secret())
        policy.back_up("good")
        policy.wait_for("Fresh", "True")

        titles = wait_until(lambda: told(ground), lambda titles: len(titles) > 3, for_what="the notices of both ends")

        assert titles[:2] == [
            f"{ground.name}/app: there is no fresh backup (ObjectiveExceeded)",
            f"{ground.name}/app: the backup failed (AuthenticationFailed)",
        ]
        assert sorted(titles[2:]) == [
            f"{ground.name}/app: backups succeed again",
            f"{ground.name}/app: there is a fresh backup again",
        ]
        assert SECRET not in str(policy.object["status"])
        wait_until(lambda: policy.status, lambda seen: not seen.get("notified"), for_what="nothing is owed")
    finally:
        install_operator()
        operator.delete("secret", "notices")


def told(ground: Namespace) -> list[str]:
    """The titles of the notices that came."""
    lines = ground.kubectl("logs", "listener").splitlines()
    return [json.loads(line.partition("{")[1] + line.partition("{")[2])["title"] for line in lines if "POST" in line]

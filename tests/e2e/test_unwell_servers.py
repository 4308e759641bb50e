"""Servers in states that pass or that nobody wants: what is told of each, with the servers played by a pod."""

from collections.abc import Callable
from typing import Any

from tests.e2e.telling import assert_is_told
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.servers import Servers

PORTS = {
    "ServerLoading": 7001,
    "SnapshotFailed": 7002,
    "ServerNotReady": 7003,
    "SyncForbidden": 7004,
    "ClusterModeUnsupported": 7005,
    "DumpIncomplete": 7006,
    "ModuleDataUnsupported": 7007,
}
"""Of tests/support/scripts/unwell_redis.py."""
SILENT_PORT = 7008
ALL_AT_ONCE_SECONDS = 300
"""Nine pods start at the same time."""


def test_each_trouble_of_a_server_has_its_reason(ground: Namespace, servers: Servers):
    address = start_unwell(ground)
    silent = f"postgresql://u:p@{address}:{SILENT_PORT}/app?connect_timeout=2"
    urls = {reason: f"redis://{address}:{port}" for reason, port in PORTS.items()}
    urls |= {"ConnectionTimedOut": silent, "VersionMismatch": servers.postgres_url()}
    ground.apply(servers.app_secret(**urls))
    policies = {reason: a_policy(ground, reason, url) for reason, url in urls.items()}

    for reason, policy in policies.items():
        policy.start(f"{policy.name}-fails", change=once(without_clients if reason == "VersionMismatch" else None))

    for reason, policy in policies.items():
        assert_is_told(policy, reason, within_seconds=ALL_AT_ONCE_SECONDS)


def start_unwell(ground: Namespace) -> str:
    """The address of the pod that plays them."""
    script = (objects.SCRIPTS / "unwell_redis.py").read_text()
    container = {
        "command": ["python3", "-u", "-c", script],
        "readinessProbe": {"tcpSocket": {"port": SILENT_PORT}, "periodSeconds": 1},
    }
    ground.apply(objects.pod("unwell", container))
    ground.wait_for_pod("unwell")
    return str(ground.get("pod", "unwell")["status"]["podIP"])


def a_policy(ground: Namespace, reason: str, url: str) -> Policy:
    """Of its own, with its own key of Secret `app`."""
    key = {"urlSecretRef": {"name": "app", "key": reason}}
    kind = "postgres" if url.startswith("postgresql") else "redis"
    ground.apply(objects.backup_policy(reason.lower(), {kind: key}))
    return Policy(ground, reason.lower())


def once(also: Callable[[dict[str, Any]], None] | None) -> Callable[[dict[str, Any]], None]:
    """A Job that does not try again, and another change."""

    def change(job: dict[str, Any]) -> None:
        job["spec"]["backoffLimit"] = 0
        if also is not None:
            also(job)

    return change


def without_clients(job: dict[str, Any]) -> None:
    """As in an image that was built before the server's version was."""
    pod = job["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "nothing", "emptyDir": {}})
    pod["containers"][0]["volumeMounts"].append({"name": "nothing", "mountPath": "/usr/lib/postgresql/17"})

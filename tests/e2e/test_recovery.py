"""The day after the disaster: a new cluster, the volume with the files, the passphrase, empty servers, one manifest.

The manifest is the README's. The operator and its CustomResourceDefinitions are taken away first, so this runs alone.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import objects, source_redis
from tests.support.compare import redis_contents, without_sightings
from tests.support.kubectl import Namespace, create_namespace
from tests.support.operator import OPERATOR_NAMESPACE, RELEASE, install_operator, tell_what_happened
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.readme import blocks
from tests.support.restores import Restore
from tests.support.servers import Servers
from tests.support.shell import LocalShell

pytestmark = pytest.mark.alone

EVERYTHING = Path(__file__).resolve().parents[1] / "golden/source/everything.sql"
CRDS = ("backuppolicies.backup.agentsflow.ai", "restorerequests.backup.agentsflow.ai")


@dataclass(frozen=True)
class Content:
    """What an application has in its databases."""

    rows: dict[str, Any]
    schema: list[str]
    keys: dict[str, Any]


def content_of(servers: Servers, database: str) -> Content:
    found = servers.database(database)
    with servers.redis_client() as client:
        return Content(found.contents(), found.schema().splitlines(), without_sightings(redis_contents(client)))


@pytest.fixture
def lost(operator: Namespace) -> Iterator[tuple[Content, str, str]]:
    """What was backed up in a namespace that is gone, its name, and the volume that is all that is left of it."""
    namespace = create_namespace(f"e2e-production-{uuid.uuid4().hex[:8]}")
    servers = Servers(namespace, "before the disaster")
    servers.start("postgres", "redis")
    servers.create_database("app", EVERYTHING.read_bytes())
    with servers.redis_client() as client:
        source_redis.fill(client, users=200)
    namespace.apply(servers.app_secret(), objects.claim("backups"))
    sources = {"app-db": objects.postgres_source(globals=True), "app-cache": objects.redis_source()}
    namespace.apply(*(objects.backup_policy(name, source) for name, source in sources.items()))
    for name in sources:
        Policy(namespace, name).back_up(f"{name}-now")
    content = content_of(servers, "app")
    volume = namespace.get("pvc", "backups")["spec"]["volumeName"]
    keep_volume(namespace, volume, "Retain")
    try:
        destroy(namespace)
        yield content, namespace.name, volume
    finally:
        install_operator()
        keep_volume(Namespace("default"), volume, "Delete")


def keep_volume(namespace: Namespace, volume: str, policy: str) -> None:
    namespace.patch("pv", volume, {"spec": {"persistentVolumeReclaimPolicy": policy}})


def destroy(namespace: Namespace) -> None:
    """The operator, its resources of every namespace, and the namespace with everything in it."""
    LocalShell().run("helm", "uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait")
    namespace.kubectl("delete", "crd", *CRDS)
    namespace.kubectl("delete", "namespace", namespace.name, timeout_seconds=600)


@pytest.fixture
def new_place(lost: tuple[Content, str, str], operator: Namespace, request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Another namespace of what could be another cluster: the volume as claim, the Secret, empty servers, the app."""
    _, old, volume = lost
    space = create_namespace(f"{old}-b")
    servers = Servers(space, "after the disaster")
    servers.start("postgres", "redis")
    space.patch("pv", volume, {"spec": {"claimRef": None}})
    claim = objects.claim("backups", volumeName=volume)
    space.apply(servers.app_secret(), claim, healthy_application(), objects.service("app", 8080))
    space.wait_for_pod("app")
    yield servers
    if request.session.testsfailed:
        print(tell_what_happened(space, operator))
    space.kubectl("delete", "namespace", space.name, "--wait=false")


def healthy_application() -> objects.Manifest:
    """A pod that answers 200 for /health."""
    serve = "mkdir /tmp/app && touch /tmp/app/health && exec python3 -m http.server --directory /tmp/app 8080"
    probe = {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1}
    return objects.pod("app", {"command": ["sh", "-c", serve], "readinessProbe": probe})


def test_one_manifest_brings_everything_back_from_the_volume_alone(lost, new_place: Servers):
    wanted, old, _ = lost
    (block,) = blocks("recovery")
    manifest = block.text.replace("production/", f"{old}/").replace("from users", "from app.users")
    assert manifest != block.text
    assert "BackupPolicy" not in manifest
    install_operator()
    space = new_place.namespace
    wait_until(lambda: space.find("crd", CRDS[1]), bool, for_what="the new operator's resources")

    space.kubectl("apply", "--filename=-", stdin=manifest.encode())

    rows = Restore(space, "recover-db").completed()
    keys = Restore(space, "recover-cache").completed()
    assert rows["completedAt"] <= keys["startedAt"]
    assert {one["name"]: one["passed"] for one in (*rows["checks"], *keys["checks"])} == {
        "users": True, "sessions": True, "application": True,
    }  # fmt: skip
    assert content_of(new_place, "app") == wanted

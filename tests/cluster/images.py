"""Builds the project's images and brings them into the cluster's nodes. Used by `__main__`."""

import json
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import kind, node
from tests.cluster.base_images import PUBLISHED, debian
from tests.cluster.commands import Progress, output, say, succeeds
from tests.cluster.docker import Docker
from tests.cluster.errors import ClusterError
from tests.cluster.places import Places


@dataclass(frozen=True)
class Image:
    """One image of ours: its name, its Dockerfile and build context (from the checkout), and the target in it."""

    name: str
    dockerfile: str
    context: str = "."
    target: str = ""


SERVERS = "tests/cluster/images/servers"
IMAGES = (
    Image("backup-operator:dev", "operator/Dockerfile", target="operator"),
    Image("backup-operator-worker:dev", "operator/Dockerfile", target="backup"),
    Image("backup-operator-test-servers:dev", f"{SERVERS}/Dockerfile", context=SERVERS),
)
PASSED_ON = ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST", "POSTGRES_CLIENTS")
"""Variables that reach a build when they are set: pip's go to a stage that no image contains."""


def build_all(places: Places, docker: Docker, names: Sequence[str] = ()) -> list[Image]:
    """Builds the images, or those named, and returns them. Raises CommandFailed with the end of the build's output."""
    unknown = set(names) - {image.name for image in IMAGES}
    if unknown:
        known = ", ".join(image.name for image in IMAGES)
        raise ClusterError(f"no image is called {', '.join(sorted(unknown))}", hint=f"one of {known}")
    wanted = [image for image in IMAGES if not names or image.name in names]
    base = debian(places, docker)
    for image in wanted:
        _build(places, docker, image, base)
    if docker.ours:
        # what older builds left; two days, so that the stages of this one stay as its cache
        docker.output("image", "prune", "--force", "--filter", "until=48h")
    return wanted


def _build(places: Places, docker: Docker, image: Image, base: str) -> None:
    words = build_words(image, places.checkout, base, os.environ)
    log = places.cache / "log" / f"build-{image.name.partition(':')[0]}.log"
    docker.run_long(f"building {image.name}", words, log)


def build_words(image: Image, checkout: Path, base: str, environment: Mapping[str, str]) -> list[str]:
    """The `docker` words of a build; values of what is passed on stay in the environment, off the command line."""
    words = ["build", "--network", "host", "--tag", image.name, "--file", str(checkout / image.dockerfile)]
    if image.target:
        words += ["--target", image.target]
    if base != PUBLISHED:
        words += ["--build-arg", f"BASE_IMAGE={base}"]
    if image.context == ".":
        words += [word for name in PASSED_ON if environment.get(name) for word in ("--build-arg", name)]
    return [*words, str(checkout / image.context)]


def load(places: Places, docker: Docker, wanted: Sequence[Image]) -> None:
    """Brings the images into every node that has not got them, by image id. Raises ClusterError without a cluster."""
    loaded: set[str] = set()
    for place in nodes(places):
        lacking = [image.name for image in wanted if docker.image_id(image.name) not in ids_in(place, image.name)]
        if not lacking:
            say(f"{place.name}: holds these images already")
            continue
        with Progress(f"{place.name}: loading {', '.join(lacking)}"):
            _pipe(docker, lacking, place)
        loaded.update(lacking)
    _restart_users_of(loaded)


def _restart_users_of(names: Collection[str]) -> None:
    """Restarts the Deployments that run an older image of that name: to Kubernetes nothing has changed."""
    if not names:
        return
    found = json.loads(output(["kubectl", "get", "deployments", "--all-namespaces", "--output=json"]))
    for user in users_of(names, found["items"]):
        output(["kubectl", "rollout", "restart", *user])
        say(f"restarting {' '.join(user)}")


def users_of(names: Collection[str], deployments: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """`--namespace=…` and `deployment/…` of those that have a container of one of the images."""
    return [
        (f"--namespace={one['metadata']['namespace']}", f"deployment/{one['metadata']['name']}")
        for one in deployments
        if any(container["image"] in names for container in one["spec"]["template"]["spec"]["containers"])
    ]


@dataclass(frozen=True)
class NodeDoor:
    """A node and the start of a `ctr` command line in it."""

    name: str
    client: tuple[str, ...]


def nodes(places: Places) -> list[NodeDoor]:
    """Every node of the running cluster."""
    flavour = places.read_state().get("flavour")
    if flavour == "kind":
        return [NodeDoor(name, tuple(kind.containerd_client(name))) for name in kind.node_names(places)]
    return [NodeDoor("node-1", tuple(node.containerd_client(places)))]


def ids_in(place: NodeDoor, image: str) -> set[str]:
    """The ids that an image has in a node, its manifest's digest and its configuration's; empty when it has none."""
    listed = output([*place.client, "images", "list", f"name==docker.io/library/{image}"]).splitlines()[1:]
    digests = [word for line in listed for word in line.split() if word.startswith("sha256:")]
    return {one for found in digests for one in (found, _configuration(place, found)) if one}


def _configuration(place: NodeDoor, manifest: str) -> str:
    words = [*place.client, "content", "get", manifest]
    if not succeeds(words):
        return ""
    return str(json.loads(output(words)).get("config", {}).get("digest", ""))


def _pipe(docker: Docker, names: Sequence[str], place: NodeDoor) -> None:
    with subprocess.Popen(["docker", "save", *names], env=docker.environment, stdout=subprocess.PIPE) as saving:
        importing = subprocess.run(
            [*place.client, "images", "import", "--all-platforms", "-"],
            stdin=saving.stdout,
            capture_output=True,
            check=False,
        )
    if saving.returncode or importing.returncode:
        raise ClusterError(f"{place.name} did not take the images", detail=importing.stderr.decode(errors="replace"))

"""The cluster as a kind cluster, where Docker, kind and a node image are to be had. Used by `__main__` and images.

KIND_NODE_IMAGE names another node image than kind's own choice, KIND_CONFIG another file than kind-config.yaml.
"""

import os
import re
import shutil
import time
from collections.abc import Mapping

from tests.cluster.commands import Progress, output, run_long, succeeds, wait_until
from tests.cluster.errors import CommandFailed, NodeImageMissing
from tests.cluster.places import Places
from tests.cluster.programs import HELM, KUBECTL, link_tools, provide

READY = "300s"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ASIDE = "/etc/kubernetes/kube-apiserver.yaml"


def up(places: Places) -> None:
    """Brings the cluster up. Raises NodeImageMissing, or CommandFailed with kubelet's last words."""
    _provide_tools(places)
    places.write_state({"flavour": "kind"})
    log = places.cache / "log" / f"{places.name}.log"
    try:
        run_long("creating the kind cluster", create_words(places, os.environ), log=log, directory=places.checkout)
    except CommandFailed as problem:
        written = log.read_text(errors="replace")
        explained = _kubelet_log(places)
        down(places)
        if node_image_is_missing(written):
            raise NodeImageMissing("kind's node image cannot be had", detail=problem.detail) from problem
        raise CommandFailed(problem.message, detail=f"{problem.detail}\n{explained}", hint=problem.hint) from problem
    _settle(places)


def create_words(places: Places, environment: Mapping[str, str]) -> list[str]:
    """The command that creates the cluster; nodes of a failed one are kept, so that their logs can be read."""
    config = environment.get("KIND_CONFIG") or str(places.checkout / "kind-config.yaml")
    words = ["kind", "create", "cluster", "--name", places.name, "--kubeconfig", str(places.kubeconfig)]
    words += ["--config", config, "--wait", READY, "--retain"]
    if environment.get("KIND_NODE_IMAGE"):
        words += ["--image", environment["KIND_NODE_IMAGE"]]
    return words


def node_image_is_missing(written: str) -> bool:
    """True when kind's output says that the node image could be neither found nor pulled."""
    return (
        re.search(r"failed to pull image|failed to ensure.*image|pull access denied|manifest unknown", written)
        is not None
    )


def _provide_tools(places: Places) -> None:
    programs = [program for program in (KUBECTL, HELM) if shutil.which(program.name) is None]
    directories = provide(places, programs)
    link_tools(places, [folder / program.name for folder, program in zip(directories, programs, strict=True)])


def _kubectl(places: Places, *words: str) -> list[str]:
    own = places.bin / "kubectl"
    return [str(own) if own.exists() else "kubectl", f"--kubeconfig={places.kubeconfig}", *words]


def _settle(places: Places) -> None:
    # kind itself waits for the control plane only
    output(_kubectl(places, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=300s"), timeout_seconds=320)
    # the same volumes as on the node of our own: kind's default, hostPath, ignores fsGroup
    output(_kubectl(places, "annotate", "--overwrite", "storageclass/standard", "defaultVolumeType=local"))
    output(
        _kubectl(places, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=180s"),
        timeout_seconds=200,
    )


def _kubelet_log(places: Places) -> str:
    parts = []
    for name in node_names(places):
        words = ["docker", "exec", name, "journalctl", "--unit=kubelet", "--no-pager", "--lines=25"]
        if succeeds(words):
            parts.append(f"--- kubelet on {name}\n{output(words)}")
    return "\n".join(parts)


def node_names(places: Places) -> list[str]:
    """Names of the cluster's nodes, which are names of containers; empty when there is no cluster."""
    return output(["kind", "get", "nodes", "--name", places.name]).split()


def is_running(places: Places) -> bool:
    """True when kind knows the cluster and its API server answers."""
    return bool(node_names(places)) and succeeds(_kubectl(places, "get", "--raw", "/readyz"))


def containerd_client(name: str) -> list[str]:
    """`ctr` in a node, in the namespace that kubelet uses."""
    return ["docker", "exec", "--interactive", name, "ctr", "--namespace", "k8s.io"]


def enter(places: Places, name: str = "") -> list[str]:
    """The start of a command line that runs in a node; the control plane when none is named."""
    return ["docker", "exec", "--interactive", name or _control_plane(places)]


def _control_plane(places: Places) -> str:
    return next(name for name in node_names(places) if name.endswith("-control-plane"))


def restart_apiserver(places: Places, seconds: float) -> None:
    """Takes the API server's static manifest away for so long; kubelet ends it, and starts it again with it."""
    inside = enter(places)
    output([*inside, "mv", MANIFEST, ASIDE])
    try:
        wait_until("API server going away", lambda: not is_running(places), seconds=60)
        with Progress(f"API server away for {seconds:.0f} s") as progress:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                progress.tick()
    finally:
        output([*inside, "mv", ASIDE, MANIFEST])
    wait_until("API server coming back", lambda: is_running(places), seconds=180)


def down(places: Places) -> None:
    """Deletes the cluster; one that is not there is no error."""
    output(
        ["kind", "delete", "cluster", "--name", places.name, "--kubeconfig", str(places.kubeconfig)],
        timeout_seconds=180,
    )

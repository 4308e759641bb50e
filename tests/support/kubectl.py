"""A cluster as kubectl reaches it, and one namespace of it. Used by the e2e tests and the demo; knows KUBECONFIG."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import reading
from tests.support.polling import wait_until
from tests.support.shell import LocalShell, ProgramFailed

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Namespace:
    """One namespace. Objects go in by server-side apply and come out as dicts."""

    name: str

    def kubectl(self, *arguments: str, stdin: bytes = b"", timeout_seconds: float = 120) -> str:
        """What kubectl prints. Raises: ProgramFailed."""
        argv = ("kubectl", "--namespace", self.name, *arguments)
        return LocalShell().run(*argv, stdin=stdin, timeout_seconds=timeout_seconds).decode()

    def apply(self, *manifests: Manifest, as_manager: str = "e2e") -> None:
        """Server-side apply, so that unknown fields are refused."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        arguments = ("apply", "--server-side", "--force-conflicts", f"--field-manager={as_manager}", "--filename=-")
        self.kubectl(*arguments, stdin=json.dumps(document).encode())

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object. Raises: ProgramFailed when there is none."""
        if kind in reading.COLLECTIONS and (found := reading.find(self.name, kind, name)):
            return found
        return dict(json.loads(self.kubectl("get", kind, name, "--output=json")))

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """The object, or an empty dict when there is none."""
        if kind in reading.COLLECTIONS:
            return reading.find(self.name, kind, name)
        answer = self.kubectl("get", kind, name, "--output=json", "--ignore-not-found")
        return dict(json.loads(answer)) if answer.strip() else {}

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of the kind, or those that the label selector takes."""
        if kind in reading.COLLECTIONS:
            return reading.list_all(self.name, kind, selector)
        answer = json.loads(self.kubectl("get", kind, f"--selector={selector}", "--output=json"))
        return list(answer["items"])

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge patch: None removes a field."""
        self.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(change))

    def delete(self, kind: str, name: str, *, wait: bool = True) -> None:
        """Delete the object, and wait until it is gone."""
        self.kubectl("delete", kind, name, f"--wait={str(wait).lower()}", "--ignore-not-found")

    def shell(self, pod: str, container: str = "") -> LocalShell:
        """Runs programs in a pod, stdin given."""
        into = ("--container", container) if container else ()
        return LocalShell(prefix=("kubectl", "--namespace", self.name, "exec", "--stdin", pod, *into, "--"))

    def wait_for_pod(self, pod: str, *, timeout_seconds: float = 300) -> None:
        """Until the pod's readiness probe says yes."""
        self.kubectl(
            "wait", f"pod/{pod}", "--for=condition=Ready", f"--timeout={timeout_seconds:.0f}s",
            timeout_seconds=timeout_seconds + 10,
        )  # fmt: skip

    @contextmanager
    def forward(self, pod: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to the pod's port while the context lasts."""
        argv = ("kubectl", "--namespace", self.name, "port-forward", f"pod/{pod}", f":{port}", "--address=127.0.0.1")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield _forwarded_port(process)
            finally:
                process.terminate()


def _forwarded_port(process: "subprocess.Popen[str]") -> int:
    if process.stdout is None:
        raise ValueError("the port is read from kubectl's stdout")
    line = process.stdout.readline()
    found = re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
    if not found:
        raise ProgramFailed(f"kubectl port-forward: {line}{process.stdout.read()}")
    return int(found[1])


def create_namespace(name: str, labels: Mapping[str, str] | None = None) -> Namespace:
    """Make the namespace, or take it as it is; its default service account exists when this returns."""
    namespace = Namespace(name)
    namespace.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
    wait_until(
        lambda: namespace.find("serviceaccount", "default"),
        bool,
        for_what=f"the default service account of {name}",
    )
    return namespace

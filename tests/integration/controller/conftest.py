"""The operator's own process against the API server of KUBECONFIG, in a namespace that is the test's own.

An operator that is installed in the cluster serves the same namespaces: it is scaled down meanwhile and up again after.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.controller.charting import rendered_chart
from tests.integration.controller.operating import OperatorProcess
from tests.support.kubectl import Namespace, create_namespace
from tests.support.operator import OPERATOR_NAMESPACE, RELEASE
from tests.support.polling import wait_until
from tests.support.shell import LocalShell


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """The API server with our CRDs, and no operator at work but those of this process's tests."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail("KUBECONFIG is not set; run `make cluster` and `export KUBECONFIG=$PWD/.cluster/kubeconfig`")
    everywhere = Namespace("default")
    with _no_other_process():
        everywhere.apply(*_crds())
        installed = _installed(everywhere)
        for one in installed:
            one.scale(0)
        yield
        for one in installed:
            one.scale(one.replicas)


@contextmanager
def _no_other_process() -> Iterator[None]:
    """Waits until no other process tests operators on this cluster: theirs would reconcile our namespaces too.

    Within one run `tests/integration/conftest.py` sees to it; this is for two runs at once.
    """
    with Path(os.environ["KUBECONFIG"]).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def namespace(cluster: None) -> Iterator[Namespace]:
    """A namespace of the test's own, gone afterwards."""
    made = create_namespace(f"controller-{uuid.uuid4().hex[:8]}")
    yield made
    made.kubectl("delete", "namespace", made.name, "--wait=false")


@pytest.fixture
def rights(namespace: Namespace, tmp_path: Path) -> Path:
    """A kubeconfig with the rights that the chart gives to an operator of this namespace, and no others."""
    chart = rendered_chart(f"--set=watchNamespaces={{{namespace.name}}}", "--namespace", namespace.name)
    namespace.apply(*(one for one in chart if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")))
    return _kubeconfig(namespace, "backup-operator", tmp_path)


@pytest.fixture(scope="module")
def operator_everywhere(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An operator of all namespaces, with the rights of the chart's ClusterRole; one for a whole module."""
    home = create_namespace(f"controller-{uuid.uuid4().hex[:8]}")
    chart = rendered_chart(f"--set=fullnameOverride={home.name}", "--namespace", home.name, "--set=crds.install=false")
    access = yaml.safe_dump_all(one for one in chart if one["kind"] != "Deployment").encode()
    LocalShell().run("kubectl", "apply", "--filename=-", stdin=access)
    directory = tmp_path_factory.mktemp("operator")
    kubeconfig = str(_kubeconfig(home, home.name, directory))
    process = OperatorProcess(home.name, directory, kubeconfig=kubeconfig, everywhere=True)
    process.start()
    yield
    process.stop()
    print(process.log())
    LocalShell().run("kubectl", "delete", "--wait=false", "--filename=-", stdin=access)
    home.kubectl("delete", "namespace", home.name, "--wait=false")


def _kubeconfig(namespace: Namespace, account: str, directory: Path) -> Path:
    token = namespace.kubectl("create", "token", account, "--duration=2h").strip()
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    config["users"] = [{"name": one["name"], "user": {"token": token}} for one in config["users"]]
    path = directory / "rights"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def operator(namespace: Namespace, rights: Path, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator that serves the namespace; its log is printed when the test fails."""
    process = OperatorProcess(namespace.name, tmp_path, kubeconfig=str(rights))
    process.start()
    yield process
    process.stop()
    print(process.log())


def _crds() -> list[dict[str, Any]]:
    """The chart's CRDs, marked so that a later `make install` takes them as its own."""
    crds = [one for one in rendered_chart() if one["kind"] == "CustomResourceDefinition"]
    for one in crds:
        one["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
        one["metadata"]["annotations"] |= {
            "meta.helm.sh/release-name": RELEASE,
            "meta.helm.sh/release-namespace": OPERATOR_NAMESPACE,
        }
    return crds


@dataclass(frozen=True)
class _Installed:
    namespace: str
    name: str
    replicas: int

    def scale(self, replicas: int) -> None:
        """So many pods, and no others."""
        place = Namespace(self.namespace)
        place.kubectl("scale", "deployment", self.name, f"--replicas={replicas}")
        wait_until(
            lambda: place.list("pod", "app.kubernetes.io/name=backup-operator"),
            lambda pods: len(pods) == replicas,
            for_what=f"{replicas} pods of {self.name}",
            timeout_seconds=90,
        )


def _installed(place: Namespace) -> list[_Installed]:
    answer = place.kubectl(
        "get", "deployment", "--all-namespaces", "--selector=app.kubernetes.io/name=backup-operator", "--output=json"
    )
    return [
        _Installed(one["metadata"]["namespace"], one["metadata"]["name"], one["spec"]["replicas"])
        for one in json.loads(answer)["items"]
    ]

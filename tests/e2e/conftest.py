"""What every end-to-end test stands on: the cluster of KUBECONFIG, the installed chart, a namespace of its own.

Without KUBECONFIG the tests fail: a suite that skips is a suite that nobody runs.
"""

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped] # xdist has no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # xdist has no types

from tests.support import objects
from tests.support.kubectl import Namespace, create_namespace
from tests.support.opening import Opener, start_opener
from tests.support.operator import OPERATOR_NAMESPACE, install_operator, tell_what_happened
from tests.support.servers import Servers, small_database

TOGETHER = {
    *("test_everything.py", "test_readme.py", "test_supabase.py", "test_tls.py"),
    *(f"test_restore_{what}.py" for what in ("once", "postgres", "readme", "redis", "requests")),
}
"""Modules whose tests share servers of their own: each runs whole on one pytest-xdist worker, the rest test by test."""


class SharedServersTogether(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Hands out modules of TOGETHER as one piece of work, largest first, and every other test by itself."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).name in TOGETHER else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedServersTogether:
    """Takes the place of --dist: its loadgroup does not group with pytest 9."""
    return SharedServersTogether(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker of the tests that disturb all others."""
    config.addinivalue_line("markers", "alone: disturbs the whole cluster, so it runs after the others and by itself")


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The file that names the cluster."""
    found = os.environ.get("KUBECONFIG", "")
    missing = [program for program in ("kubectl", "helm") if shutil.which(program) is None]
    if not found or not Path(found).exists() or missing:
        pytest.fail(
            f"KUBECONFIG={found or 'unset'}, missing on PATH: {missing or 'nothing'}. End-to-end tests need a cluster: "
            "type `make cluster images`, then `make test-e2e`; or export KUBECONFIG and put kubectl and helm on PATH."
        )
    return Path(found)


@pytest.fixture(scope="session")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """The installed operator; one of several pytest-xdist workers installs it, the others wait."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    done = shared / "operator-is-installed"
    with (shared / "operator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            install_operator()
            done.touch()
    return Namespace(OPERATOR_NAMESPACE)


def _unique(text: str) -> str:
    """A namespace's name: what it is for, and eight characters that no other run has."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
    return f"e2e-{plain}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def namespace(operator: Namespace, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the test's own, gone afterwards; when the test fails, what happened in it is printed."""
    made = create_namespace(_unique(request.node.name.removeprefix("test_")))
    yield made
    if request.node.stash.get(_FAILED, False):
        print(tell_what_happened(made, operator))
    made.kubectl("delete", "namespace", made.name, "--wait=false")


@pytest.fixture(scope="module")
def module_namespace(operator: Namespace, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace that the tests of one module share."""
    made = create_namespace(_unique(request.node.name.rpartition("test_")[2].removesuffix(".py")))
    yield made
    if request.session.testsfailed:
        print(tell_what_happened(made, operator))
    made.kubectl("delete", "namespace", made.name, "--wait=false")


@pytest.fixture(scope="session")
def servers(operator: Namespace) -> Iterator[Servers]:
    """A PostgreSQL with a small database `app` and a Redis with a few keys, for every test that changes neither."""
    home = create_namespace(_unique("servers"))
    started = Servers(home, password=f"p@ss/w:rd %{uuid.uuid4().hex}")
    started.start("postgres", "redis")
    started.create_database("app", small_database())
    with started.redis_client() as client:
        client.mset({f"key:{number}": f"value {number}" for number in range(100)})
    yield started
    home.kubectl("delete", "namespace", home.name, "--wait=false")


@pytest.fixture
def ground(namespace: Namespace, servers: Servers) -> Namespace:
    """The test's namespace with Secret `app`, whose URLs lead to the servers, and claim `backups`."""
    namespace.apply(servers.app_secret(), objects.claim("backups"))
    return namespace


@pytest.fixture
def opener(ground: Namespace) -> Callable[[], Opener]:
    """Starts a pod that opens stored files of claim `backups` with stock programs."""
    return lambda: start_opener(ground)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remembers on the test itself that it failed, for the fixtures that clean up after it."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed  # type: ignore[attr-defined] # a TestReport
    return report

"""Which cluster a machine gets, and what it is told when it can have none."""

from dataclasses import replace

import pytest

from tests.cluster.errors import MachineLacks
from tests.cluster.machine import GIB, Machine
from tests.cluster.preflight import Choice, choose

DEBIAN_AS_ROOT = Machine(
    system="Linux",
    architecture="x86_64",
    python=(3, 11),
    is_root=True,
    has_apt=True,
    memory_bytes=8 * GIB,
    free_bytes=40 * GIB,
    docker_answers=False,
    has_kind=False,
    venv_packages=(),
    node_packages=("containerd", "docker-cli docker.io"),
    programs_cached=False,
    wanted="",
)
LAPTOP_WITH_KIND = replace(DEBIAN_AS_ROOT, is_root=False, docker_answers=True, has_kind=True)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        pytest.param(LAPTOP_WITH_KIND, Choice("kind", "Docker answers and kind is installed"), id="docker and kind"),
        pytest.param(
            replace(LAPTOP_WITH_KIND, system="Darwin"),
            Choice("kind", "Docker answers and kind is installed"),
            id="a mac with kind",
        ),
        pytest.param(
            DEBIAN_AS_ROOT,
            Choice("node", "not kind: a Docker daemon that answers `docker version`"),
            id="bare debian, packages are ours to install",
        ),
        pytest.param(
            replace(DEBIAN_AS_ROOT, docker_answers=True),
            Choice("node", "not kind: kind on the PATH"),
            id="docker without kind",
        ),
        pytest.param(
            replace(LAPTOP_WITH_KIND, is_root=True, wanted="node"),
            Choice("node", "CLUSTER=node"),
            id="the node because it was asked for",
        ),
        pytest.param(
            replace(DEBIAN_AS_ROOT, programs_cached=True, free_bytes=6 * GIB),
            Choice("node", "not kind: a Docker daemon that answers `docker version`"),
            id="warm caches need less disk",
        ),
    ],
)
def test_a_machine_gets_the_cluster_that_it_can_run(machine: Machine, expected: Choice):
    assert choose(machine) == expected


@pytest.mark.parametrize(
    ("machine", "lines"),
    [
        pytest.param(
            replace(DEBIAN_AS_ROOT, is_root=False, free_bytes=2 * GIB, memory_bytes=1 * GIB),
            [
                "in any case:",
                "  - 14.0 GiB of free disk (there are 2.0 GiB): free some, or move XDG_CACHE_HOME",
                "  - 3.0 GiB of memory (there are 1.0 GiB): use a larger machine",
                "for kind:",
                "  - a Docker daemon that answers `docker version`: start Docker, and join the group docker",
                "  - kind on the PATH: install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
                "or, for a node of our own on Debian:",
                "  - root: the node makes namespaces, mounts and network links: sudo make cluster",
                "  - packages: containerd docker.io: apt-get install -y containerd docker.io",
            ],
            id="everything at once",
        ),
        pytest.param(
            replace(LAPTOP_WITH_KIND, venv_packages=("python3-venv",)),
            ["in any case:", "  - packages: python3-venv: apt-get install -y python3-venv"],
            id="kind without venv",
        ),
        pytest.param(
            replace(LAPTOP_WITH_KIND, wanted="kind", has_kind=False),
            [
                "for kind:",
                "  - kind on the PATH: install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
            ],
            id="kind was asked for",
        ),
        pytest.param(
            replace(DEBIAN_AS_ROOT, system="Darwin", wanted="node"),
            ["for a node of our own, on Debian:", "  - Linux (this is Darwin): use kind"],
            id="the node was asked for on a mac",
        ),
        pytest.param(
            replace(LAPTOP_WITH_KIND, python=(3, 9)),
            [
                "in any case:",
                "  - Python 3.11 or newer (this is 3.9): install a newer Python",
                "or, for a node of our own on Debian:",
            ],
            id="an old python",
        ),
    ],
)
def test_a_machine_is_told_all_that_it_lacks_in_one_go(machine: Machine, lines: list[str]):
    with pytest.raises(MachineLacks) as refusal:
        choose(machine)

    assert refusal.value.detail.splitlines()[: len(lines)] == lines


def test_an_unknown_flavour_is_refused():
    with pytest.raises(MachineLacks, match="CLUSTER=minikube is no kind of cluster"):
        choose(replace(DEBIAN_AS_ROOT, wanted="minikube"))

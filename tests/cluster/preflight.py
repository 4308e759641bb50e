"""Decides which cluster a machine can have, and names everything that it lacks in one go. Pure; used by `__main__`."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.cluster.errors import MachineLacks
from tests.cluster.machine import GIB, Machine

COLD_DISK_BYTES = 14 * GIB
"""Go's module and build caches 7, Docker's images 4, the node 2, and some air."""
WARM_DISK_BYTES = 5 * GIB
BUILD_MEMORY_BYTES = 3 * GIB
"""What linking Kubernetes takes; less and the kernel kills it."""
RUN_MEMORY_BYTES = 2 * GIB
OLDEST_PYTHON = (3, 11)
KIND_HINT = "install kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation"


@dataclass(frozen=True)
class Need:
    """Something that is missing, and what to type."""

    what: str
    how: str


@dataclass(frozen=True)
class Choice:
    """The flavour to bring up, and why that one."""

    flavour: str
    why: str


def choose(machine: Machine) -> Choice:
    """The cluster for this machine. Raises MachineLacks with the whole list when it can have none."""
    if machine.wanted not in ("", "kind", "node"):
        raise MachineLacks(
            f"CLUSTER={machine.wanted} is no kind of cluster", hint="CLUSTER=kind, CLUSTER=node, or leave it out"
        )
    general, of_kind, of_node = general_needs(machine), kind_needs(machine), node_needs(machine)
    if machine.wanted != "node" and not general + of_kind:
        return Choice("kind", "CLUSTER=kind" if machine.wanted else "Docker answers and kind is installed")
    if machine.wanted != "kind" and not general + of_node:
        why = "CLUSTER=node" if machine.wanted else f"not kind: {of_kind[0].what}"
        return Choice("node", why)
    raise MachineLacks(
        "this machine cannot run the test cluster yet", detail=_listed(machine, general, of_kind, of_node)
    )


def general_needs(machine: Machine) -> list[Need]:
    """What either flavour needs."""
    needs = []
    disk = WARM_DISK_BYTES if machine.programs_cached else COLD_DISK_BYTES
    if machine.python < OLDEST_PYTHON:
        needs.append(
            Need(
                f"Python {_dotted(OLDEST_PYTHON)} or newer (this is {_dotted(machine.python)})",
                "install a newer Python",
            )
        )
    if machine.free_bytes < disk:
        needs.append(
            Need(
                f"{_gib(disk)} of free disk (there are {_gib(machine.free_bytes)})", "free some, or move XDG_CACHE_HOME"
            )
        )
    needs += _packages(machine, machine.venv_packages)
    memory = RUN_MEMORY_BYTES if machine.programs_cached else BUILD_MEMORY_BYTES
    if machine.memory_bytes < memory:
        needs.append(Need(f"{_gib(memory)} of memory (there are {_gib(machine.memory_bytes)})", "use a larger machine"))
    return needs


def kind_needs(machine: Machine) -> list[Need]:
    """What kind needs beside that."""
    needs = []
    if not machine.docker_answers:
        needs.append(Need("a Docker daemon that answers `docker version`", "start Docker, and join the group docker"))
    if not machine.has_kind:
        needs.append(Need("kind on the PATH", KIND_HINT))
    return needs


def node_needs(machine: Machine) -> list[Need]:
    """What the node of our own needs beside that; packages that we can install ourselves are not among it."""
    if machine.system != "Linux":
        return [Need(f"Linux (this is {machine.system})", "use kind")]
    needs = []
    if machine.architecture not in ("x86_64", "aarch64"):
        needs.append(Need(f"an x86-64 or arm64 processor (this is {machine.architecture})", "use kind"))
    if not machine.is_root:
        needs.append(Need("root: the node makes namespaces, mounts and network links", "sudo make cluster"))
    return needs + _packages(machine, machine.node_packages)


def _packages(machine: Machine, lacking: Sequence[str]) -> list[Need]:
    if not lacking or (machine.is_root and machine.has_apt):
        return []
    names = " ".join(package.split()[-1] for package in lacking)
    return [Need(f"packages: {names}", f"apt-get install -y {names}")]


def _listed(machine: Machine, general: Sequence[Need], of_kind: Sequence[Need], of_node: Sequence[Need]) -> str:
    parts = [("in any case", general)]
    if machine.wanted != "node":
        parts.append(("for kind", of_kind))
    if machine.wanted != "kind":
        parts.append(
            ("for a node of our own, on Debian" if machine.wanted else "or, for a node of our own on Debian", of_node)
        )
    lines = []
    for title, needs in parts:
        if needs:
            lines += [f"{title}:", *(f"  - {need.what}: {need.how}" for need in needs)]
    return "\n".join(lines)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"

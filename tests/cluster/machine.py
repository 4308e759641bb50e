"""What the machine has, read once. Used by `__main__`, which hands it to preflight."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import docker, packages
from tests.cluster.places import Places
from tests.cluster.programs import NODE_PROGRAMS, missing

GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    """The facts that decide which cluster can be had here."""

    system: str
    architecture: str
    python: tuple[int, int]
    is_root: bool
    has_apt: bool
    memory_bytes: int
    free_bytes: int
    """On the volume of the cache or of the checkout, whichever has less."""
    docker_answers: bool
    """A daemon of the machine's own; one that we started does not count, as kind cannot run on it."""
    has_kind: bool
    venv_packages: tuple[str, ...]
    """Debian packages that the tests' Python environment needs and that are not here."""
    node_packages: tuple[str, ...]
    """Debian packages that the node needs and that are not here."""
    programs_cached: bool
    wanted: str
    """`kind` or `node` when the CLUSTER variable says so, else empty."""


def read(places: Places, environment: Mapping[str, str]) -> Machine:
    """Looks at the machine; changes nothing."""
    architecture = platform.machine()
    known = architecture in ("x86_64", "amd64", "aarch64", "arm64")
    return Machine(
        system=platform.system(),
        architecture=architecture,
        python=(sys.version_info.major, sys.version_info.minor),
        is_root=os.geteuid() == 0,
        has_apt=shutil.which("apt-get") is not None,
        memory_bytes=memory_bytes(),
        free_bytes=min(free_bytes(places.cache), free_bytes(places.checkout)),
        docker_answers=docker.machine_daemon_answers(),
        has_kind=shutil.which("kind") is not None,
        venv_packages=tuple(packages.missing(packages.SETS["venv"])),
        node_packages=tuple(packages.missing(packages.SETS["node"])),
        programs_cached=known and not missing(places, NODE_PROGRAMS),
        wanted=environment.get("CLUSTER", ""),
    )


def memory_bytes() -> int:
    """All memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes(path: Path) -> int:
    """Free space where the path is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free

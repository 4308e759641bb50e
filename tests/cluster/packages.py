"""Debian packages that a verb needs: installed with apt by root, named to everybody else. Used by `__main__`."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.commands import run_long, say, succeeds
from tests.cluster.errors import MachineLacks
from tests.cluster.places import Places

NODE = {
    "go": "golang-go",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "hostname": "hostname",
    "mount": "mount",
    "openssl": "openssl",
    "/usr/share/doc/busybox-static/copyright": "busybox-static",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
DOCKER = {"dockerd": "docker.io", "docker": "docker-cli docker.io", "debootstrap": "debootstrap"}
"""A value of two names: the first one that this Debian has; the last one is what a person is told."""
VENV = {"python3:ensurepip": "python3-venv"}
INTEGRATION = {
    "/usr/lib/postgresql/*/bin/postgres": "postgresql",
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "gpg": "gnupg",
    "prometheus": "prometheus",
    "npm": "npm",
}
SETS: Mapping[str, Mapping[str, str]] = {
    "node": {**NODE, **DOCKER},
    "docker": DOCKER,
    "venv": VENV,
    "integration": INTEGRATION,
}


def present(thing: str) -> bool:
    """True when a program is on the PATH, a file matches, or (`python3:NAME`) a module can be imported."""
    if thing.startswith("python3:"):
        return succeeds(["python3", "-c", f"import {thing.removeprefix('python3:')}"])
    if thing.startswith("/"):
        return any(Path("/").glob(thing.lstrip("/")))
    return shutil.which(thing) is not None


def missing(wanted: Mapping[str, str], there: Callable[[str], bool] = present) -> list[str]:
    """The packages whose programs are not here, each once, in the order of the table."""
    return list(dict.fromkeys(package for thing, package in wanted.items() if not there(thing)))


def can_install() -> bool:
    """True for root on Debian and its kin."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def provide(places: Places, name: str) -> None:
    """Installs what a set misses. Raises MachineLacks, naming all of it, when that is not ours to do."""
    lacking = missing(SETS[name])
    if not lacking:
        return
    if not can_install():
        raise MachineLacks(
            f"not installed: {', '.join(lacking)}",
            hint=f"as root on Debian: apt-get install -y {' '.join(package.split()[-1] for package in lacking)}",
        )
    log = places.cache / "log" / "apt.log"
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run_long("reading the package lists", ["apt-get", "update"], log=log, environment=environment)
    chosen = [_available(package.split()) for package in lacking]
    say(f"installing with apt: {' '.join(chosen)}")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *chosen]
    run_long("installing packages", install, log=log, environment=environment)


def _available(names: list[str]) -> str:
    return next((name for name in names if succeeds(["apt-cache", "show", name])), names[-1])

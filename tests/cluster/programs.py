"""Builds the node's programs from Go modules into the cache, once per digest of their inputs. Used by node and kind.

A cold build takes 6-7 minutes on two cores and needs 3 GiB of memory; with the binaries in the cache it takes nothing.
"""

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run_long
from tests.cluster.locks import exclusive
from tests.cluster.places import SOURCES, Places, digest, digest_of_tree
from tests.cluster.toolchain import go_architecture, go_command

KUBERNETES_VERSION = "v1.35.4"
HELM_VERSION = "v3.22.0"
PROVISIONER_VERSION = "v0.0.30"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")

_VERSION_STAMP = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]
_KUBERNETES_FLAGS = (
    f"-X {_VERSION_STAMP}.gitVersion={KUBERNETES_VERSION} -X {_VERSION_STAMP}.gitMajor={_MAJOR} "
    f"-X {_VERSION_STAMP}.gitMinor={_MINOR}"
)


@dataclass(frozen=True)
class Program:
    """One binary and where its source is: a directory below `go/`, or a module at a version."""

    name: str
    source: str = ""
    package: str = "."
    module: str = ""
    linker_flags: str = ""
    links: tuple[str, ...] = ()
    """Names that the binary is called by as well."""


KUBERNETES = Program("kubernetes", source="kubernetes", linker_flags=_KUBERNETES_FLAGS, links=COMPONENTS)
KUBECTL = Program("kubectl", source="kubernetes", package="./kubectl", linker_flags=_KUBERNETES_FLAGS)
COREDNS = Program("coredns", source="dns")
PAUSE = Program("pause", source="pause")
HELM = Program(
    "helm",
    module=f"helm.sh/helm/v3/cmd/helm@{HELM_VERSION}",
    linker_flags=f"-X helm.sh/helm/v3/internal/version.version={HELM_VERSION}",
)
PROVISIONER = Program(
    "local-path-provisioner", module=f"github.com/rancher/local-path-provisioner@{PROVISIONER_VERSION}"
)

NODE_PROGRAMS = (KUBERNETES, COREDNS, PAUSE, HELM, PROVISIONER)


def cache_key(program: Program, architecture: str, sources: Path = SOURCES / "go") -> str:
    """Changes with everything that the binary is made of, and with nothing else."""
    tree = digest_of_tree(sources / program.source) if program.source else ""
    return digest([program.name, program.package, program.module, program.linker_flags, architecture, tree])[:16]


def directory_of(places: Places, program: Program) -> Path:
    """Where the cache keeps a program, built or not."""
    key = cache_key(program, go_architecture(platform.machine()))
    return places.cache / "programs" / f"{program.name}-{key}"


def missing(places: Places, wanted: Sequence[Program]) -> list[Program]:
    """Those that the cache does not hold yet."""
    return [program for program in wanted if not directory_of(places, program).exists()]


def provide(places: Places, wanted: Sequence[Program]) -> list[Path]:
    """The programs' directories, each built when the cache lacks it. Raises CommandFailed with the compiler's words."""
    if missing(places, wanted):
        with exclusive(places.cache / "programs" / "lock", doing="building programs"):
            for program in missing(places, wanted):
                _build(places, program)
    return [directory_of(places, program) for program in wanted]


def _build(places: Places, program: Program) -> None:
    target = directory_of(places, program)
    fresh = target.with_name(f"{target.name}.fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # -trimpath: the same inputs give the same bytes wherever the checkout lies
    flags = ["-trimpath", "-ldflags", f"-s -w {program.linker_flags}".rstrip()]
    verb = (
        ["install", program.module] if program.module else ["build", "-o", str(fresh / program.name), program.package]
    )
    run_long(
        f"building {program.name}",
        [go_command(places), verb[0], *flags, *verb[1:]],
        log=places.cache / "log" / f"build-{program.name}.log",
        environment=dict(os.environ, CGO_ENABLED="0", GOBIN=str(fresh), GOTOOLCHAIN="local", GOWORK="off"),
        directory=SOURCES / "go" / program.source,
    )
    for link in program.links:
        (fresh / link).symlink_to(program.name)
    fresh.rename(target)


def link_tools(places: Places, tools: Sequence[Path]) -> None:
    """Puts links to the tools into `.cluster/bin`, replacing older ones."""
    places.bin.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        link = places.bin / tool.name
        link.unlink(missing_ok=True)
        link.symlink_to(tool)

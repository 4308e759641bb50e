"""The control groups that hold the node's pods, with cgroup v1, v2 or both. Used by node and docker.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import errno
import os
import time
from pathlib import Path

from tests.cluster.errors import MachineLacks

MOUNTS = Path("/proc/mounts")


def hierarchies(mounts: str) -> list[tuple[str, Path]]:
    """Type and mount point of every control group hierarchy, out of the text of /proc/mounts; each mount point once."""
    found = {}
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            found[Path(point)] = kind
    return [(kind, point) for point, kind in found.items()]


def make(name: str) -> None:
    """Makes the group in every hierarchy, with the controllers that kubelet asks for. Raises MachineLacks."""
    try:
        _make(name)
    except OSError as exc:
        raise MachineLacks(
            "control groups cannot be made", detail=str(exc), hint="root, and /sys/fs/cgroup writable"
        ) from exc


def _make(name: str) -> None:
    for kind, root in hierarchies(MOUNTS.read_text()):
        group = root / name
        if kind == "cgroup2":
            _enable_controllers(root)
        group.mkdir(exist_ok=True)
        if kind == "cgroup2":
            _enable_controllers(group)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # v1 starts a new group with empty sets, in which nothing may run
            if kind == "cgroup" and (root / file).exists():
                (group / file).write_text((root / file).read_text())


def _enable_controllers(group: Path) -> None:
    wanted = " ".join(f"+{controller}" for controller in (group / "cgroup.controllers").read_text().split())
    try:
        (group / "cgroup.subtree_control").write_text(wanted)
    except OSError as refused:
        if refused.errno != errno.EBUSY:
            raise
        # inside a container the root is a group like any other: it may hold processes or controllers, not both
        _move_processes(group, group / "init")
        (group / "cgroup.subtree_control").write_text(wanted)


def _move_processes(group: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            (target / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            continue  # it ended in the meantime


def remove(name: str) -> None:
    """Removes the group and all below it; what still runs in it gets three seconds to be gone."""
    for _, root in hierarchies(MOUNTS.read_text()):
        group = root / name
        if group.is_dir():
            _remove_tree(group)


def _remove_tree(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        deadline = time.monotonic() + 3
        while True:
            try:
                Path(directory).rmdir()
                break
            except OSError:  # EBUSY: a killed process is not reaped yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

"""Room `tests.support`: volumes of a size of their own; needs root, as the whole suite does where it mounts."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted_tmpfs(mount: Path, size_bytes: int, *, inodes: int = 0) -> Iterator[Path]:
    """An empty file system of so many bytes, and of so many inodes if not 0."""
    mount.mkdir(parents=True)
    options = f"size={size_bytes}" + (f",nr_inodes={inodes}" if inodes else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)

"""Room `worker.targets`: what the scratch volume still takes; called by redis_throwaway.

The limit of an emptyDir is not its file system's: a pod that writes more is evicted, and its restore with it.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOCK_BYTES = 512


def free_bytes(scratch: Path, limit_bytes: int | None) -> int:
    """How much may still be written there; without a limit what the file system has free."""
    free = shutil.disk_usage(scratch).free
    return free if limit_bytes is None else max(0, min(free, limit_bytes - _used_bytes(scratch)))


def within(chunks: Iterable[bytes], room_bytes: int) -> Iterator[bytes]:
    """The chunks, as long as they fit. Raises: OSError ENOSPC, as a file system does that is full."""
    for chunk in chunks:
        room_bytes -= len(chunk)
        if room_bytes < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield chunk


def _used_bytes(directory: Path) -> int:
    """What the files below take on disk, as du and the kubelet count it."""
    return sum(_size_bytes(Path(parent, name)) for parent, _, names in os.walk(directory) for name in names)


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_blocks * _BLOCK_BYTES
    except FileNotFoundError:
        return 0

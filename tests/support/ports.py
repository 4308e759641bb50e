"""Room `tests.support`: ports of this machine for servers that take a number; used by whoever starts one.

A port that was free a moment ago may be anybody's now: another test process asks the kernel as well, and each outgoing
connection takes a port of the kernel's own range too. So ours lie below that range, and whoever has chosen one holds it
until its process ends, by a lock on that byte of a file that all test processes share.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

_OURS = range(11_000, 20_000)
"""Above what a node of a cluster listens on and below what the kernel gives away, 10000 added too: Redis in cluster
mode listens there as well."""
_taken: set[int] = set()
"""By this process: its own locks do not keep it out."""
_locks: list[IO[bytes]] = []
"""The file, open for as long as the process lives: closing it would give all ports up."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens; it is this process's until it ends."""
    for port in random.sample(_OURS, len(_OURS)):
        if port not in _taken and _is_mine(port) and _is_free(port):
            _taken.add(port)
            return port
    raise RuntimeError(f"every port from {_OURS.start} to {_OURS.stop - 1} is taken")


def _is_mine(port: int) -> bool:
    """Whether no other process holds it; it stays held."""
    if not _locks:
        path = Path(tempfile.gettempdir()) / f"backup-operator-test-ports-{os.getuid()}"
        _locks.append(path.open("ab"))
    try:
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False

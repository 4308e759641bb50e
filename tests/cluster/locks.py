"""Locks between processes and checkouts, on files outside the tree. Used by programs, docker and node."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.commands import say


@contextmanager
def exclusive(path: Path, *, doing: str) -> Iterator[None]:
    """Holds the lock at `path`, and says so when it has to wait. The file stays, as deleting it would race."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another run is {doing} ({path})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""Room `worker`: what a run takes from the process it runs in, handed in so that tests can hand in their own."""

import getpass
import os
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backup_operator.worker.progress import Clock


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Workplace:
    """Clock, scratch space and name of the process."""

    now: Callable[[], datetime] = _utc_now
    """The time of day, UTC."""
    clock: Clock = time.monotonic
    wait: Callable[[float], None] = time.sleep
    """Lets so many seconds pass."""
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Where short-lived files go; small, never a database's content."""
    host: str = field(default_factory=socket.gethostname)
    """Who we are to others that wait for the store: the pod's name."""


def person_at_the_keyboard() -> str:
    """The name of the user; in a pod a user has only a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

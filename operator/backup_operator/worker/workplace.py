"""Room `worker`: what a run takes from the process it runs in, handed in so that tests can hand in their own.

BACKUP_CLOCK_OFFSET_SECONDS moves the time of day, for tests of forty days in an hour. Nobody does that unseen: every
report, entry and log says so.
"""

import getpass
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_operator.worker.progress import Clock
from backup_operator.worker.words import span_in_words

CLOCK_OFFSET = "BACKUP_CLOCK_OFFSET_SECONDS"


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
    warnings: tuple[str, ...] = ()
    """What every report from here has to say."""


def workplace_of(environment: Mapping[str, str], scratch: Path) -> Workplace:
    """That of a process with this environment, its clock moved where that is asked for."""
    asked = environment.get(CLOCK_OFFSET, "").strip()
    try:
        moved = timedelta(seconds=int(asked or 0))
        _ = _utc_now() + moved
    except (ValueError, OverflowError):
        return Workplace(scratch=scratch, warnings=(f"{CLOCK_OFFSET} is no number of seconds; the clock is not moved",))
    if not moved:
        return Workplace(scratch=scratch)
    way = "forward" if moved > timedelta() else "back"
    warning = f"the clock is moved {way} by {span_in_words(abs(moved))}: {CLOCK_OFFSET}={int(asked)}"
    return Workplace(now=lambda: _utc_now() + moved, scratch=scratch, warnings=(warning,))


def person_at_the_keyboard() -> str:
    """The name of the user; in a pod a user has only a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

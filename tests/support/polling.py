"""Waiting for something to become true. Used by the e2e tests and the demo: the only place of theirs that pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.3
PATIENCE_SECONDS = 120
"""Most comes within seconds; the rest is for a machine that does much else."""


class NotInTime(AssertionError):
    """What was waited for did not come; the text says what was there instead."""


def wait_until(
    read: Callable[[], T], holds: Callable[[T], object], *, for_what: str, timeout_seconds: float = PATIENCE_SECONDS
) -> T:
    """The first reading for which `holds` is true. Raises: NotInTime with the last reading."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = read()
        if holds(found):
            return found
        if time.monotonic() > deadline:
            raise NotInTime(f"{for_what}: not after {timeout_seconds:g} s; last seen:\n{found}")
        time.sleep(PAUSE_SECONDS)

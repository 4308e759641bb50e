"""Room `worker.checks`: questions to the application that uses what was restored; called by `worker.restore`.

An application may need a moment to find its database again, so that a check is tried until it passes or its time is
over.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.worker.checks.judge import found

_SILENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Patience:
    """How long one check is tried again, and how time passes."""

    within_seconds: float = 60.0
    between_seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


def run_http_checks(checks: Sequence[CheckOrder], patience: Patience | None = None) -> tuple[CheckFound, ...]:
    """What each finds in the end. https is verified with the system's authorities; redirects stay on their host."""
    return tuple(_run(check, patience or Patience()) for check in checks)


def _run(check: CheckOrder, patience: Patience) -> CheckFound:
    end = patience.clock() + patience.within_seconds
    while True:
        asked = _ask_once(check)
        if asked.passed or patience.clock() >= end:
            return asked
        patience.wait(patience.between_seconds)


def _ask_once(check: CheckOrder) -> CheckFound:
    # loaded here, as this module is loaded for every order and the client with its TLS takes megabytes
    from backup_operator.worker.web import FAILURES, failure_in_words, status_of

    try:
        status = status_of(check.http_url, wanted=(check.http_status,), silence_seconds=_SILENCE_SECONDS)
    except FAILURES as exc:
        return found(check, failure_in_words(exc, silence_seconds=_SILENCE_SECONDS), passed=False)
    return found(check, f"status {status}", passed=status == check.http_status)

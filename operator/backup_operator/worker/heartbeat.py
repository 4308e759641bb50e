"""Room `worker`: tells a dead man's switch that a backup is good; called by `worker.backup` as its last step.

A GET of a URL that is a secret: whoever watches it (healthchecks.io, Dead Man's Snitch, Uptime Kuma, …) raises the
alarm when it stays away, even where the cluster with its operator is gone. No failure here is one of the backup.
"""

from typing import Final

from backup_operator.contract.order import SecretFile
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.workplace import Workplace

_TRIES: Final = 3
_BETWEEN_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 5.0
_GOOD: Final = range(200, 300)
_REFUSED: Final = range(300, 500)
_TRY_LATER: Final = frozenset({408, 425, 429})


def send_heartbeat(secret: SecretFile, workplace: Workplace) -> tuple[str, ...]:
    """Ask the URL, up to three times. Returns: warnings, none of which holds the URL; none means that it was heard."""
    try:
        url, warnings = read_secret(secret)
        failure = _failure_of(url.strip(), workplace)
    except WorkerError as error:  # no such Secret; or a deadline or SIGTERM, and the backup is good all the same
        return (_told(f"{error.message}{f'. {error.hint}' if error.hint else ''}"),)
    return (*warnings, _told(f"{secret.described}: {failure}")) if failure else warnings


def _failure_of(url: str, workplace: Workplace) -> str:
    """Why nobody heard it; empty when somebody did."""
    # loaded here, as most orders have no heartbeat and the client with its TLS takes megabytes
    from backup_operator.worker.web import FAILURES, failure_in_words, status_of

    failure = ""
    for attempt in range(_TRIES):
        if attempt:
            workplace.wait(_BETWEEN_SECONDS)
        try:
            status = status_of(url, wanted=_GOOD, silence_seconds=SILENCE_SECONDS)
        except FAILURES as exc:
            failure = failure_in_words(exc, silence_seconds=SILENCE_SECONDS)
            continue
        if status in _GOOD:
            return ""
        failure = f"status {status}"
        if status in _REFUSED and status not in _TRY_LATER:
            return failure
    return f"{failure}, {_TRIES} times"


def _told(what: str) -> str:
    return f"the backup is good, but its heartbeat was not heard: {what}"

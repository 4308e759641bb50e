"""Room `worker.targets`: turns errors into a target's, with the state it is in; called by `targets.postgres*`."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, TargetError, WorkerError
from backup_operator.worker.sources.postgres_faults import Place, connection_fault

UNTOUCHED = "Nothing was changed."
_DETAIL_LIMIT = 700
_OF_THE_CONNECTION = frozenset(
    {
        Reason.CONNECTION_LOST,
        Reason.CONNECTION_TIMED_OUT,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.SERVER_NOT_READY,
        Reason.AUTHENTICATION_FAILED,
        Reason.TLS_FAILED,
    }
)
_BY_STATE = {
    "55P03": Reason.LOCK_TIMEOUT,
    "42501": Reason.PERMISSION_DENIED,
    "53100": Reason.STORAGE_FULL,
    "55006": Reason.TARGET_IN_USE,
    "42P04": Reason.TARGET_EXISTS,
}
"""Reasons by SQLSTATE; all other refusals of the server are RestoreFailed."""
_HINTS = {
    Reason.LOCK_TIMEOUT: "End the transactions that hold the locks, then make a new RestoreRequest.",
    Reason.STORAGE_FULL: "Make room on the server's volume, then make a new RestoreRequest.",
}


@contextmanager
def stating(state: str, place: Place) -> Iterator[None]:
    """Every error that leaves says in what state the target is; those of the server become TargetErrors."""
    try:
        yield
    except WorkerError as exc:
        raise with_state(exc, state) from exc
    except psycopg.Error as exc:
        raise with_state(refusal(exc, place), state) from exc


def with_state(error: WorkerError, state: str) -> WorkerError:
    """The error with the state of the target behind its message; a source's error becomes a target's."""
    message = error.message if state in error.message else f"{error.message.rstrip('.')}. {state}"
    if isinstance(error, SourceError | TargetError):
        return TargetError(error.reason, message, detail=error.detail, hint=error.hint)
    error.message = message
    return error


def refusal(error: psycopg.Error, place: Place) -> WorkerError:
    """Why the server refused something, in its own words, with the statement."""
    fault = connection_fault(error, place)
    if fault.reason in _OF_THE_CONNECTION:
        return fault
    reason = _BY_STATE.get(error.sqlstate or "", Reason.RESTORE_FAILED)
    return TargetError(
        reason,
        f"The server refused: {error.diag.message_primary or str(error).strip().splitlines()[0]}.",
        detail=_details(error),
        hint=_HINTS.get(reason, "Look at the server's log at that time, and at the backup with: backup-worker open"),
    )


def _details(error: psycopg.Error) -> str:
    said = (error.diag.message_detail, error.diag.message_hint, error.diag.context, *getattr(error, "__notes__", ()))
    line = " | ".join(" ".join(text.split()) for text in said if text)
    return line if len(line) <= _DETAIL_LIMIT else line[: _DETAIL_LIMIT - 1] + "…"

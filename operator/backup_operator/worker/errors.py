"""Room `worker`: the errors that end a run; raised in every engine part, turned into a report by `worker.cli`.

WorkerError                     reason, retryable, message, detail, hint
├── SourceError                 reaching or reading the database; its reason is chosen by the source
├── DumpIncomplete              the stream ended before its end mark, or the dump tool failed without a better reason
├── SecretMissing               a Secret or key that the order names is not mounted
├── KeyInvalid                  passphrase empty, short or not the one
├── StoreError                  the volume: full, read-only, owned by others; its reason is chosen by the store
├── StoreBusy                   somebody else holds the store's lock
├── VerificationFailed          a stored byte is not what was written
├── TargetError                 a restore's target; its message says in what state the target is now
├── Interrupted                 SIGTERM
├── DeadlineExceeded            the order's deadline passed
└── OrderInvalid                the order cannot be read
"""

from backup_operator.contract.exits import Exit
from backup_operator.contract.report import Fault
from backup_operator.vocabulary.reasons import Reason


class WorkerError(Exception):
    """A run cannot go on. Message, detail and hint follow PostgreSQL's error style and hold no secret."""

    reason: Reason = Reason.INTERNAL_ERROR
    retryable: bool = False

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    @property
    def exit_code(self) -> Exit:
        """What the process exits with, on which the Job's podFailurePolicy decides about a retry."""
        return Exit.RETRYABLE if self.retryable else Exit.FINAL

    def fault(self) -> Fault:
        """The error as a part of a report."""
        return Fault(
            reason=self.reason, message=self.message, detail=self.detail, hint=self.hint, retryable=self.retryable
        )


class _ReasonedError(WorkerError):
    def __init__(self, reason: Reason, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.reason = reason
        self.retryable = reason in HEALS_BY_ITSELF


HEALS_BY_ITSELF: frozenset[Reason] = frozenset(
    {
        Reason.CONNECTION_REFUSED,
        Reason.CONNECTION_LOST,
        Reason.CONNECTION_TIMED_OUT,
        Reason.NAME_NOT_RESOLVED,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.SERVER_LOADING,
        Reason.SERVER_NOT_READY,
        Reason.LOCK_TIMEOUT,
        Reason.RESTORE_RUNNING,
        Reason.STORE_BUSY,
        Reason.STORAGE_FAILED,
        Reason.SNAPSHOT_FAILED,
        Reason.INTERRUPTED,
        Reason.DUMP_INCOMPLETE,
        Reason.VERIFICATION_FAILED,
        Reason.INTERNAL_ERROR,
    }
)
"""Reasons whose cause can be gone a minute later: the Job tries again. The others need a person."""


class SourceError(_ReasonedError):
    """The database could not be reached or read; the reason says which of the many ways."""


class StoreError(_ReasonedError):
    """The volume or the store's directory could not be written or read."""


class DumpIncomplete(WorkerError):
    """The dump did not come to its proper end."""

    reason = Reason.DUMP_INCOMPLETE
    retryable = True


class SecretMissing(WorkerError):
    """A Secret, or the key in it, is not mounted."""

    reason = Reason.SECRET_MISSING


class KeyInvalid(WorkerError):
    """The passphrase is empty, too short, or does not open the file."""

    reason = Reason.KEY_INVALID


class StoreBusy(WorkerError):
    """Another run writes to this store."""

    reason = Reason.STORE_BUSY
    retryable = True


class VerificationFailed(WorkerError):
    """A stored file, read back, is not what was written."""

    reason = Reason.VERIFICATION_FAILED
    retryable = True


class TargetError(_ReasonedError):
    """A restore cannot begin or go on. A restore runs at most once: it is never tried again by itself."""

    def __init__(self, reason: Reason, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(reason, message, detail=detail, hint=hint)
        self.retryable = False


class Interrupted(WorkerError):
    """The process was asked to stop before the run ended."""

    reason = Reason.INTERRUPTED
    retryable = True


class DeadlineExceeded(WorkerError):
    """The run took longer than its order allows."""

    reason = Reason.DEADLINE_EXCEEDED


class OrderInvalid(WorkerError):
    """The order is not one that this worker knows."""

    reason = Reason.ORDER_INVALID

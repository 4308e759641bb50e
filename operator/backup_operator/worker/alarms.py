"""Room `worker`: SIGTERM, Ctrl-C and the deadline, turned into errors of the run; used by `worker.cli` and by_hand."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from backup_operator.worker.errors import DeadlineExceeded, Interrupted, WorkerError

_ASKED = {
    signal.SIGTERM: "the process was asked to stop (SIGTERM): the pod was deleted, evicted or its node is going down",
    signal.SIGINT: "somebody pressed Ctrl-C",
}
_STOPS = tuple(_ASKED)
_TRIED_AGAIN = "the Job tries again where it has attempts left; else the next schedule does"
_NEVER_TRIED_AGAIN = "a restore is never tried again by itself: make a new request once you know the target's state"
_MORE_TIME = "raise spec.job.deadline, or look in the log which step takes so long"
_MORE_TIME_FOR_ANOTHER = (
    "look in the log which step takes so long; once you know the target's state, make a new request with a longer "
    "spec.job.deadline"
)
_SOON_SECONDS = 0.02
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


@contextmanager
def stopped_from_outside(deadline: timedelta, *, tried_again: bool = True) -> Iterator[None]:
    """Within it, SIGTERM and SIGINT raise Interrupted, the deadline DeadlineExceeded, once, in the main thread.

    Both stay quiet afterwards, so that cleaning up is never cut short by a second one. `tried_again` says whether
    another attempt follows by itself, as that of a backup does.
    """

    def stop_quietly() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)

    def stop(error: WorkerError, frame: FrameType | None) -> None:
        stop_quietly()
        if not _imports(frame):
            raise error
        signal.signal(signal.SIGALRM, lambda _number, later: stop(error, later))
        signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)

    def interrupt(number: int, frame: FrameType | None) -> None:
        error = Interrupted(
            "the run was stopped before it ended",
            detail=_ASKED[signal.Signals(number)],
            hint=_TRIED_AGAIN if tried_again else _NEVER_TRIED_AGAIN,
        )
        stop(error, frame)

    def expire(_number: int, frame: FrameType | None) -> None:
        error = DeadlineExceeded(
            f"the run took longer than its deadline of {deadline}",
            hint=_MORE_TIME if tried_again else _MORE_TIME_FOR_ANOTHER,
        )
        stop(error, frame)

    before = {number: signal.getsignal(number) for number in (*_STOPS, signal.SIGALRM)}
    for number in _STOPS:
        signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, deadline.total_seconds())
    try:
        yield
    finally:
        stop_quietly()
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported, in which an error of ours would be lost.

    psycopg takes any error of its C library's import for a missing library, and tries the next one.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False

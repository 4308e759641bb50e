"""Room `worker.store`: one writer at a time; taken by `worker.backup` around everything that changes a store.

`flock` works between pods of one node and is let go by the kernel when a process dies. The file's content names the
holder for those who wait; it is only believed while the lock is held.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from json import JSONDecodeError, dumps, loads

from backup_operator.rules.naming import LOCK_NAME, FileRole, recognise
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import StoreBusy, StoreError
from backup_operator.worker.store.directory import FILE_MODE, Store, write_all
from backup_operator.worker.store.faults import kubectl_beside

_POLL_SECONDS = 0.2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CANNOT_LOCK = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(frozen=True)
class Holder:
    """Who holds a store's lock, in words for the one who waits."""

    run: str
    """The run or job, as the caller calls it."""
    host: str
    """The pod: its host name."""
    since: str
    """ISO 8601, UTC."""


@contextmanager
def locked(store: Store, timeout: timedelta, holder: Holder) -> Iterator[None]:
    """Hold the store's lock. Raises: StoreBusy when it stays taken for longer than `timeout`; StoreError."""
    descriptor = _open_lock(store)
    try:
        _acquire(store, descriptor, timeout)
        _name_holder(store, descriptor, holder)
        yield
        with suppress(OSError):  # a name left behind is not believed: nobody holds the lock
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open_lock(store: Store) -> int:
    with store.faults("opening the store's lock"):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(LOCK_NAME, flags, FILE_MODE, dir_fd=store.fileno())


def _acquire(store: Store, descriptor: int, timeout: timedelta) -> None:
    deadline = time.monotonic() + timeout.total_seconds()
    while not _try(store, descriptor):
        if time.monotonic() >= deadline:
            raise _busy(store, descriptor, timeout)
        time.sleep(_POLL_SECONDS)


def _try(store: Store, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno in _CANNOT_LOCK:
            raise StoreError(
                Reason.STORAGE_FAILED,
                f"the volume of {store.described} knows no file locks",
                detail=f"{exc.strerror}, while locking {store.directory / LOCK_NAME}",
                hint="Mount it with locks (NFS: without `nolock`, or with `local_lock=flock` for one node).",
            ) from exc
        with store.faults("locking the store"):
            raise
    return True


def _name_holder(store: Store, descriptor: int, holder: Holder) -> None:
    """Tell those who wait. On a full volume they do without: who deletes must get in."""
    with store.faults("naming the holder of the lock"):
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            write_all(descriptor, dumps(asdict(holder)).encode())
        except OSError as exc:
            if exc.errno not in _FULL:
                raise


def _busy(store: Store, descriptor: int, timeout: timedelta) -> StoreBusy:
    holder = _read_holder(descriptor)
    held = f"{holder.run} in {holder.host} since {holder.since}" if holder else "another run"
    unfinished = sorted(name for name in store.names() if recognise(name).role is FileRole.INTENT)
    begun = ", ".join(str(recognise(name).run) for name in unfinished)
    return StoreBusy(
        f"the store {store.directory} on {store.described} is held by {held}",
        detail=f"waited {timeout.total_seconds():.0f} s for the lock" + (f"; begun there: {begun}" if begun else ""),
        hint=(
            "Wait until that run ends, or look at it: "
            f"`{kubectl_beside(store.described)} logs {holder.host if holder else '<its pod>'}`."
        ),
    )


def _read_holder(descriptor: int) -> Holder | None:
    try:
        found = loads(os.pread(descriptor, 4096, 0))
        return Holder(str(found["run"]), str(found["host"]), str(found["since"]))
    except (OSError, JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return None

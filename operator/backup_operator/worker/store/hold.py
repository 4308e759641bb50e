"""Room `worker.store`: keeps a run from being deleted while it is read; called by `worker.opening` and `deletion`.

A reader has a shared lock on the entry's file, who deletes takes the exclusive one first. It needs no write access,
works between pods of one node, and is let go by the kernel when a process dies.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from backup_operator.rules.naming import ENTRY_SUFFIX
from backup_operator.worker.log import fields
from backup_operator.worker.store.directory import Store

_LOG = logging.getLogger(__name__)
_CANNOT_LOCK = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF})


@contextmanager
def held(store: Store, run: str) -> Iterator[None]:
    """Nobody deletes the run inside. Raises: FileNotFoundError when it is gone or being deleted; StoreError."""
    name = run + ENTRY_SUFFIX
    with store.open_file(name) as file:
        _share(store, file.fileno(), name)
        if not store.is_named(file.fileno(), name):
            raise FileNotFoundError(errno.ENOENT, "is being deleted", name)
        yield


def _share(store: Store, descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise FileNotFoundError(errno.ENOENT, "is being deleted", name) from exc
    except OSError as exc:
        if exc.errno not in _CANNOT_LOCK:
            with store.faults(f"holding {name}"):
                raise
        # such a volume takes no backup either, so that nothing deletes from it
        _LOG.warning("the backup cannot be held against deletion", extra=fields(file=name, why=exc.strerror))


@contextmanager
def taken_for_deletion(store: Store, run: str) -> Iterator[bool]:
    """Whether nobody reads the run; nobody begins to inside. Raises: FileNotFoundError when it is gone; StoreError."""
    name = run + ENTRY_SUFFIX
    # NFS gives the exclusive lock only to those who may write
    descriptor = store.open_for_locking(name)
    try:
        yield _take(store, descriptor, name)
    finally:
        os.close(descriptor)


def _take(store: Store, descriptor: int, name: str) -> bool:
    with store.faults(f"locking {name}"):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    if not store.is_named(descriptor, name):
        raise FileNotFoundError(errno.ENOENT, "is gone", name)
    return True

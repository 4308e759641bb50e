"""Room `worker.store`: one policy's directory and the durable steps on its files; used by every module of the store.

Every step goes through the directory's descriptor, so that a link put in its place later leads nowhere. A name is
made to last in this order: write, fsync the file, give it its name, fsync the directory.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from backup_operator.rules.naming import PARTIAL_SUFFIX
from backup_operator.worker.errors import StoreError
from backup_operator.worker.store.faults import storage_faults

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_CANNOT_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CANNOT_SYNC_DIRECTORIES = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP})


def _no_step(_label: str) -> None:
    """Production: nothing happens between two steps."""


class Store:
    """An open store. A context manager: closing lets go of the directory's descriptor.

    `before_step` is called with a label before every change on the volume; tests end the process or fail there.
    """

    def __init__(
        self, descriptor: int, directory: Path, described: str, before_step: Callable[[str], None] = _no_step
    ) -> None:
        self.directory = directory
        """Where it is in this process's view; for messages and RECOVER.md."""
        self.described = described
        """How a person calls the claim."""
        self._descriptor = descriptor
        self._before_step = before_step

    def close(self) -> None:
        """Let go of the directory; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The directory's descriptor."""
        return self._descriptor

    def faults(self, doing: str) -> AbstractContextManager[None]:
        """Raise StoreError for every OSError inside, naming the claim and what was being done."""
        return storage_faults(self.described, doing)

    # reading

    def names(self) -> list[str]:
        """The names of everything in the store, in no order."""
        with self.faults("listing the store"):
            return os.listdir(self._descriptor)  # noqa: PTH208 - by descriptor

    def size_of(self, name: str) -> int | None:
        """Bytes of a regular file, or None where there is none of that name."""
        with self.faults(f"looking at {name}"):
            found = self._stat(name)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def exists(self, name: str) -> bool:
        """Whether anything has that name, a dangling link too."""
        with self.faults(f"looking at {name}"):
            return self._stat(name) is not None

    def open_file(self, name: str) -> BinaryIO:
        """A regular file for reading, unbuffered. Raises: FileNotFoundError when it is gone; StoreError."""
        with self._faults_but(FileNotFoundError, f"opening {name}"):
            # without O_NONBLOCK a named pipe would hold us for ever
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, "is not a regular file", name)
            return os.fdopen(descriptor, "rb", buffering=0)

    def read_file(self, name: str, limit_bytes: int) -> bytes:
        """At most `limit_bytes` of a small file. Raises: FileNotFoundError when it is gone; StoreError."""
        with self.open_file(name) as file, self.faults(f"reading {name}"):
            # not more than there is: a read allocates what it is asked for
            left_bytes = min(limit_bytes, os.fstat(file.fileno()).st_size)
            return b"".join(_pieces(file, left_bytes))

    def is_named(self, descriptor: int, name: str) -> bool:
        """Whether an open file still has that name."""
        with self.faults(f"looking at {name}"):
            found = self._stat(name)
            return found is not None and os.path.samestat(found, os.fstat(descriptor))

    def open_for_locking(self, name: str) -> int:
        """The descriptor of a file for an exclusive lock. Raises: FileNotFoundError when it is gone; StoreError."""
        with self._faults_but(FileNotFoundError, f"opening {name}"):
            return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._descriptor)

    # changing

    def create(self, name: str) -> int:
        """The descriptor of a new file, 0600. Raises: FileExistsError when the name is taken; StoreError."""
        with self._faults_but(FileExistsError, f"creating {name}"):
            self._before_step(f"create {name}")
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            # an umask can only take from the mode, and 0600 has nothing for others
            return os.open(name, flags, FILE_MODE, dir_fd=self._descriptor)

    def create_whole(self, name: str, content: bytes) -> None:
        """A new small file with its content, on the volume when this returns. Raises: FileExistsError, StoreError."""
        descriptor = self.create(name)
        try:
            with self.faults(f"writing {name}"):
                self._before_step(f"write {name}")
                write_all(descriptor, content)
                self._before_step(f"sync {name}")
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.sync_directory()

    def replace_whole(self, name: str, content: bytes) -> None:
        """Give a small file new content: whole or not at all, whenever we are stopped."""
        temporary = name + PARTIAL_SUFFIX
        self.remove(temporary)
        self.create_whole(temporary, content)
        self.rename(temporary, name)

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name, over whatever has it, on the volume when this returns. Raises: StoreError."""
        with self.faults(f"renaming to {new_name}"):
            self._before_step(f"rename to {new_name}")
            os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self.sync_directory()

    def sync_file(self, descriptor: int, name: str) -> None:
        """Have a file's bytes on the volume when this returns, and not in the page cache: a read comes from there."""
        with self.faults(f"flushing {name}"):
            self._before_step(f"sync {name}")
            os.fsync(descriptor)
            with suppress(OSError):  # advice only; some file systems take none
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self, temporary: str, name: str) -> None:
        """Give a finished file its name, never over another file. Raises: FileExistsError, StoreError."""
        with self._faults_but(FileExistsError, f"renaming to {name}"):
            self._before_step(f"publish {name}")
            self._link(temporary, name)
        self.sync_directory()
        self.remove(temporary)
        self.sync_directory()

    def remove(self, name: str) -> bool:
        """Remove a file; False where there was none."""
        with self.faults(f"removing {name}"):
            self._before_step(f"remove {name}")
            try:
                os.unlink(name, dir_fd=self._descriptor)
            except FileNotFoundError:
                return False
            return True

    def sync_directory(self) -> None:
        """Have names made or taken so far on the volume when this returns."""
        with self.faults("flushing the store's directory"):
            self._before_step("sync directory")
            sync_directory(self._descriptor)

    def before_step(self, label: str) -> None:
        """Announce a change that a module of the store makes itself."""
        self._before_step(label)

    def _link(self, temporary: str, name: str) -> None:
        try:
            os.link(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)
        except FileExistsError:
            # NFS repeats a request whose answer got lost: then the name is ours already
            if not self._same(temporary, name):
                raise
        except OSError as exc:
            if exc.errno not in _CANNOT_LINK:
                raise
            if self._stat(name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def _same(self, first: str, second: str) -> bool:
        one, other = self._stat(first), self._stat(second)
        return one is not None and other is not None and os.path.samestat(one, other)

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    @contextmanager
    def _faults_but(self, expected: type[OSError], doing: str) -> Iterator[None]:
        try:
            with self.faults(doing):
                yield
        except StoreError as exc:
            if isinstance(exc.__cause__, expected):
                raise exc.__cause__ from None
            raise


def _pieces(file: BinaryIO, left_bytes: int) -> Iterator[bytes]:
    while left_bytes and (piece := file.read(left_bytes)):
        left_bytes -= len(piece)
        yield piece


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write every byte; a disk that fills up takes a part first. Raises: OSError."""
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(descriptor: int) -> None:
    """Flush a directory. Raises: OSError, except where the file system knows no flushing of directories."""
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC_DIRECTORIES:
            raise

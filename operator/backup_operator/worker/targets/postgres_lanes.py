"""Room `worker.targets`: several sessions that fill a database at once; called by `targets.postgres_feed`.

A database that nobody knows yet need not be filled in one transaction. Rows of one table are dealt out to the lanes in
whole lines, and indexes and keys are built side by side; everything else waits until all lanes are done. Each lane has
a session and a thread of its own, and what one of them meets ends all.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from threading import Condition
from typing import Self

import psycopg

from backup_operator.worker.targets.postgres_site import Site

_DEALT_BYTES = 1 << 20
"""Rows that a lane is given at a time: enough that the dealing costs nothing, few enough for a small memory."""
_WAITING_BLOCKS = 4
_SORT_MEMORY = "128MB"
"""For each lane's index builds, where the server's own maintenance_work_mem is less."""
_CANCEL_TIMEOUT_SECONDS = 5

Block = tuple[bytes, ...]
"""Whole lines, in pieces as they were read: putting them together would copy every byte once more."""


class Lanes:
    """Sessions into one database, alike in their settings. Leaving the context early cancels what they do."""

    def __init__(self, sessions: Sequence[psycopg.Connection]) -> None:
        self._sessions = sessions
        self._free: SimpleQueue[psycopg.Connection] = SimpleQueue()
        for session in sessions:
            self._free.put(session)
        self._pool = ThreadPoolExecutor(len(sessions), thread_name_prefix="lane")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def set_alike(self, statement: bytes) -> None:
        """Run what sets something for the session in all of them. Raises: psycopg.Error."""
        self.wait()
        for session in self._sessions:
            session.execute(statement)

    def start(self, statement: bytes) -> None:
        """Run the statement in the next free lane; its failure is raised by `wait`."""
        self._pending.append(self._pool.submit(self._run, statement))

    def wait(self) -> None:
        """Wait until no statement runs. Raises: psycopg.Error of the first that failed."""
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def copy(self, statement: bytes, blocks: Iterator[Block]) -> int:
        """Deal the rows out to all lanes; answers the rows that the server took.

        Raises: psycopg.Error, and what reading the rows raises; nothing that was sent before counts then.
        """
        self.wait()
        deal = _Deal()
        copying = [self._pool.submit(_copy, session, statement, deal) for session in self._sessions]
        try:
            for block in blocks:
                if not deal.put(block):
                    break
            deal.end()
        except BaseException:
            deal.abandon()
            raise
        return sum(future.result() for future in copying)

    def _run(self, statement: bytes) -> None:
        session = self._free.get()
        try:
            session.execute(statement)
        except psycopg.Error as exc:
            exc.add_note(f"The statement begins: {' '.join(statement[:200].decode(errors='replace').split())}")
            raise
        finally:
            self._free.put(session)

    def _cancel(self) -> None:
        for session in self._sessions:
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=_CANCEL_TIMEOUT_SECONDS)


class _Deal:
    """Blocks of rows from one reader to whoever is free."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._blocks: deque[Block] = deque()
        self._ended = self._abandoned = False

    def put(self, block: Block) -> bool:
        """Hand on a block; waits while enough are there. False when nobody takes them any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._blocks) < _WAITING_BLOCKS or self._abandoned)
            self._blocks.append(block)
            self._changed.notify_all()
            return not self._abandoned

    def end(self) -> None:
        """No more follow."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Whoever takes is to stop, and whoever puts too."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Block]:
        while (block := self._take()) is not None:
            yield block

    def _take(self) -> Block | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._blocks) or self._ended or self._abandoned)
            if self._abandoned:
                raise _Abandoned
            block = self._blocks.popleft() if self._blocks else None
            self._changed.notify_all()
            return block


class _Abandoned(Exception):
    """Another lane, or the reader, has failed; this one only stops."""


def _copy(session: psycopg.Connection, statement: bytes, deal: _Deal) -> int:
    try:
        with session.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for block in deal:
                    for piece in block:
                        copy.write(piece)
            return cursor.rowcount
    except _Abandoned:
        return 0
    except BaseException:
        deal.abandon()
        raise


def dealt(rows: Iterator[bytes]) -> Iterator[Block]:
    """The rows in blocks of whole lines; a newline is the end of a row, since those within values are escaped.

    Source: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
    """
    waiting: list[bytes] = []
    size = 0
    for piece in rows:
        end = piece.rfind(b"\n") + 1
        if size + len(piece) < _DEALT_BYTES or not end:
            waiting.append(piece)
            size += len(piece)
            continue
        yield (*waiting, piece[:end])
        waiting, size = [piece[end:]], len(piece) - end
    if size:
        yield tuple(waiting)


@contextmanager
def open_lanes(site: Site, count: int) -> Iterator[Lanes]:
    """So many sessions into the database that is being built. Raises: SourceError, psycopg.Error."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(site.connected(site.temporary)) for _ in range(count)]
        for session in sessions:
            without_waiting(session)
        yield stack.enter_context(Lanes(sessions))


def without_waiting(session: psycopg.Connection) -> None:
    """What is committed there counts only when the rename, which waits for the disk, is committed."""
    session.execute("set synchronous_commit = off")
    session.execute(
        "select pg_catalog.set_config('maintenance_work_mem', %s, false)"
        " where pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem')) < pg_catalog.pg_size_bytes(%s)",
        [_SORT_MEMORY, _SORT_MEMORY],
    )

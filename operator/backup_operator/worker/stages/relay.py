"""Room `worker.stages`: threads that share one fate, and the bounded channels between them; used by `chain`."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from types import TracebackType
from typing import Self

DEPTH_BLOCKS = 4
"""Blocks that wait in a channel: enough that neither side starves over a scheduler's time slice, at 1 MiB each."""


class Abandoned(Exception):
    """Another thread of the crew has failed; this one only stops."""


class Channel:
    """A bounded queue of blocks from one thread to one other."""

    def __init__(self, crew: "Crew") -> None:
        self._crew = crew
        self._blocks: deque[bytes] = deque()
        self._ended = False

    def put(self, block: bytes) -> None:
        """Hands on one block; waits while the channel is full.

        Raises:
            Abandoned: a thread of the crew has failed.
        """
        with self._crew.changed:
            self._crew.wait_for(lambda: len(self._blocks) < DEPTH_BLOCKS)
            self._blocks.append(block)
            self._crew.changed.notify_all()

    def end(self) -> None:
        """Says that no more blocks follow."""
        with self._crew.changed:
            self._ended = True
            self._crew.changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while (block := self._take()) is not None:
            yield block

    def _take(self) -> bytes | None:
        with self._crew.changed:
            self._crew.wait_for(lambda: bool(self._blocks) or self._ended)
            block = self._blocks.popleft() if self._blocks else None
            self._crew.changed.notify_all()
            return block


class Crew:
    """Threads of which none outlives the `with` block; the first failure stops all and is raised by it."""

    def __init__(self, threads: int) -> None:
        self.changed = Condition()
        self._abandoned = False
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stage")
        self._futures: list[Future[None]] = []

    def channel(self) -> Channel:
        """A channel that is abandoned together with the crew."""
        return Channel(self)

    def start(self, work: Callable[[], None]) -> None:
        """Runs `work` in a thread of its own."""
        self._futures.append(self._pool.submit(self._run, work))

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Waits, holding `changed`, until `ready`, or raises Abandoned."""
        self.changed.wait_for(lambda: self._abandoned or ready())
        if self._abandoned:
            raise Abandoned

    def _run(self, work: Callable[[], None]) -> None:
        done = False
        try:
            work()
            done = True
        finally:
            if not done:
                self._abandon()

    def _abandon(self) -> None:
        with self.changed:
            self._abandoned = True
            self.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
        self._pool.shutdown(wait=True)
        if error is None or isinstance(error, Abandoned):
            self._raise_the_first_failure()

    def _raise_the_first_failure(self) -> None:
        for future in self._futures:
            failure = future.exception()
            if failure is not None and not isinstance(failure, Abandoned):
                raise failure

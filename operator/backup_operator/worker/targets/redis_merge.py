"""Room `worker.targets`: writes keys beside others that are there, so that one side wins key by key; called by redis.

Keep: the keys of a batch are WATCHed, asked for with EXISTS, and those that are missing written in a transaction, which
the server drops when somebody touched one of them in between; then the batch is decided again.
Replace: the keys of a batch are dropped and written in one transaction.
Source: https://redis.io/docs/latest/develop/using-commands/transactions/
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from backup_operator.worker.sources.redis_wire import ErrorReply
from backup_operator.worker.targets.redis_commands import PIECE_BYTES, CommandFile, KeySpan
from backup_operator.worker.targets.redis_pipeline import Pipeline, Reply, encoded

_BATCH_KEYS: Final = 500
_BATCH_BYTES: Final = 1 << 20
_TRIES_TOGETHER: Final = 3
"""After so many attempts at a batch that others kept touching, its keys are decided one by one."""
_TRIES_ALONE: Final = 1000


@dataclass
class Merged:
    """How far a merge has come, in keys that the server acknowledged."""

    by_database: dict[int, int] = field(default_factory=dict)
    """Keys that were written."""
    replaced: int = 0
    kept: int = 0

    @property
    def written(self) -> int:
        """Keys that were written, of all databases."""
        return sum(self.by_database.values())


class Merge:
    """One merge of a file of commands into a server; `progress` is true at any moment."""

    def __init__(self, pipeline: Pipeline, commands: CommandFile, *, keeps_existing: bool) -> None:
        self._pipeline = pipeline
        self._commands = commands
        self._keeps_existing = keeps_existing
        self._last_was_written = False
        self._database = 0
        self.progress = Merged()

    def run(self) -> None:
        """Write everything. Raises: ErrorReply, the first; OSError."""
        for batch in self._batches():
            if batch[0].key is None:
                self._select(batch[0])
            elif batch[0].goes_on:
                self._go_on(batch[0])
            elif self._keeps_existing:
                self._write_missing(batch)
            else:
                self._write_replacing(batch)

    def _select(self, span: KeySpan) -> None:
        *_, last = self._commands.commands(span.start, span.end)
        _require_no_error(self._pipeline.ask(self._pieces([span]), span.count))
        self._database = int(last.word(1))

    def _count_written(self, keys: int) -> None:
        written = self.progress.by_database
        written[self._database] = written.get(self._database, 0) + keys

    def _batches(self) -> Iterator[list[KeySpan]]:
        """SELECTs and the later parts of large keys alone, other keys by the hundred."""
        batch: list[KeySpan] = []
        size = 0
        for span in self._commands.key_spans():
            alone = span.key is None or span.goes_on
            if batch and (alone or len(batch) >= _BATCH_KEYS or size >= _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            if alone:
                yield [span]
                continue
            batch.append(span)
            size += span.end - span.start
        if batch:
            yield batch

    def _write_missing(self, batch: Sequence[KeySpan]) -> None:
        for _ in range(_TRIES_TOGETHER if len(batch) > 1 else _TRIES_ALONE):
            if self._wrote_missing(batch):
                return
        if len(batch) == 1:
            raise ErrorReply(f"ERR a key was changed by others {_TRIES_ALONE} times while it was decided")
        for span in batch:
            self._write_missing([span])

    def _wrote_missing(self, batch: Sequence[KeySpan]) -> bool:
        keys = [span.key or b"" for span in batch]
        there = self._watched(keys)
        missing = [span for span, exists in zip(batch, there, strict=True) if not exists]
        if missing and not self._transaction([], missing):
            return False
        if not missing:
            _require_no_error(self._pipeline.ask([encoded("UNWATCH")], 1))
        self._count_written(len(missing))
        self.progress.kept += len(batch) - len(missing)
        self._last_was_written = not there[-1]
        return True

    def _watched(self, keys: Sequence[bytes]) -> Sequence[bool]:
        """Which of the keys are there, all of them watched from now on."""
        watched, count = self._pipeline.ask([encoded("WATCH", *keys), encoded("EXISTS", *keys)], 2)
        _require_no_error([watched, count])
        if count in (0, len(keys)):
            return [bool(count)] * len(keys)
        there = self._pipeline.ask([b"".join(encoded("EXISTS", key) for key in keys)], len(keys))
        _require_no_error(there)
        return [bool(reply) for reply in there]

    def _write_replacing(self, batch: Sequence[KeySpan]) -> None:
        dropped = self._transaction([encoded("UNLINK", *(span.key or b"" for span in batch))], batch)
        assert dropped
        self.progress.replaced += dropped[0] if isinstance(dropped[0], int) else 0
        self._count_written(len(batch))
        self._last_was_written = True

    def _transaction(self, before: Sequence[bytes], spans: Sequence[KeySpan]) -> list[Reply] | None:
        """The replies of the transaction; None when a watched key was touched. Raises: ErrorReply."""
        queued = len(before) + sum(span.count for span in spans)
        sent = chain([encoded("MULTI")], before, self._pieces(spans), [encoded("EXEC")])
        begun, *replies = self._pipeline.ask(sent, queued + 2)
        *queueing, done = replies
        _require_no_error([begun, *queueing, done])
        if done is None:
            return None
        assert isinstance(done, list)
        _require_no_error(done)
        return done

    def _go_on(self, span: KeySpan) -> None:
        if self._last_was_written:
            _require_no_error(self._pipeline.ask(self._pieces([span]), span.count))

    def _pieces(self, spans: Iterable[KeySpan]) -> Iterator[bytes]:
        """The bytes of the spans, small ones put together: a value can be larger than what we may keep in memory."""
        gathered: list[bytes] = []
        size = 0
        for piece in chain.from_iterable(self._commands.pieces(span.start, span.end) for span in spans):
            gathered.append(piece)
            size += len(piece)
            if size >= PIECE_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
        yield b"".join(gathered)


def _require_no_error(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, ErrorReply):
            raise reply

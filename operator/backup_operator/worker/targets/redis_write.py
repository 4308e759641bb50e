"""Room `worker.targets`: brings the commands of a backup into a Redis server; called by redis.

Whatever stops it in the middle becomes one error that says how many keys were written.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DeadlineExceeded, Interrupted, TargetError
from backup_operator.worker.sources.redis_preflight import keys_by_database
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis
from backup_operator.worker.targets.redis_commands import CommandFile, library_name
from backup_operator.worker.targets.redis_merge import Merge, Merged
from backup_operator.worker.targets.redis_pipeline import Pipeline, Reply, encoded
from backup_operator.worker.targets.redis_survey import Obstacle, cli

_CONNECTION_NAME = b"backup-operator-restore"
_SAFETY_HINT = "Apply the RestoreRequest of status.safetyBackup: it brings back what the target held before."


@dataclass
class Writing:
    """One restore's writing, and how far it has come."""

    url: RedisUrl
    order: RedisTargetOrder
    commands: CommandFile
    keys: int
    """Keys that are to be written."""
    libraries: tuple[bytes, ...] = ()
    """Code of the function libraries that are to be loaded."""
    merged: Merged = field(default_factory=Merged)
    sent_bytes: int = 0
    cleared: bool = False

    @property
    def merges(self) -> bool:
        """Whether keys are decided one by one."""
        return self.order.strategy is RedisStrategy.MERGE

    def clear(self, pipeline: Pipeline, databases: tuple[int, ...], *, flushes_functions: bool) -> None:
        """Drop what Replace replaces: the database of the URL, else all; with a pattern only the keys that match it."""
        self.cleared = True
        if self.order.key_pattern:
            for database in databases:
                pipeline.call("SELECT", database)
                _unlink_matching(pipeline, self.order.key_pattern)
        elif self.url.database is None:
            pipeline.call("FLUSHALL", "ASYNC")
        else:
            pipeline.call("SELECT", self.url.database)
            pipeline.call("FLUSHDB", "ASYNC")
        if flushes_functions:
            pipeline.call("FUNCTION", "FLUSH", "ASYNC")

    def write(self, pipeline: Pipeline) -> None:
        """Load the function libraries, then write the keys. Raises: ErrorReply, NotRedis, OSError."""
        replace = ("REPLACE",) if self.merges and self.order.existing is ExistingKeys.REPLACE else ()
        for code in self.libraries:
            pipeline.call("FUNCTION", "LOAD", *replace, code)
        if self.merges:
            merge = Merge(pipeline, self.commands, keeps_existing=self.order.existing is ExistingKeys.KEEP)
            self.merged = merge.progress
            merge.run()
        else:
            pipeline.stream(self.commands.pieces(self.commands.body), self._sent)

    def _sent(self, size_bytes: int) -> None:
        self.sent_bytes += size_bytes

    @contextmanager
    def told(self, pipeline: Pipeline, count: Callable[[], int | None]) -> Iterator[None]:
        """Turns what stops the writing into a TargetError; `count` asks the target for its keys, None: it is gone."""
        try:
            yield
        except ErrorReply as exc:
            pipeline.end()
            raise self._stopped(f"{self.url.place} refused a command of the restore", f"It said: {exc}", count) from exc
        except (OSError, NotRedis) as exc:
            pipeline.close()
            words = f"the connection to {self.url.place} broke during the restore"
            raise self._stopped(words, f"{exc}", count) from exc
        except (Interrupted, DeadlineExceeded) as exc:
            pipeline.end()
            exc.detail = self.state(count())
            exc.hint = self.undo()
            raise

    def _stopped(self, message: str, said: str, count: Callable[[], int | None]) -> TargetError:
        state = self.state(count())
        return TargetError(Reason.RESTORE_FAILED, f"{message}: {state}", detail=f"{said}.", hint=self.undo())

    def state(self, found: int | None) -> str:
        """In one sentence, what the target holds now; `found` are its keys."""
        if self.merges:
            merged = self.merged
            what = f"{merged.replaced:,} replaced" if self.order.existing is ExistingKeys.REPLACE else ""
            what = what or f"{merged.kept:,} kept as they were"
            return f"{merged.written:,} of {self.keys:,} keys were written for sure, {what}; the rest was not reached"
        before = "what it held before was dropped" if self.cleared else "it was empty before"
        if self.order.key_pattern and self.cleared:
            before = "those that matched before were dropped, at least in part"
        if found is None:
            part = 100 * self.sent_bytes // max(1, len(self.commands) - self.commands.body)
            return f"at most {part} % of {self.keys:,} keys were written ({before}), and it cannot be asked how many"
        if self.order.key_pattern:
            return f"it holds {found:,} keys now, some of {self.keys:,} written ones among them; {before}"
        return f"{found:,} of {self.keys:,} keys were written; {before}"

    def undo(self) -> str:
        """What brings the target back to where it was."""
        if self.order.strategy is not RedisStrategy.FAIL_IF_NOT_EMPTY:
            return _SAFETY_HINT
        return f"It was empty before; this empties it again: {undo_command(self.url)}"


def undo_command(url: RedisUrl) -> str:
    """The command that empties what was empty before."""
    return f"{cli(url)} {'FLUSHALL' if url.database is None else 'FLUSHDB'}"


def libraries_to_load(
    commands: CommandFile, pipeline: Pipeline, url: RedisUrl, order: RedisTargetOrder
) -> tuple[bytes, ...]:
    """Code of the libraries that the target does not have already. Raises: TargetError where one is in the way."""
    wanted = commands.functions()
    if not wanted or url.database is not None or order.key_pattern:
        return ()
    if order.strategy is RedisStrategy.REPLACE or (
        order.strategy is RedisStrategy.MERGE and order.existing is ExistingKeys.REPLACE
    ):
        _target_libraries(pipeline, url)
        return wanted
    there = _target_libraries(pipeline, url)
    missing = tuple(code for code in wanted if library_name(code) not in there)
    different = [library_name(code) for code in wanted if there.get(library_name(code), code) != code]
    if different and order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY:
        raise Obstacle(
            Reason.TARGET_NOT_EMPTY,
            f"{url.place} holds other function libraries of the same name: {', '.join(different)}",
            f"{cli(url)} FUNCTION DELETE {different[0]}",
        ).error()
    return missing


def require_alone(pipeline: Pipeline, url: RedisUrl) -> None:
    """Mark our connection as a restore's, and refuse when another is marked so. Raises: TargetError.

    Both of two that begin together may be refused, never neither. A user who may not use CLIENT is not held up.
    """
    named = pipeline.ask([encoded("CLIENT", "SETNAME", _CONNECTION_NAME)], 1)
    ours, listed = pipeline.ask([encoded("CLIENT", "ID"), encoded("CLIENT", "LIST")], 2)
    if named != [b"OK"] or not isinstance(listed, bytes) or not isinstance(ours, int):
        return
    lines = [line.split() for line in listed.splitlines()]
    others = [line for line in lines if b"name=" + _CONNECTION_NAME in line and b"id=%d" % ours not in line]
    if others:
        address = next((word[5:].decode() for word in others[0] if word.startswith(b"addr=")), "?")
        raise Obstacle(
            Reason.TARGET_IN_USE,
            f"another restore is writing to {url.place}, from {address}",
            f"Wait for its end: {cli(url)} CLIENT LIST",
        ).error()


def _target_libraries(pipeline: Pipeline, url: RedisUrl) -> dict[str, bytes]:
    """Code by name. Raises: TargetError when the server knows no functions or does not let them be listed."""
    listed = pipeline.ask([encoded("FUNCTION", "LIST", "WITHCODE")], 1)[0]
    if isinstance(listed, list):
        return dict(_library(entry) for entry in listed)
    raise Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"the backup holds function libraries, and {url.place} cannot list its own: {listed!s}",
        'Redis knows them from 7.0 on. A keyPattern of "*" restores the keys alone.',
    ).error()


def _library(entry: Reply) -> tuple[str, bytes]:
    assert isinstance(entry, list)
    names = [word.decode(errors="replace") if isinstance(word, bytes) else "" for word in entry[::2]]
    fields = dict(zip(names, entry[1::2], strict=True))
    name, code = fields["library_name"], fields["library_code"]
    assert isinstance(name, bytes)
    assert isinstance(code, bytes)
    return name.decode(errors="replace"), code


def _unlink_matching(pipeline: Pipeline, pattern: str) -> None:
    cursor = b"0"
    while True:
        found = pipeline.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        assert isinstance(found, list)
        next_cursor, names = found
        assert isinstance(names, list)
        if names:
            pipeline.call("UNLINK", *(name for name in names if isinstance(name, bytes)))
        if next_cursor == b"0":
            return
        assert isinstance(next_cursor, bytes)
        cursor = next_cursor


def keys_of(pipeline: Pipeline, url: RedisUrl) -> dict[int, int]:
    """The target's keys by database, of those that the URL lets in. Raises: ErrorReply, OSError."""
    text = pipeline.call("INFO", "keyspace")
    assert isinstance(text, bytes)
    pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines() if ":" in line)
    found = keys_by_database({name: value for name, _, value in pairs})
    return {number: keys for number, keys in found.items() if url.database in (None, number)}

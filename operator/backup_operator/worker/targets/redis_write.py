"""Room `worker.targets`: brings the commands of a backup into a Redis server; called by redis.

Whatever stops it in the middle becomes one error that says how many keys were written.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DeadlineExceeded, Interrupted, TargetError
from backup_operator.worker.sources.redis_preflight import keys_by_database
from backup_operator.worker.sources.redis_restores import CONNECTION_NAME, restores_in
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis
from backup_operator.worker.targets.redis_commands import CommandFile, library_name
from backup_operator.worker.targets.redis_merge import Merge, Merged
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded
from backup_operator.worker.targets.redis_survey import Obstacle, cli, described
from backup_operator.worker.words import numbered

_WITH_SAFETY = (
    "Restore the safety backup with strategy Replace: it brings back what the target held before. "
    "The one manifest for it is in status.undo."
)
_WITHOUT_SAFETY = (
    "No safety backup was made: what was dropped or overwritten is in no backup of this restore. "
    "Restore again with strategy Replace."
)
_POLL_SECONDS = 0.05


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
    has_safety_backup: bool = True
    evicted_before: int = 0
    """Keys that the server had evicted before, since it started."""
    merged: Merged = field(default_factory=Merged)
    sent_bytes: int = 0
    clearing: bool = False
    """Whether dropping what the target held has begun."""
    cleared: bool = False
    """Whether it has ended."""

    @property
    def merges(self) -> bool:
        """Whether keys are decided one by one."""
        return self.order.strategy is RedisStrategy.MERGE

    def clear(self, pipeline: Pipeline, databases: tuple[int, ...], *, flushes_functions: bool) -> None:
        """Drop what Replace replaces: the database of the URL, else all; with a pattern only the keys that match it."""
        self.clearing = True
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
        _wait_until_freed(pipeline)
        self.cleared = True

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
    def told(self, pipeline: Pipeline, count: Callable[[], Mapping[int, int] | None]) -> Iterator[None]:
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

    def _stopped(self, message: str, said: str, count: Callable[[], Mapping[int, int] | None]) -> TargetError:
        state = self.state(count())
        return TargetError(Reason.RESTORE_FAILED, f"{message}: {state}", detail=f"{said}.", hint=self.undo())

    def state(self, found: Mapping[int, int] | None) -> str:
        """In one sentence, what the target holds now; `found` are its keys by database."""
        if self.merges:
            return self._merged_state()
        if self.order.strategy is RedisStrategy.REPLACE and not self.cleared:
            before = "was being dropped" if self.clearing else "is still there"
            holds = "it cannot be asked what it holds now" if found is None else f"it holds {described(found)} now"
            return f"nothing of the backup was written; what it held before {before}, and {holds}"
        before = "what it held before was dropped" if self.cleared else "it was empty before"
        if self.order.key_pattern and self.cleared:
            before = "those that matched before were dropped"
        if found is None:
            part = 100 * self.sent_bytes // max(1, len(self.commands) - self.commands.body)
            return f"at most {part} % of {self.keys:,} keys were written ({before}), and it cannot be asked how many"
        there, by_database = f"{sum(found.values()):,}", _by_database(found)
        if self.order.key_pattern:
            return f"it holds {there} keys now{by_database}, some of {self.keys:,} written ones among them; {before}"
        return f"{there} of {self.keys:,} keys were written{by_database}; {before}"

    def _merged_state(self) -> str:
        merged = self.merged
        what = f"{merged.replaced:,} replaced" if self.order.existing is ExistingKeys.REPLACE else ""
        what = what or f"{merged.kept:,} kept as they were"
        written = f"{merged.written:,} of {self.keys:,} keys were written for sure{_by_database(merged.by_database)}"
        return f"{written}, {what}; the rest was not reached"

    def undo(self) -> str:
        """What brings the target back to where it was."""
        if self.order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY:
            return f"It was empty before; this empties it again: {' && '.join(self.undo_commands())}"
        return _WITH_SAFETY if self.has_safety_backup else _WITHOUT_SAFETY

    def undo_commands(self) -> tuple[str, ...]:
        """The commands that empty again what was empty before; none where it held something."""
        if self.order.strategy is not RedisStrategy.FAIL_IF_NOT_EMPTY:
            return ()
        loaded = [f"{cli(self.url)} FUNCTION DELETE {library_name(code)}" for code in self.libraries]
        return (f"{cli(self.url)} {'FLUSHALL' if self.url.database is None else 'FLUSHDB'}", *loaded)

    def evicted(self, pipeline: Pipeline) -> int:
        """Keys that the server has evicted since the writing began, to stay below its maxmemory."""
        return int(info_of(pipeline, "stats").get("evicted_keys", "0")) - self.evicted_before


def _by_database(keys: Mapping[int, int]) -> str:
    """` (300 in database 0, 45 in database 3)` where there are several."""
    return described(keys)[len(numbered(sum(keys.values()), "key")) :] if len(keys) > 1 else ""


def require_alone(pipeline: Pipeline, url: RedisUrl) -> None:
    """Mark our connection as a restore's, and refuse when another is marked so. Raises: TargetError.

    Both of two that begin together may be refused, never neither. A user who may not use CLIENT is not held up.
    """
    named = pipeline.ask([encoded("CLIENT", "SETNAME", CONNECTION_NAME)], 1)
    if named == [b"OK"] and (found := of_another_restore(pipeline, url)):
        raise found.error()


def of_another_restore(pipeline: Pipeline, url: RedisUrl) -> Obstacle | None:
    """The obstacle that another restore is writing, as far as the user may see it."""
    ours, listed = pipeline.ask([encoded("CLIENT", "ID"), encoded("CLIENT", "LIST")], 2)
    if not isinstance(listed, bytes) or not isinstance(ours, int):
        return None
    addresses = restores_in(listed.decode(errors="replace"), but=ours)
    if not addresses:
        return None
    return Obstacle(
        Reason.TARGET_IN_USE,
        f"another restore is writing to {url.place}, from {addresses[0]}",
        f"Wait for its end: {cli(url)} CLIENT LIST",
    )


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


def _wait_until_freed(pipeline: Pipeline) -> None:
    """A flushed database is freed beside; until it is, a server near its maxmemory refuses or evicts what we write."""
    while True:
        memory = info_of(pipeline, "memory")
        if memory.get("maxmemory", "0") == "0" or memory.get("lazyfree_pending_objects", "0") == "0":
            return
        time.sleep(_POLL_SECONDS)


def info_of(pipeline: Pipeline, *section: str) -> dict[str, str]:
    """The fields of INFO, or of a section of it. Raises: ErrorReply, OSError."""
    text = pipeline.call("INFO", *section)
    assert isinstance(text, bytes)
    lines = text.decode(errors="replace").splitlines()
    fields = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in fields}


def keys_of(pipeline: Pipeline, url: RedisUrl) -> dict[int, int]:
    """The target's keys by database, of those that the URL lets in. Raises: ErrorReply, OSError."""
    found = keys_by_database(info_of(pipeline, "keyspace"))
    return {number: keys for number, keys in found.items() if url.database in (None, number)}

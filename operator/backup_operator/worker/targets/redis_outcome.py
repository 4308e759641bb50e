"""Room `worker.targets`: what became of the keys of a restore into Redis, in words; called by redis. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backup_operator.vocabulary.choices import ExistingKeys
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.redis_backup import Loaded
from backup_operator.worker.targets.redis_commands import library_name
from backup_operator.worker.targets.redis_survey import described
from backup_operator.worker.targets.redis_write import Writing
from backup_operator.worker.words import numbered


@dataclass(frozen=True)
class Outcome:
    """What was found in the target after the last key was acknowledged."""

    loaded: Loaded
    found: Mapping[int, int]
    """Its keys by database."""
    missing: Mapping[int, int]
    """Keys of the backup that are not there and have not expired, by database."""
    expired: int
    """Keys that expired between the load and the count."""
    evicted: int
    """Keys that the server dropped meanwhile because it was full."""

    def require_nothing_missing(self, writing: Writing) -> None:
        """Raises: TargetError when keys are missing; what is there stays."""
        if not self.missing:
            return
        place, expected = writing.url.place, self.loaded.expected
        why = f"{place} evicted {numbered(self.evicted, 'key')} meanwhile." if self.evicted else "Others delete keys."
        raise TargetError(
            Reason.RESTORE_FAILED,
            f"everything was written to {place}, and then {described(self.missing)} were missing there",
            detail=f"Written: {described(expected)}. There now: {described(self.found)}. {why}",
            hint="Stop the applications that use it, give it room (CONFIG GET maxmemory), and restore again. "
            + writing.undo(),
        )

    def notes(self, writing: Writing) -> Iterator[str]:
        """What a person should know of a restore that went well."""
        merged, loaded = writing.merged, self.loaded
        yield f"{described(loaded.expected)} of the backup were to be written."
        if loaded.left_out_bytes:
            yield (
                f"The last {loaded.left_out_bytes:,} bytes of the append-only file, a cut command, were left out, "
                "and a transaction that they belong to."
            )
        if loaded.expired:
            yield f"Expired before the backup was loaded, and not restored: {numbered(loaded.expired, 'key')}."
        if self.expired:
            yield f"Expired between the load and the count: {numbered(self.expired, 'key')}."
        if self.evicted:
            yield f"The server is full and evicted {numbered(self.evicted, 'key')} meanwhile; none of the backup's."
        if writing.merges and writing.order.existing is ExistingKeys.KEEP:
            yield f"{_written(merged.written)}, {merged.kept:,} were there and kept."
        elif writing.merges:
            yield f"{_written(merged.written)}, {merged.replaced:,} of them over others."
        else:
            yield from self._others(writing)
        yield from _functions(writing)

    def _others(self, writing: Writing) -> Iterator[str]:
        more = sum(self.found.values()) - sum(self.loaded.expected.values())
        if more > 0 and not writing.order.key_pattern:
            yield f"{numbered(more, 'key')} more than were restored are there: others write to it."


def _written(keys: int) -> str:
    return f"{numbered(keys, 'key')} {'was' if keys == 1 else 'were'} written"


def _functions(writing: Writing) -> Iterator[str]:
    if names := [library_name(code) for code in writing.libraries]:
        yield f"Function libraries loaded: {', '.join(names)}."
    elif left := [library_name(code) for code in writing.commands.functions()]:
        yield f"Function libraries of the backup that were not loaded: {', '.join(left)}."

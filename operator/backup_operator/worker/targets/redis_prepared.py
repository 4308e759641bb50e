"""Room `worker.targets`: a backup, loaded and cut down to what is written before a target is touched; called by redis.

plaintext -> throw-away redis-server -> counted against the entry -> other databases and keys dropped -> commands
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.redis_backup import Backup, Loaded
from backup_operator.worker.targets.redis_commands import (
    CommandFile,
    library_name,
    mapped_command_file,
    write_for_servers_before_7,
)
from backup_operator.worker.targets.redis_probe import RARE_NAMES
from backup_operator.worker.targets.redis_survey import Obstacle, described, not_in_the_backup
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED, ThrowAwayServer


@dataclass(frozen=True)
class Prepared:
    """A backup that is ready to be written."""

    server: ThrowAwayServer
    commands: CommandFile
    loaded: Loaded
    rare: frozenset[str]
    """Which of RARE_NAMES it needs."""
    obstacle: Obstacle | None
    """Why nothing of it would be written."""


@dataclass(frozen=True)
class Preparation:
    """How a backup is prepared for one target."""

    url: RedisUrl
    order: RedisTargetOrder
    redis_server: str
    scratch: Path
    is_older_than_7: bool
    """Whether the target's commands of streams lack what Redis 7.0 added to them."""

    @contextmanager
    def of(self, backup: Backup, step: Callable[[str], None]) -> Iterator[Prepared]:
        """The backup, prepared; the server ends and its files go when this is left. Raises: TargetError."""
        recorded = backup.artifact.keys_per_database
        highest = None if recorded is None else max([*recorded, self.url.database or 0, 0])
        with ThrowAwayServer(
            self.redis_server, self.scratch, highest_database=highest, scratch_bytes=self.order.scratch_bytes
        ) as server:
            step("load")
            began = time.monotonic()
            server.load(backup.artifact)
            keys, expired = server.loaded()
            _require_recorded(backup, keys, expired)
            step("prepare")
            obstacle = _nothing_loaded(backup, keys) or self._narrow(server, backup)
            with self._commands(server) as commands:
                loaded = Loaded(
                    keys=keys,
                    expired=expired,
                    expected=server.keys(),
                    data_bytes=server.data_bytes(),
                    libraries=tuple(library_name(code) for code in commands.functions()),
                    left_out_bytes=server.left_out_bytes,
                    seconds=time.monotonic() - began,
                )
                rare = frozenset(name for name in RARE_NAMES if commands.uses(name))
                yield Prepared(server, commands, loaded, rare, obstacle)

    def _narrow(self, server: ThrowAwayServer, backup: Backup) -> Obstacle | None:
        """Leave in the throw-away server what shall be written, where it shall be written."""
        database, pattern = self.url.database, self.order.key_pattern
        if database is not None:
            if backup.moves_to(self.url) and backup.database is not None:
                server.move_database(backup.database, database)
            elif database not in (held := server.keys()):
                return not_in_the_backup(database, held)
            server.keep_database(database)
        if pattern:
            server.keep_matching(pattern)
            if not server.keys():
                return Obstacle(
                    Reason.FILTER_MATCHES_NOTHING,
                    f"no key of the backup matches {pattern}",
                    "A keyPattern is a glob as SCAN MATCH takes it, for example session:*",
                )
        return None

    @contextmanager
    def _commands(self, server: ThrowAwayServer) -> Iterator[CommandFile]:
        """What the server holds, as commands that the target's version takes."""
        path = server.write_commands()
        with mapped_command_file(path) as commands:
            has_newer = commands.mentions(b"ENTRIESADDED") or commands.mentions(b"ENTRIESREAD")
            if not self.is_older_than_7 or not has_newer:
                yield commands
                return
            server.require_room(path.stat().st_size)
            older = server.directory / "commands"
            write_for_servers_before_7(commands, older)
        path.unlink()
        with mapped_command_file(older) as commands:
            yield commands


def _require_recorded(backup: Backup, keys: dict[int, int], expired: int) -> None:
    """Raises: TargetError where keys are missing that have not expired."""
    recorded = backup.artifact.keys_per_database
    if recorded is None:
        return
    too_many = [number for number, count in keys.items() if count > recorded.get(number, 0)]
    if too_many or sum(recorded.values()) - sum(keys.values()) != expired:
        raise TargetError(
            Reason.VERIFICATION_FAILED,
            f"the backup's entry says {described(recorded)}, and it loads {described(keys)}",
            detail=f"{expired:,} have expired since. {UNTOUCHED}",
            hint="Look at the entry and at the worker's version; restore another backup.",
        )


def _nothing_loaded(backup: Backup, keys: dict[int, int]) -> Obstacle | None:
    """Of a file without an entry nobody knows whether it should be empty."""
    if keys or backup.artifact.keys_per_database is not None:
        return None
    return Obstacle(
        Reason.VERIFICATION_FAILED,
        f"{backup.artifact.name} holds no keys, and no entry says that it should be empty",
        "Restore another backup; to empty the target use FLUSHALL.",
    )

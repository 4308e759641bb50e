"""Room `worker.targets`: a Redis (or Valkey) server as a restore's target, over the network; called by worker.restore.

The artifact is loaded by a throw-away redis-server, cut down to what is wanted, written as plain commands, and those
are piped into the target: every type, value, time to live and database, into older servers, Valkey, managed ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.checks.redis import run_redis_checks
from backup_operator.worker.errors import SourceError, TargetError
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.sources.redis_door import RedisDoor
from backup_operator.worker.sources.redis_faults import told_apart
from backup_operator.worker.sources.redis_preflight import server_facts
from backup_operator.worker.sources.redis_tls import tls_context
from backup_operator.worker.sources.redis_url import parse_redis_url
from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis
from backup_operator.worker.targets.base import Applied, RestoredArtifact, TargetPlan
from backup_operator.worker.targets.redis_backup import Backup, redis_backup
from backup_operator.worker.targets.redis_commands import (
    CommandFile,
    library_name,
    mapped_command_file,
    write_for_servers_before_7,
)
from backup_operator.worker.targets.redis_count import Difference, compare
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded
from backup_operator.worker.targets.redis_probe import probe
from backup_operator.worker.targets.redis_survey import (
    Obstacle,
    Surveyed,
    described,
    full_target,
    is_older_than_7,
    obstacles_of,
    of_forbidden,
    of_pod_memory,
    of_unknown,
    overwritten,
    plan_lines,
)
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED, ThrowAwayServer
from backup_operator.worker.targets.redis_write import Writing, keys_of, libraries_to_load, require_alone, undo_command

_LEAST_COMMANDS = "+ping +info +select +exists +time +multi +exec +discard"


class RedisTarget:
    """One Redis server that is restored into. `memory_limit_bytes` is what the pod may use, None without a limit."""

    def __init__(
        self,
        order: RedisTargetOrder,
        *,
        scratch: Path,
        confirm: str,
        redis_server: str = "redis-server",
        memory_limit_bytes: int | None,
        checks: Checks | None = None,
    ) -> None:
        self._order = order
        self._scratch = scratch
        self._confirm = confirm
        self._redis_server = redis_server
        self._memory_limit_bytes = memory_limit_bytes
        self._checks = checks or Checks()
        text, self._warnings = read_secret(order.url)
        with _as_target_error():
            self._url = parse_redis_url(text, order.url.described)
            self._door = RedisDoor(self._url, order.url, tls_context(self._url, order.tls))
        self._throwaway: ThrowAwayServer | None = None

    def survey(self, artifacts: Sequence[RestoredArtifact]) -> TargetPlan:
        """Connect and look; writes nothing. Raises: TargetError, SecretMissing."""
        backup = redis_backup(artifacts)
        with self._enter() as pipeline:
            surveyed = self._look(pipeline, backup.keys(self._url) or {})
        obstacles = obstacles_of(surveyed, self._order, backup, self._memory_limit_bytes)
        return TargetPlan(
            lines=(
                *plan_lines(surveyed, self._order, backup, self._memory_limit_bytes),
                *self._warnings,
                *self._url.warnings,
            ),
            pinned=self._pinned(surveyed),
            obstacles=tuple(f"{obstacle.words}. {obstacle.hint}".rstrip() for obstacle in obstacles),
            overwritten=overwritten(self._url, self._order.strategy),
        )

    def apply(self, artifacts: Sequence[RestoredArtifact], step: Callable[[str], None]) -> Applied:
        """Load, then write, then count. Raises: TargetError; nothing is written before everything is loaded."""
        self._require_confirmed()
        backup = redis_backup(artifacts)
        if too_large := of_pod_memory(backup, self._memory_limit_bytes):
            raise too_large.error()
        step("load")
        with self._loaded(backup) as server:
            expired = self._require_recorded(server, backup)
            self._narrow(server, backup)
            expected, data_bytes = server.keys(), server.data_bytes()
            step("prepare")
            with self._enter() as pipeline, self._commands(server, pipeline) as commands:
                surveyed = self._require_suitable(pipeline, backup, commands, expected, data_bytes)
                libraries = libraries_to_load(commands, pipeline, self._url, self._order)
                writing = Writing(self._url, self._order, commands, sum(expected.values()), libraries)
                with writing.told(pipeline, self._count):
                    self._write(writing, pipeline, surveyed, step)
                    step("count")
                    applied = self._applied(writing, server, pipeline, expected, expired)
                    self._check(writing, pipeline, step)
                    return applied

    def close(self) -> None:
        """End the throw-away server; may be called twice."""
        if self._throwaway is not None:
            self._throwaway.close()

    @contextmanager
    def _enter(self) -> Iterator[Pipeline]:
        with _as_target_error():
            wire = self._door.enter()
        with Pipeline(*wire.hand_over()) as pipeline:
            yield pipeline

    @contextmanager
    def _loaded(self, backup: Backup) -> Iterator[ThrowAwayServer]:
        recorded = backup.artifact.keys_per_database
        highest = None if recorded is None else max([*recorded, self._url.database or 0, 0])
        with ThrowAwayServer(self._redis_server, self._scratch, highest_database=highest) as server:
            self._throwaway = server
            server.load(backup.artifact)
            yield server

    @contextmanager
    def _commands(self, server: ThrowAwayServer, pipeline: Pipeline) -> Iterator[CommandFile]:
        """What the server holds, as commands that the target's version takes."""
        path = server.write_commands()
        with told_apart_target(self._door):
            is_old = is_older_than_7(self._info(pipeline))
        with mapped_command_file(path) as commands:
            if not is_old or not (commands.mentions(b"ENTRIESADDED") or commands.mentions(b"ENTRIESREAD")):
                yield commands
                return
            older = server.directory / "commands"
            write_for_servers_before_7(commands, older)
        path.unlink()
        with mapped_command_file(older) as commands:
            yield commands

    def _look(self, pipeline: Pipeline, databases: Mapping[int, int]) -> Surveyed:
        with told_apart_target(self._door):
            info = self._info(pipeline)
            wanted = sorted({*databases, *([] if self._url.database is None else [self._url.database])})
            replies = pipeline.ask([encoded("SELECT", number) for number in wanted], len(wanted))
            missing = [number for number, reply in zip(wanted, replies, strict=True) if _is_out_of_range(reply)]
            functions = self._url.database is None and not self._order.key_pattern
            probed = probe(pipeline, self._order.strategy, self._order.key_pattern, functions=functions)
            libraries = self._libraries(pipeline)
        return Surveyed(self._url, info, probed, libraries, tuple(missing))

    def _info(self, pipeline: Pipeline) -> Mapping[str, str]:
        text = pipeline.call("INFO")
        assert isinstance(text, bytes)
        lines = text.decode(errors="replace").splitlines()
        fields = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
        return {name: value for name, _, value in fields}

    def _libraries(self, pipeline: Pipeline) -> tuple[str, ...]:
        listed = pipeline.ask([encoded("FUNCTION", "LIST", "WITHCODE")], 1)[0]
        if not isinstance(listed, list):
            return ()
        codes = [entry[entry.index(b"library_code") + 1] for entry in listed if isinstance(entry, list)]
        return tuple(sorted(library_name(code) for code in codes if isinstance(code, bytes)))

    def _pinned(self, surveyed: Surveyed) -> dict[str, object]:
        drops_functions = (
            self._order.strategy is RedisStrategy.REPLACE and self._url.database is None and not self._order.key_pattern
        )
        return {
            "host": self._url.host,
            "port": self._url.port,
            "database": "all" if self._url.database is None else self._url.database,
            "product": server_facts(surveyed.info, self._url)["product"],
            "empty": not surveyed.keys,
            "databasesWithKeys": sorted(surveyed.keys),
            "functionLibrariesDropped": list(surveyed.libraries) if drops_functions else [],
        }

    def _require_confirmed(self) -> None:
        wanted = overwritten(self._url, self._order.strategy)
        if wanted and self._confirm != wanted:
            found = f"it says {self._confirm!r}" if self._confirm else "it is missing"
            raise TargetError(
                Reason.CONFIRM_MISSING,
                f"confirm must say {wanted!r}, whose content can be lost, and {found}",
                detail=UNTOUCHED,
                hint=f"Write confirm: {wanted}",
            )

    def _require_recorded(self, server: ThrowAwayServer, backup: Backup) -> int:
        """Keys that expired before they were loaded. Raises: TargetError where others are missing."""
        loaded, expired = server.loaded()
        recorded = backup.artifact.keys_per_database
        if recorded is None:
            return expired
        too_many = [number for number, keys in loaded.items() if keys > recorded.get(number, 0)]
        if too_many or sum(recorded.values()) - sum(loaded.values()) != expired:
            raise TargetError(
                Reason.VERIFICATION_FAILED,
                f"the backup's entry says {described(recorded)}, and it loads {described(loaded)}",
                detail=f"{expired:,} have expired since. {UNTOUCHED}",
                hint="Look at the entry and at the worker's version; restore another backup.",
            )
        return expired

    def _narrow(self, server: ThrowAwayServer, backup: Backup) -> None:
        """Leave in the throw-away server what shall be written, where it shall be written."""
        if self._url.database is not None:
            if backup.moves_to(self._url) and backup.database is not None:
                server.move_database(backup.database, self._url.database)
            elif self._url.database not in (held := server.keys()):
                raise Obstacle(
                    Reason.TARGET_UNSUITABLE,
                    f"the backup holds no keys in database {self._url.database}, to which the URL limits the restore",
                    f"It holds {described(held)}: write that number into the target's URL, or none.",
                ).error()
            server.keep_database(self._url.database)
        if self._order.key_pattern:
            server.keep_matching(self._order.key_pattern)
            if not server.keys():
                raise Obstacle(
                    Reason.FILTER_MATCHES_NOTHING,
                    f"no key of the backup matches {self._order.key_pattern}",
                    "A keyPattern is a glob as SCAN MATCH takes it, for example session:*",
                ).error()

    def _require_suitable(
        self,
        pipeline: Pipeline,
        backup: Backup,
        commands: CommandFile,
        expected: Mapping[int, int],
        data_bytes: int,
    ) -> Surveyed:
        """Look again, right before the first write, and with what is known now. Raises: TargetError."""
        require_alone(pipeline, self._url)
        surveyed = self._look(pipeline, expected)
        found = obstacles_of(surveyed, self._order, backup, None)
        if too_full := full_target(surveyed, self._order, data_bytes):
            found.append(too_full)
        found += [of_unknown(surveyed, name) for name in surveyed.probed.unknown if commands.uses(name)]
        used = [permission for permission in surveyed.probed.forbidden if commands.uses(permission[1:].upper())]
        found += [of_forbidden(surveyed, used)] if used else []
        if found:
            raise found[0].error()
        return surveyed

    def _write(self, writing: Writing, pipeline: Pipeline, surveyed: Surveyed, step: Callable[[str], None]) -> None:
        if self._order.strategy is RedisStrategy.REPLACE:
            step("clear")
            drops_functions = bool(surveyed.libraries) and self._url.database is None and not self._order.key_pattern
            writing.clear(pipeline, tuple(surveyed.keys), flushes_functions=drops_functions)
        step("write")
        pipeline.call("SELECT", self._url.database or 0)
        writing.write(pipeline)

    def _count(self) -> int | None:
        """The target's keys, asked over a connection of its own; None when it cannot be asked."""
        try:
            with self._enter() as pipeline:
                return sum(keys_of(pipeline, self._url).values())
        except (TargetError, ErrorReply, NotRedis, OSError):
            return None

    def _applied(
        self,
        writing: Writing,
        server: ThrowAwayServer,
        pipeline: Pipeline,
        expected: Mapping[int, int],
        expired: int,
    ) -> Applied:
        found = keys_of(pipeline, self._url)
        differences: Mapping[int, Difference] = {}
        if writing.merges or found != expected:
            differences = compare(server, pipeline, expected)
            found = keys_of(pipeline, self._url)
        self._require_nothing_missing(differences, found, expected)
        gone = sum(difference.expired for difference in differences.values())
        return Applied(
            counts={f"db{number}": found.get(number, 0) for number in sorted({*found, *expected})},
            notes=tuple(self._notes(writing, found, expected, (expired, gone))),
            undo=(undo_command(self._url),) if self._order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY else (),
            state=f"The keys of the backup are in {self._url.place}.",
        )

    def _check(self, writing: Writing, pipeline: Pipeline, step: Callable[[str], None]) -> None:
        """Ask what must hold. Raises: TargetError CheckFailed; what was written stays."""
        if not self._checks.redis:
            return
        step("checks")
        found = run_redis_checks(pipeline.call, self._checks.redis)
        try:
            self._checks.take(found)
        except TargetError as exc:
            state = writing.state(sum(keys_of(pipeline, self._url).values()))
            words = f"{exc.message} {self._url.place} was written to: {state}"
            raise TargetError(exc.reason, words, detail=exc.detail, hint=writing.undo()) from exc

    def _require_nothing_missing(
        self, differences: Mapping[int, Difference], found: Mapping[int, int], expected: Mapping[int, int]
    ) -> None:
        missing = {number: difference.missing for number, difference in differences.items() if difference.missing}
        if not missing:
            return
        raise TargetError(
            Reason.RESTORE_FAILED,
            f"everything was written to {self._url.place}, and then {described(missing)} were missing there",
            detail=f"Written: {described(expected)}. There now: {described(found)}. "
            "Others delete keys there, or the server evicts them.",
            hint="Stop the applications that use it, look at INFO stats (evicted_keys), and restore again.",
        )

    def _notes(
        self, writing: Writing, found: Mapping[int, int], expected: Mapping[int, int], expired: tuple[int, int]
    ) -> Iterator[str]:
        before, since = expired
        yield f"{described(expected)} of the backup were to be written."
        if before:
            yield f"{before:,} keys of the backup had expired before it was loaded: they are not restored."
        if since:
            yield f"{since:,} keys expired between the load and the count."
        if writing.merges and self._order.existing is ExistingKeys.KEEP:
            yield f"{writing.merged.written:,} keys were written, {writing.merged.kept:,} were there and kept."
        elif writing.merges:
            yield f"{writing.merged.written:,} keys were written, {writing.merged.replaced:,} of them over others."
        elif (more := sum(found.values()) - sum(expected.values())) > 0 and not self._order.key_pattern:
            yield f"{more:,} keys more than were restored are there: others write to it."
        if names := [library_name(code) for code in writing.libraries]:
            yield f"Function libraries loaded: {', '.join(names)}."
        elif left := [library_name(code) for code in writing.commands.functions()]:
            yield f"Function libraries of the backup that were not loaded: {', '.join(left)}."


@contextmanager
def _as_target_error() -> Iterator[None]:
    try:
        yield
    except SourceError as exc:
        hint = exc.hint
        if exc.reason is Reason.PERMISSION_DENIED:
            hint = f"redis-cli ACL SETUSER USER {_LEAST_COMMANDS} and the commands that write"
        raise TargetError(exc.reason, exc.message, detail=exc.detail, hint=hint) from exc


@contextmanager
def told_apart_target(door: RedisDoor) -> Iterator[None]:
    """Turns every fault of the connection inside into a TargetError."""
    with _as_target_error(), told_apart(door.url, door.secret, "the look at the target"):
        yield


def _is_out_of_range(reply: object) -> bool:
    return isinstance(reply, ErrorReply) and ("out of range" in str(reply) or "invalid DB index" in str(reply))

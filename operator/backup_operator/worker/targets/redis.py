"""Room `worker.targets`: a Redis (or Valkey) server as a restore's target, over the network; called by worker.restore.

The artifact is loaded by a throw-away redis-server, cut down to what is wanted, written as plain commands, and those
are piped into the target: every type, value, time to live and database, into older servers, Valkey, managed ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import RedisStrategy
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
from backup_operator.worker.targets.redis_count import Difference, compare
from backup_operator.worker.targets.redis_functions import (
    libraries_to_load,
    listed_libraries,
    of_libraries,
    touches_functions,
)
from backup_operator.worker.targets.redis_outcome import Outcome
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded
from backup_operator.worker.targets.redis_plan import Planned, plan_lines
from backup_operator.worker.targets.redis_prepared import Preparation, Prepared
from backup_operator.worker.targets.redis_probe import RESTORE_COMMANDS, probe
from backup_operator.worker.targets.redis_survey import (
    Obstacle,
    Surveyed,
    called,
    is_older_than_7,
    obstacles_of,
    of_forbidden,
    of_mode,
    of_pod_memory,
    of_unknown,
    overwritten,
)
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED
from backup_operator.worker.targets.redis_write import Writing, info_of, keys_of, of_another_restore, require_alone
from backup_operator.worker.words import as_yaml


@dataclass
class RedisTarget:
    """One Redis server that is restored into."""

    order: RedisTargetOrder
    _: KW_ONLY
    scratch: Path
    confirm: str
    memory_limit_bytes: int | None
    """What the pod may use, None without a limit."""
    redis_server: str = "redis-server"
    checks: Checks = field(default_factory=Checks)
    has_safety_backup: bool = True
    """Whether the target is backed up first where it can lose content."""

    def __post_init__(self) -> None:
        text, self._warnings = read_secret(self.order.url)
        with _as_target_error():
            self._url = parse_redis_url(text, self.order.url.described)
            self._door = RedisDoor(self._url, self.order.url, tls_context(self._url, self.order.tls))
        self._stack = ExitStack()
        self._prepared: Prepared | None = None

    def survey(self, artifacts: Sequence[RestoredArtifact]) -> TargetPlan:
        """Connect and look, and load the backup into the throw-away server; writes nothing.

        Raises: TargetError, SecretMissing.
        """
        backup, prepared = redis_backup(artifacts), None
        surveyed = self._look(backup.keys(self._url) or {})
        too_large = of_pod_memory(backup, self.memory_limit_bytes)
        if too_large or of_mode(surveyed):
            found = [*obstacles_of(surveyed, self.order, backup, None), *([too_large] if too_large else [])]
        else:
            prepared = self._prepare(backup, lambda _: None)
            surveyed = self._look(prepared.loaded.expected)
            found = [*self._others(), *self._obstacles(surveyed, backup, prepared)]
        return TargetPlan(
            lines=(*plan_lines(self._planned(surveyed, backup, prepared)), *self._warnings, *self._url.warnings),
            pinned=self._pinned(surveyed),
            obstacles=tuple(f"{obstacle.words}. {obstacle.hint}".rstrip() for obstacle in found),
            overwritten=overwritten(self._url, self.order.strategy),
            into=called(self._url),
        )

    def apply(self, artifacts: Sequence[RestoredArtifact], step: Callable[[str], None]) -> Applied:
        """Write what was loaded, then count. Raises: TargetError; nothing is written before everything is loaded."""
        self._require_confirmed()
        backup = redis_backup(artifacts)
        if too_large := of_pod_memory(backup, self.memory_limit_bytes):
            raise too_large.error()
        with closing(self):
            prepared = self._prepared or self._prepare(backup, step)
            step("look")
            with self._enter() as pipeline:
                require_alone(pipeline, self._url)
                surveyed = self._look_over(pipeline, prepared.loaded.expected)
                if found := self._obstacles(surveyed, backup, prepared):
                    raise found[0].error()
                return self._apply(prepared, pipeline, surveyed, step)

    def close(self) -> None:
        """End the throw-away server; may be called twice."""
        self._prepared = None
        self._stack.close()

    def _prepare(self, backup: Backup, step: Callable[[str], None]) -> Prepared:
        with self._enter() as pipeline, told_apart_target(self._door):
            is_old = is_older_than_7(info_of(pipeline))
        how = Preparation(self._url, self.order, self.redis_server, self.scratch, is_older_than_7=is_old)
        self._prepared = self._stack.enter_context(how.of(backup, step))
        return self._prepared

    def _apply(
        self, prepared: Prepared, pipeline: Pipeline, surveyed: Surveyed, step: Callable[[str], None]
    ) -> Applied:
        commands = prepared.commands
        writing = Writing(
            self._url,
            self.order,
            commands,
            keys=sum(prepared.loaded.expected.values()),
            libraries=libraries_to_load(commands.functions(), surveyed, self.order),
            has_safety_backup=self.has_safety_backup,
            evicted_before=int(surveyed.info.get("evicted_keys", "0")),
        )
        with writing.told(pipeline, self._count):
            self._write(writing, pipeline, surveyed, step)
            step("count")
            applied = self._applied(writing, prepared, pipeline)
            self._check(writing, pipeline, step)
            return applied

    @contextmanager
    def _enter(self) -> Iterator[Pipeline]:
        with _as_target_error():
            wire = self._door.enter()
        with Pipeline(*wire.hand_over()) as pipeline:
            yield pipeline

    def _look(self, databases: Mapping[int, int]) -> Surveyed:
        with self._enter() as pipeline:
            return self._look_over(pipeline, databases)

    def _others(self) -> list[Obstacle]:
        with self._enter() as pipeline, told_apart_target(self._door):
            found = of_another_restore(pipeline, self._url)
        return [found] if found else []

    def _look_over(self, pipeline: Pipeline, databases: Mapping[int, int]) -> Surveyed:
        with told_apart_target(self._door):
            info = info_of(pipeline)
            wanted = sorted({*databases, *([] if self._url.database is None else [self._url.database])})
            replies = pipeline.ask([encoded("SELECT", number) for number in wanted], len(wanted))
            missing = [number for number, reply in zip(wanted, replies, strict=True) if _is_out_of_range(reply)]
            functions = self._url.database is None and not self.order.key_pattern
            probed = probe(pipeline, self.order.strategy, self.order.key_pattern, functions=functions)
            libraries = listed_libraries(pipeline.ask([encoded("FUNCTION", "LIST", "WITHCODE")], 1)[0])
        return Surveyed(self._url, info, probed, libraries, tuple(missing))

    def _planned(self, surveyed: Surveyed, backup: Backup, prepared: Prepared | None) -> Planned:
        return Planned(
            surveyed,
            self.order,
            backup,
            prepared.loaded if prepared else None,
            self.memory_limit_bytes,
            self.has_safety_backup,
        )

    def _pinned(self, surveyed: Surveyed) -> dict[str, object]:
        drops_functions = self.order.strategy is RedisStrategy.REPLACE and touches_functions(surveyed, self.order)
        return {
            "host": self._url.host,
            "port": self._url.port,
            "database": "all" if self._url.database is None else self._url.database,
            "product": server_facts(surveyed.info, self._url)["product"],
            "empty": not surveyed.keys,
            "databasesWithKeys": sorted(surveyed.keys),
            "functionLibrariesDropped": sorted(surveyed.libraries or {}) if drops_functions else [],
        }

    def _require_confirmed(self) -> None:
        wanted = overwritten(self._url, self.order.strategy)
        if wanted and self.confirm != wanted:
            found = f"it says {self.confirm!r}" if self.confirm else "it is missing"
            raise TargetError(
                Reason.CONFIRM_MISSING,
                f"confirm must say {wanted!r}, whose content can be lost, and {found}",
                detail=UNTOUCHED,
                hint=f"Write confirm: {as_yaml(wanted)}",
            )

    def _obstacles(self, surveyed: Surveyed, backup: Backup, prepared: Prepared) -> list[Obstacle]:
        """What is in the way, as exactly as it can be known before the first write."""
        commands, probed = prepared.commands, surveyed.probed
        found = obstacles_of(surveyed, self.order, backup, prepared.loaded)
        if prepared.obstacle and prepared.obstacle.words not in {each.words for each in found}:
            found.append(prepared.obstacle)
        functions = touches_functions(surveyed, self.order)
        needed = prepared.rare if functions else prepared.rare - {"FUNCTION"}
        unknown = [of_unknown(surveyed, name) for name in probed.unknown if name in needed]
        found += unknown
        if forbidden := [each for each in probed.forbidden if each[1:].upper() in needed]:
            found.append(of_forbidden(surveyed, forbidden))
        libraries = None if unknown else of_libraries(commands.functions(), surveyed, self.order)
        return [*found, libraries] if libraries else found

    def _write(self, writing: Writing, pipeline: Pipeline, surveyed: Surveyed, step: Callable[[str], None]) -> None:
        if self.order.strategy is RedisStrategy.REPLACE:
            step("clear")
            drops_functions = bool(surveyed.libraries) and touches_functions(surveyed, self.order)
            writing.clear(pipeline, tuple(surveyed.keys), flushes_functions=drops_functions)
        step("write")
        pipeline.call("SELECT", self._url.database or 0)
        writing.write(pipeline)

    def _count(self) -> Mapping[int, int] | None:
        """The target's keys, asked over a connection of its own; None when it cannot be asked."""
        try:
            with self._enter() as pipeline:
                return keys_of(pipeline, self._url)
        except (TargetError, ErrorReply, NotRedis, OSError):
            return None

    def _applied(self, writing: Writing, prepared: Prepared, pipeline: Pipeline) -> Applied:
        expected, found = prepared.loaded.expected, keys_of(pipeline, self._url)
        differences: Mapping[int, Difference] = {}
        if writing.merges or found != expected:
            differences = compare(prepared.server, pipeline, expected)
            found = keys_of(pipeline, self._url)
        outcome = Outcome(
            prepared.loaded,
            found,
            missing={number: each.missing for number, each in differences.items() if each.missing},
            expired=sum(difference.expired for difference in differences.values()),
            evicted=writing.evicted(pipeline),
        )
        outcome.require_nothing_missing(writing)
        return Applied(
            counts={f"db{number}": found.get(number, 0) for number in sorted({*found, *expected})},
            notes=tuple(outcome.notes(writing)),
            undo=writing.undo_commands(),
            state=f"The keys of the backup are in {self._url.place}.",
        )

    def _check(self, writing: Writing, pipeline: Pipeline, step: Callable[[str], None]) -> None:
        """Ask what must hold. Raises: TargetError CheckFailed; what was written stays."""
        if not self.checks.redis:
            return
        step("checks")
        found = run_redis_checks(pipeline.call, self.checks.redis)
        try:
            self.checks.take(found)
        except TargetError as exc:
            state = writing.state(keys_of(pipeline, self._url))
            words = f"{exc.message} {self._url.place} was written to: {state}"
            raise TargetError(exc.reason, words, detail=exc.detail, hint=writing.undo()) from exc


@contextmanager
def _as_target_error() -> Iterator[None]:
    try:
        yield
    except SourceError as exc:
        message, hint = exc.message, exc.hint
        if exc.reason is Reason.PERMISSION_DENIED:
            hint = f"redis-cli ACL SETUSER USER '~*' {RESTORE_COMMANDS[RedisStrategy.FAIL_IF_NOT_EMPTY]}"
        if exc.reason is Reason.SNAPSHOT_FAILED:
            message = "the target takes no writes, because its own snapshots fail"
        raise TargetError(exc.reason, message, detail=exc.detail, hint=hint) from exc


@contextmanager
def told_apart_target(door: RedisDoor) -> Iterator[None]:
    """Turns every fault of the connection inside into a TargetError."""
    with _as_target_error(), told_apart(door.url, door.secret, "the look at the target"):
        yield


def _is_out_of_range(reply: object) -> bool:
    return isinstance(reply, ErrorReply) and ("out of range" in str(reply) or "invalid DB index" in str(reply))

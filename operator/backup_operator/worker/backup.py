"""Room `worker`: makes one run, from the database to a verified entry in the store; called by `worker.cli`.

passphrase -> store's lock -> dead runs swept -> preflight -> room
each artifact:  dump | compress | encrypt -> sync -> read back, verify -> final name
entry (the commit point) -> audit line, RECOVER.md -> retention -> heartbeat -> report
"""

import logging
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup_operator import __version__
from backup_operator.contract.order import BackupOrder, RetentionOrder
from backup_operator.contract.report import BackupLine, Report
from backup_operator.rules.naming import parse_run_name
from backup_operator.vocabulary.choices import Outcome
from backup_operator.worker.account import Account
from backup_operator.worker.errors import OrderInvalid, StoreError, WorkerError
from backup_operator.worker.heartbeat import send_heartbeat
from backup_operator.worker.keys import Keys, keys_for_writing
from backup_operator.worker.log import fields
from backup_operator.worker.plausible import compare_made, names_to_compare, record_of
from backup_operator.worker.progress import Progress
from backup_operator.worker.prune import prune, pruning_after
from backup_operator.worker.sources.base import Contents, Dump, Source, SourceFacts
from backup_operator.worker.stages.chain import Recipe, Sealed, seal
from backup_operator.worker.storage import with_outlook
from backup_operator.worker.store import audit
from backup_operator.worker.store.catalog import CatalogReading, read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry, PolicyRecord
from backup_operator.worker.store.layout import open_store, others_bytes, require_space
from backup_operator.worker.store.lock import Holder, locked
from backup_operator.worker.store.recover import write_recover
from backup_operator.worker.store.run import PartialFile, RunWriter, begin_run, sweep_dead_runs
from backup_operator.worker.verify import verify_artifact
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)

SMALLEST_SHARE_OF_THE_SOURCE = 20
"""Without an earlier run to go by, a twentieth of the database's size must be free: few dumps shrink further."""


@dataclass(frozen=True)
class _Run:
    """What the steps of a run share."""

    order: BackupOrder
    workplace: Workplace
    keys: Keys
    store: Store
    account: Account

    @property
    def recipe(self) -> Recipe:
        compression = self.order.compression
        return Recipe(compression.algorithm, compression.level, self.keys.candidates[0])

    def progress(self, step: str) -> Progress:
        return Progress(step, interval=self.order.progress_interval, clock=self.workplace.clock)


def back_up(order: BackupOrder, workplace: Workplace) -> Report:
    """Do the order and say how it went; a failure that the worker knows is in the report, not raised."""
    account = Account("Backup", workplace.now())
    try:
        keys = keys_for_writing(order.passphrase, order.previous_passphrases)
        account.warnings += keys.warnings
        mount, path = Path(order.store.mount), order.store.path
        with open_store(mount, path, described=order.store.described, create=True) as store:
            _back_up_into(_Run(order, workplace, keys, store, account))
    except WorkerError as error:
        return account.failed(error, workplace)
    if order.heartbeat is not None:
        account.warnings += send_heartbeat(order.heartbeat, workplace)
    return account.succeeded(workplace)


def _back_up_into(run: _Run) -> None:
    holder = Holder(run.order.policy.name, run.workplace.host, run.account.started_at.isoformat(timespec="seconds"))
    try:
        with locked(run.store, run.order.store_lock_timeout, holder):
            _back_up_alone(run)
    finally:
        with suppress(StoreError):  # the run's own error says more than that the volume cannot be read
            _survey(run)


def _survey(run: _Run) -> None:
    """What the store holds now, and when its volume is full if runs go on."""
    account, order = run.account, run.order
    reading = account.survey(run.store, run.keys.entries)
    account.warnings += reading.warnings()
    if order.retention is not None and account.storage is not None:
        pruning = pruning_after(account.run, order, order.retention, account.comparison)
        account.storage = with_outlook(account.storage, reading.entries, pruning, run.workplace.now())


def _back_up_alone(run: _Run) -> None:
    """Under the store's lock."""
    for dead in sweep_dead_runs(run.store):
        _LOG.warning("a dead run was removed", extra=fields(run=dead.run, freed_bytes=dead.freed_bytes))
    try:
        with closing(open_source(run.order, run.workplace)) as source:
            entry = _make_entry(run, source)
    except WorkerError as error:
        with suppress(StoreError):  # a full volume takes no audit line either; the run's error is the one to tell
            audit.append(run.store, _audit_line(run, Outcome.FAILED, error.reason))
        raise
    _record(run, entry)
    if run.order.retention is not None:
        _apply_retention(run, run.order.retention)


def open_source(order: BackupOrder, workplace: Workplace) -> Source:
    """The source that the order names; only its own libraries are loaded. Raises: OrderInvalid."""
    if order.postgres is not None:
        from backup_operator.worker.sources.postgres import PostgresSource

        application = f"backup-operator {order.policy.namespace}/{order.policy.name}"
        return PostgresSource(order.postgres, scratch=workplace.scratch, application=application)
    if order.redis is not None:
        from backup_operator.worker.sources.redis import RedisSource

        return RedisSource(order.redis, scratch=workplace.scratch)
    raise OrderInvalid("the order names no source")


def _make_entry(run: _Run, source: Source) -> Entry:
    facts = source.preflight()
    run.account.warnings += facts.warnings
    _LOG.info("source looked at", extra=fields(**_plain(facts.server), tls=facts.encrypted_connection))
    earlier = _look_at_store(run, facts)
    with begin_run(run.store, run.order.source_kind, run.workplace.now()) as writer:
        run.account.run = writer.run
        _LOG.info("run begun", extra=fields(run=writer.run, store=run.store.directory))
        artifacts = tuple(_make_artifact(run, writer, dump) for dump in source.dumps())
        entry = _entry(run, facts, artifacts)
        comparison = compare_made(entry, earlier, run.store, run.keys.entries, accepted_run=run.order.accepted_run)
        judged = {
            "plausibility": record_of(comparison, run.order.accepted_run),
            "others_bytes": others_bytes(run.store),
        }
        entry = entry.model_copy(update=judged)
        writer.commit(entry, run.keys.entries)
        run.account.comparison = comparison
    return entry


def _look_at_store(run: _Run, facts: SourceFacts) -> tuple[str, ...]:
    """The runs that this one will be compared with. Raises: StoreError when it cannot fit beside them."""
    stored = read_catalog(run.store, run.keys.entries)
    require_space(run.store, _expected_bytes(stored, facts))
    return names_to_compare(stored.entries, run.order.source_kind)


def _expected_bytes(catalog: CatalogReading, facts: SourceFacts) -> int | None:
    """What the run will probably store: as much as the newest one, else a share of the source."""
    if catalog.entries:
        return catalog.entries[0].size_bytes
    return facts.estimated_bytes and facts.estimated_bytes // SMALLEST_SHARE_OF_THE_SOURCE


def _make_artifact(run: _Run, writer: RunWriter, dump: Dump) -> ArtifactRecord:
    partial = writer.create_partial(dump.kind, run.order.compression.algorithm)
    written, dump_seconds = _dump_into(run, dump, partial)
    writer.seal_partial(partial)
    contents, verify_seconds = _verify(run, writer, partial, dump, written)
    name = writer.publish(partial)
    _LOG.info(
        "artifact verified",
        extra=fields(
            file=name,
            bytes=written.stored_bytes,
            rows=contents.rows,
            keys=contents.keys,
            seconds=round(verify_seconds, 1),
        ),
    )
    return ArtifactRecord(
        name=name,
        kind=dump.kind,
        compression=run.order.compression.algorithm,
        stored_bytes=written.stored_bytes,
        stored_sha256=written.stored_sha256,
        plain_bytes=written.plain_bytes,
        plain_sha256=written.plain_sha256,
        rows_per_table=None if contents.rows_per_table is None else dict(contents.rows_per_table),
        keys_per_database=None if contents.keys_per_database is None else dict(contents.keys_per_database),
        details=dict(contents.details),
        dump_seconds=round(dump_seconds, 3),
        verify_seconds=round(verify_seconds, 3),
    )


def _dump_into(run: _Run, dump: Dump, partial: PartialFile) -> tuple[Sealed, float]:
    progress = run.progress(f"dump {dump.kind}")
    with dump.stream() as chunks:
        written = seal(
            progress.watch_lines(chunks) if run.order.postgres else progress.watch(chunks), partial, run.recipe
        )
    seconds = progress.elapsed_seconds()
    _LOG.info(
        "dump stored",
        extra=fields(
            file=partial.artifact,
            bytes=written.plain_bytes,
            stored_bytes=written.stored_bytes,
            seconds=round(seconds, 1),
        ),
    )
    return written, seconds


def _verify(run: _Run, writer: RunWriter, partial: PartialFile, dump: Dump, written: Sealed) -> tuple[Contents, float]:
    progress = run.progress(f"verify {dump.kind}")
    with writer.open_sealed(partial) as stored:
        contents = verify_artifact(stored, dump, written, run.recipe, progress)
    return contents, progress.elapsed_seconds()


def _entry(run: _Run, facts: SourceFacts, artifacts: tuple[ArtifactRecord, ...]) -> Entry:
    policy = run.order.policy
    return Entry(
        run=run.account.run,
        kind=run.order.source_kind,
        policy=PolicyRecord(namespace=policy.namespace, name=policy.name, spec_digest=policy.spec_digest),
        started_at=_begun_at(run.account.run),
        completed_at=run.workplace.now(),
        verified=True,
        artifacts=artifacts,
        server=dict(facts.server),
        client=dict(facts.client),
        encrypted_connection=facts.encrypted_connection,
        worker_version=__version__,
        warnings=(*run.workplace.warnings, *run.account.warnings),
    )


def _begun_at(run: str) -> datetime:
    name = parse_run_name(run)
    if name is None:
        raise ValueError(f"{run!r} is no name of a run")
    return name.at


def _record(run: _Run, entry: Entry) -> None:
    """What follows the commit: a failure here is told, and does not undo the backup."""
    run.account.backup = BackupLine(
        name=entry.run,
        started_at=entry.started_at,
        completed_at=entry.completed_at,
        size_bytes=entry.stored_bytes,
        rows=entry.rows,
        keys=entry.keys,
    )
    try:
        torn = audit.append(run.store, {**_audit_line(run, Outcome.SUCCEEDED), "bytes": entry.stored_bytes})
        write_recover(run.store, entry)
    except StoreError as error:
        torn = f"the backup is good, but its audit line or RECOVER.md could not be written: {error.message}"
    if torn:
        run.account.warnings.append(torn)
    seconds = (entry.completed_at - entry.started_at).total_seconds()
    told = fields(run=entry.run, bytes=entry.stored_bytes, rows=entry.rows, keys=entry.keys, seconds=round(seconds))
    _LOG.info("backup complete", extra=told)
    comparison = run.account.comparison
    if comparison is not None and comparison.reason is not None:
        _LOG.warning("backup out of line", extra=fields(reason=comparison.reason, message=comparison.message))


def _apply_retention(run: _Run, retention: RetentionOrder) -> None:
    """After a verified success alone; a failure here is told, and does not undo the backup."""
    account = run.account
    pruning = pruning_after(account.run, run.order, retention, account.comparison)
    result = prune(run.store, run.keys.entries, pruning, run.workplace)
    account.retention = result
    if result.stopped:
        account.warnings.append(f"the backup is good, but retention was not applied to its end: {result.stopped}")


def _audit_line(run: _Run, outcome: Outcome, reason: str = "") -> dict[str, str]:
    policy = run.order.policy
    return {
        "event": "backup",
        "at": run.workplace.now().isoformat(timespec="seconds"),
        "outcome": str(outcome),
        "reason": str(reason),
        "run": run.account.run,
        "policy": f"{policy.namespace}/{policy.name}",
        "worker": run.workplace.host,
    }


def _plain(server: object) -> dict[str, object]:
    """Of the server's facts, those that fit into a line of the log."""
    facts = server if isinstance(server, dict) else {}
    return {name: value for name, value in facts.items() if isinstance(value, str | int | bool)}

"""Room `worker`: safety backups, the target's own content before it is overwritten; called by `worker.restore`.

They are a store of their own below the policy's, so that no rule of its series ever meets them: not latest and before,
not freshness, not the floor of retention. Each is kept for a week.
"""

import logging
import tempfile
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from backup_operator.contract.order import BackupOrder, PolicyIdentity, PostgresOrder, RedisOrder
from backup_operator.contract.restore import PostgresTargetOrder, RestoreOrder
from backup_operator.rules.naming import SAFETY_DIRECTORY, FileRole, parse_run_name, recognise, safety_name
from backup_operator.vocabulary.choices import ArtifactKind, DumpFormat, Profile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.errors import StoreBusy, StoreError, TargetError
from backup_operator.worker.log import fields
from backup_operator.worker.restore_plan import SAFETY_BACKUP_KEPT
from backup_operator.worker.store.deletion import Deletion, delete_run, finish_deletions
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_inside
from backup_operator.worker.store.lock import Holder, locked
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
_LOCK_TIMEOUT = timedelta(seconds=10)
"""Who waits longer has met another restore's safety backup: that one removes the old ones too."""
_HINTS = {Reason.RESTORE_RUNNING: "When that restore has ended, make a new RestoreRequest; see: kubectl get rr -A"}
"""Where what a backup says is not true of a restore, which is never tried again."""


def back_up_target(order: RestoreOrder, workplace: Workplace, kinds: Collection[ArtifactKind]) -> str:
    """Dump the target into the safety store. Returns: the name that people use; empty where the target holds nothing.

    `kinds` are those of the backup that is restored: what was dumped as a provider's database is dumped so again.
    Raises: TargetError (SafetyBackupFailed); nothing was touched then.
    """
    with tempfile.TemporaryDirectory(dir=workplace.scratch) as scratch:
        report = back_up(_backup_order(order, kinds), replace(workplace, scratch=Path(scratch)))
    if report.fault is not None and report.fault.reason is Reason.SOURCE_EMPTY:
        return ""
    if report.fault is not None:
        raise TargetError(
            Reason.SAFETY_BACKUP_FAILED,
            f"the target's own content could not be backed up first; nothing was changed: {report.fault.message}",
            detail=report.fault.detail,
            hint=_HINTS.get(report.fault.reason, report.fault.hint),
        )
    return safety_name(report.run)


def _backup_order(order: RestoreOrder, kinds: Collection[ArtifactKind]) -> BackupOrder:
    redis = order.redis
    return BackupOrder(
        policy=PolicyIdentity(namespace=order.request.namespace, name=order.request.name, spec_digest=""),
        postgres=order.postgres and _postgres_order(order.postgres, kinds),
        redis=redis and RedisOrder(url=redis.url, tls=redis.tls),
        passphrase=order.passphrases[0],
        previous_passphrases=order.passphrases[1:],
        store=order.store.model_copy(update={"path": f"{order.store.path}/{SAFETY_DIRECTORY}"}),
        deadline=order.deadline,
        progress_interval=order.progress_interval,
    )


def _postgres_order(target: PostgresTargetOrder, kinds: Collection[ArtifactKind]) -> PostgresOrder:
    return PostgresOrder(
        url=target.url,
        database=target.database,
        tls=target.tls,
        format=DumpFormat.CUSTOM,
        profile=Profile.SUPABASE if ArtifactKind.POSTGRES_PROVIDER_DATA in kinds else Profile.AUTO,
    )


def remove_old_safety_backups(store: Store, workplace: Workplace) -> tuple[Deletion, ...]:
    """Delete those of more than a week ago, and what a dead deletion has left. Raises: StoreError, StoreBusy."""
    with ExitStack() as stack:
        safety = open_inside(store, SAFETY_DIRECTORY)
        if safety is None:
            return ()
        stack.enter_context(safety)
        if not _old_runs(safety, workplace) and not _has_tombstone(safety):
            return ()
        holder = Holder("the deletion of old safety backups", workplace.host, _now(workplace))
        stack.enter_context(locked(safety, _LOCK_TIMEOUT, holder))
        event = {
            "at": _now(workplace),
            "why": f"a safety backup is kept for {SAFETY_BACKUP_KEPT.days} days",
            "worker": workplace.host,
        }
        deletions = list(finish_deletions(safety, event))
        deletions += [delete_run(safety, run, event) for run in _old_runs(safety, workplace)]
    for deletion in deletions:
        told = fields(run=deletion.run, freed_bytes=deletion.freed_bytes, kept_because=deletion.kept_because)
        _LOG.info("old safety backup", extra=told)
    return tuple(deletions)


def try_to_remove_old_safety_backups(store: Store, workplace: Workplace) -> None:
    """The same; a failure is told in the log alone, as the restore is what matters."""
    try:
        remove_old_safety_backups(store, workplace)
    except (StoreError, StoreBusy) as error:
        _LOG.warning("old safety backups were not removed", extra=fields(why=error.message, detail=error.detail))


def _old_runs(safety: Store, workplace: Workplace) -> list[str]:
    """By their names: their entries may be locked with a passphrase of before."""
    limit = workplace.now() - SAFETY_BACKUP_KEPT
    runs = sorted(str(name.run) for name in map(recognise, safety.names()) if name.role is FileRole.ENTRY)
    return [run for run in runs if (parsed := parse_run_name(run)) and parsed.at < limit]


def _has_tombstone(safety: Store) -> bool:
    return any(name.role is FileRole.TOMBSTONE for name in map(recognise, safety.names()))


def _now(workplace: Workplace) -> str:
    return workplace.now().isoformat(timespec="seconds")

"""Room `worker`: brings one backup back into a server; called by `worker.by_hand`.

    choose -> open -> verify to the last byte -> survey the target -> the plan and its pin
    obstacles, confirm, approval -> safety backup -> apply, with the target's checks -> http checks -> audit line

Everything before the safety backup only reads. No byte of an unverified plaintext reaches a target.
"""

import hashlib
import json
import logging
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from backup_operator.contract.order import BackupOrder, PolicyIdentity, PostgresOrder, RedisOrder
from backup_operator.contract.restore import RestoreOrder, RestoreReport
from backup_operator.vocabulary.choices import DumpFormat, Outcome, PostgresStrategy, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.checks.http import Patience, run_http_checks
from backup_operator.worker.errors import TargetError, WorkerError
from backup_operator.worker.keys import Keys, keys_for_reading
from backup_operator.worker.log import fields
from backup_operator.worker.opening import StoredArtifact, choose, opened
from backup_operator.worker.progress import Progress
from backup_operator.worker.restore_account import RestoreAccount, Steps
from backup_operator.worker.store import audit
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import Entry
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.lock import Holder, locked
from backup_operator.worker.targets.base import Applied, RestoredArtifact, Target, TargetPlan
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
SAFETY_DIRECTORY = "safety"
"""Below the store: safety backups are a store of their own, so that no rule of the policy's series ever meets them."""


def restore(order: RestoreOrder, workplace: Workplace, account: RestoreAccount | None = None) -> RestoreReport:
    """Do the order and say how it went; a failure that the worker knows is in the report, not raised.

    `account` is kept up to date all the while, for a caller that survives what the worker does not know.
    """
    account = account or RestoreAccount(workplace.now(), dry_run=order.dry_run)
    steps = Steps(account, workplace.clock)
    try:
        keys = keys_for_reading(order.passphrases[0])
        mount, path = Path(order.store.mount), order.store.path
        with open_store(mount, path, described=order.store.described, create=False) as store:
            _restore_from(_Restore(order, workplace, keys, store, account, steps))
    except WorkerError as error:
        steps.end()
        return account.failed(error, workplace)
    steps.end()
    return account.succeeded(workplace)


@dataclass(frozen=True)
class _Restore:
    order: RestoreOrder
    workplace: Workplace
    keys: Keys
    store: Store
    account: RestoreAccount
    steps: Steps


def _restore_from(job: _Restore) -> None:
    checks = job.account.checks = Checks(job.order.checks)
    checks.refuse_unfit(SourceKind.REDIS if job.order.postgres is None else SourceKind.POSTGRES)
    entry = choose(job.store, job.keys, job.order.selection)
    job.account.run, checks.backed_up_at = entry.run, entry.started_at
    with opened(job.store, entry, job.keys) as artifacts:
        job.steps.begin("verify")
        for artifact in artifacts:
            progress = Progress(
                f"verify {artifact.record.name}", interval=job.order.progress_interval, clock=job.workplace.clock
            )
            artifact.verify(progress)
        with closing(open_target(job.order, job.workplace, checks)) as target:
            _restore_into(job, target, tuple(_restorable(artifact, entry) for artifact in artifacts))


def _restorable(artifact: StoredArtifact, entry: Entry) -> RestoredArtifact:
    record = artifact.record
    keys = record.keys_per_database
    return RestoredArtifact(
        kind=record.kind,
        name=record.name,
        plain_bytes=record.plain_bytes,
        open=artifact.plaintext,
        rows_per_table=record.rows_per_table,
        keys_per_database=None if keys is None else {database: tally.keys for database, tally in keys.items()},
        server=entry.server,
    )


def _restore_into(job: _Restore, target: Target, artifacts: tuple[RestoredArtifact, ...]) -> None:
    job.steps.begin("survey")
    plan = target.survey(artifacts)
    job.account.plan, job.account.pin = plan, _pin(plan, job.account.run)
    if job.order.dry_run:
        return
    _require_leave(job, plan)
    # with an obstacle `apply` refuses before it writes, with the obstacle's own reason
    if job.order.safety_backup and _loses_content(job.order, plan) and not plan.obstacles:
        job.steps.begin("safety backup")
        job.account.safety_backup = _back_up_target(job)
    try:
        job.account.applied = target.apply(artifacts, job.steps.begin)
        _ask_the_application(job, job.account.applied)
    except WorkerError as error:
        _tell_audit(job, Outcome.FAILED, error.reason)
        raise
    _tell_audit(job, Outcome.SUCCEEDED, "")


def _ask_the_application(job: _Restore, applied: Applied) -> None:
    """Run the checks that come last. Raises: TargetError CheckFailed, with the state of the target."""
    checks = job.account.checks
    if not checks.http:
        return
    job.steps.begin("http checks")
    try:
        checks.take(run_http_checks(checks.http, Patience(clock=job.workplace.clock, wait=job.workplace.wait)))
    except TargetError as error:
        words = f"{error.message} {applied.state}"
        raise TargetError(error.reason, words, detail=error.detail, hint=error.hint) from error


def open_target(order: RestoreOrder, workplace: Workplace, checks: Checks) -> Target:
    """The target that the order names; only its own libraries are loaded."""
    if order.postgres is not None:
        from backup_operator.worker.targets.postgres import CLIENTS_ROOT, PostgresTarget

        return PostgresTarget(
            order.postgres,
            scratch=workplace.scratch,
            clients_root=CLIENTS_ROOT,
            confirm=order.confirm,
            now=workplace.now,
            checks=checks,
        )
    assert order.redis is not None
    from backup_operator.worker.targets.redis import RedisTarget
    from backup_operator.worker.targets.redis_memory import pod_memory_limit_bytes

    return RedisTarget(
        order.redis,
        scratch=workplace.scratch,
        confirm=order.confirm,
        memory_limit_bytes=pod_memory_limit_bytes(),
        checks=checks,
    )


def _pin(plan: TargetPlan, run: str) -> str:
    letter = json.dumps({"run": run, **plan.pinned}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(letter.encode()).hexdigest()[:16]


def _require_leave(job: _Restore, plan: TargetPlan) -> None:
    """Raises: TargetError when something is in the way, or nobody said that this may be overwritten."""
    order = job.order
    if order.approved and order.approved != job.account.pin:
        raise TargetError(
            Reason.PLAN_CHANGED,
            "the target or the backup is no longer what the approved plan says; nothing was changed",
            detail=f"approved: {order.approved}, now: {job.account.pin}",
            hint="Plan again with a dry run, read it, and approve that.",
        )
    if plan.overwritten and order.confirm != plan.overwritten:
        found = f"it says {order.confirm!r}" if order.confirm else "it is missing"
        raise TargetError(
            Reason.CONFIRM_MISSING,
            f"confirm does not name what would be overwritten: {found}; nothing was changed",
            hint=f"If {plan.overwritten!r} may lose its content, say so: confirm: {plan.overwritten}",
        )


def _loses_content(order: RestoreOrder, plan: TargetPlan) -> bool:
    """Whether content goes that nothing else keeps: a swapped database stays beside."""
    swapped = order.postgres is not None and order.postgres.strategy is PostgresStrategy.SWAP_DATABASE
    return bool(plan.overwritten) and not swapped


def _back_up_target(job: _Restore) -> str:
    """Dump the target into the safety store. Returns: the run. Raises: TargetError; nothing was touched then."""
    with tempfile.TemporaryDirectory(dir=job.workplace.scratch) as scratch:
        report = back_up(_safety_order(job.order), replace(job.workplace, scratch=Path(scratch)))
    if report.fault is not None:
        raise TargetError(
            Reason.SAFETY_BACKUP_FAILED,
            f"the target's own content could not be backed up first; nothing was changed: {report.fault.message}",
            detail=report.fault.detail,
            hint=report.fault.hint,
        )
    return report.run


def _safety_order(order: RestoreOrder) -> BackupOrder:
    postgres, redis = order.postgres, order.redis
    return BackupOrder(
        policy=PolicyIdentity(namespace=order.request.namespace, name=order.request.name, spec_digest=""),
        postgres=postgres and PostgresOrder(url=postgres.url, tls=postgres.tls, format=DumpFormat.CUSTOM),
        redis=redis and RedisOrder(url=redis.url, tls=redis.tls),
        passphrase=order.passphrases[0],
        store=order.store.model_copy(update={"path": f"{order.store.path}/{SAFETY_DIRECTORY}"}),
        deadline=order.deadline,
        progress_interval=order.progress_interval,
    )


def _tell_audit(job: _Restore, outcome: Outcome, reason: str) -> None:
    """A restore is told in the store's trail; where that cannot be written, the log tells why."""
    order, workplace = job.order, job.workplace
    line = {
        "event": "restore",
        "at": workplace.now().isoformat(timespec="seconds"),
        "outcome": str(outcome),
        "reason": str(reason),
        "run": job.account.run,
        "request": f"{order.request.namespace}/{order.request.name}",
        "asked_by": order.request.asked_by,
        "worker": workplace.host,
    }
    holder = Holder(order.request.name, workplace.host, job.account.started_at.isoformat(timespec="seconds"))
    try:
        with locked(job.store, order.deadline, holder):
            audit.append(job.store, line)
    except WorkerError as error:
        _LOG.warning("no audit line was written", extra=fields(why=error.message))

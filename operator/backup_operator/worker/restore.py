"""Room `worker`: brings one backup back into a server; called by `worker.cli` and `worker.restore_by_hand`.

    was it begun before? -> choose, hold -> verify to the last byte -> survey the target -> the plan and its pin
    obstacles, confirm, approval -> marker -> safety backup -> apply, with the target's checks -> http checks
    in the end, however it ends: a line in the store's trail

Everything before the marker only reads, and a dry run ends there. No byte of an unverified plaintext reaches a target.
"""

import logging
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from backup_operator.contract.restore import RestoreOrder, RestoreReport
from backup_operator.vocabulary.choices import Outcome, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.checks.http import Patience, run_http_checks
from backup_operator.worker.errors import StoreError, TargetError, WorkerError
from backup_operator.worker.keys import Keys, keys_for_reading
from backup_operator.worker.log import fields
from backup_operator.worker.opening import OpenBackup, StoredArtifact, opened
from backup_operator.worker.progress import Progress
from backup_operator.worker.restore_account import RestoreAccount, Steps
from backup_operator.worker.restore_plan import (
    changed_parts,
    confirm_obstacle,
    is_approved,
    loses_content,
    pin_of,
    plan_lines,
    safety_line,
)
from backup_operator.worker.safety import back_up_target, try_to_remove_old_safety_backups
from backup_operator.worker.store import audit
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_store, require_writable
from backup_operator.worker.store.marker import mark_begun, refuse_begun
from backup_operator.worker.targets.base import Applied, RestoredArtifact, Target, TargetPlan
from backup_operator.worker.words import as_yaml
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
_TARGET_IN_TRAIL = frozenset({"server", "host", "port", "product", "database", "databaseId", "strategy"})
"""Of what a target pins, what tells it from others; a target pins no secret."""


def restore(order: RestoreOrder, workplace: Workplace, account: RestoreAccount | None = None) -> RestoreReport:
    """Do the order and say how it went; a failure that the worker knows is in the report, not raised.

    `account` is kept up to date all the while, for a caller that survives what the worker does not know.
    """
    account = account or RestoreAccount(workplace.now(), dry_run=order.dry_run)
    steps = Steps(account, workplace.clock)
    try:
        mount, path = Path(order.store.mount), order.store.path
        with open_store(mount, path, described=order.store.described, create=False) as store:
            job = _Restore(order, workplace, store, account, steps)
            with _told_in_the_end(job):
                _begin(job)
    except WorkerError as error:
        steps.end()
        if account.is_complete:  # it was stopped while it cleaned up
            return account.succeeded(workplace)
        return account.failed(_with_state(_of_no_run_yet(error, order), account), workplace)
    steps.end()
    return account.succeeded(workplace)


@dataclass(frozen=True)
class _Restore:
    order: RestoreOrder
    workplace: Workplace
    store: Store
    account: RestoreAccount
    steps: Steps

    @property
    def uid(self) -> str:
        """Of the request that is carried out at most once; empty for a plan, and for what a person types."""
        return "" if self.order.dry_run else self.order.request.uid


def _begin(job: _Restore) -> None:
    if job.uid:
        refuse_begun(job.store, job.uid)
        require_writable(job.store)
    checks = job.account.checks = Checks(job.order.checks)
    checks.refuse_unfit(SourceKind.REDIS if job.order.postgres is None else SourceKind.POSTGRES)
    current, *previous = job.order.passphrases
    keys = keys_for_reading(current, previous)
    job.account.notes += keys.warnings
    _restore_from(job, keys)


def _restore_from(job: _Restore, keys: Keys) -> None:
    job.steps.begin("choose")
    with opened(job.store, keys, job.order.selection) as backup:
        job.account.take(backup)
        job.account.checks.backed_up_at = backup.began_at
        job.steps.begin("verify")
        began = job.workplace.clock()
        for artifact in backup.artifacts:
            _verify(job, artifact)
        seconds = job.workplace.clock() - began
        job.account.lines += plan_lines(backup, job.store, job.workplace.now(), seconds)
        with closing(open_target(job.order, job.workplace, job.account.checks)) as target:
            _restore_into(job, target, backup)


def _verify(job: _Restore, artifact: StoredArtifact) -> None:
    interval, clock = job.order.progress_interval, job.workplace.clock
    progress = Progress(f"verify {artifact.name}", interval=interval, clock=clock, of_bytes=artifact.plain_bytes)
    artifact.verify(progress, keeps_outline=True)


def _restorable(artifact: StoredArtifact, backup: OpenBackup) -> RestoredArtifact:
    """Of a file that no entry tells of, the counts are those that were found in it."""
    told = artifact.record or artifact.contents
    rows = told.rows_per_table if told else None
    keys = told.keys_per_database if told else None
    return RestoredArtifact(
        kind=artifact.kind,
        name=artifact.name,
        plain_bytes=artifact.plain_bytes,
        open=artifact.plaintext,
        outline=artifact.outline,
        rows_per_table=rows,
        keys_per_database=None if keys is None else {database: tally.keys for database, tally in keys.items()},
        server=backup.entry.server if backup.entry else {},
    )


def _restore_into(job: _Restore, target: Target, backup: OpenBackup) -> None:
    artifacts = tuple(_restorable(artifact, backup) for artifact in backup.artifacts)
    job.steps.begin("survey")
    plan = target.survey(artifacts)
    job.account.plan, job.account.pin = plan, pin_of(plan, backup)
    job.account.safety_line = safety_line(job.order, plan)
    job.account.confirm_obstacle = confirm_obstacle(job.order, plan)
    if job.order.dry_run:
        return
    _require_leave(job, plan)
    if job.uid:
        mark_begun(job.store, job.uid, _told_by_marker(job))
    # with an obstacle `apply` refuses before it writes, with the obstacle's own reason
    if job.order.safety_backup and loses_content(job.order, plan) and not plan.obstacles:
        job.steps.begin("safety backup")
        job.account.safety_backup = back_up_target(job.order, job.workplace, {each.kind for each in artifacts})
        if not job.account.safety_backup:
            job.account.notes.append("The target held nothing, so that there was no safety backup to make.")
        try_to_remove_old_safety_backups(job.store, job.workplace)
    job.account.may_have_written = not plan.obstacles
    job.account.applied = target.apply(artifacts, job.steps.begin)
    _ask_the_application(job, job.account.applied)
    job.account.is_complete = True
    try_to_remove_old_safety_backups(job.store, job.workplace)


def _told_by_marker(job: _Restore) -> dict[str, JsonValue]:
    request = job.order.request
    return {
        "request": f"{request.namespace}/{request.name}",
        "asked_by": request.asked_by,
        "at": job.workplace.now().isoformat(timespec="seconds"),
        "run": job.account.run,
        "worker": job.workplace.host,
    }


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
        has_safety_backup=order.safety_backup,
    )


def _require_leave(job: _Restore, plan: TargetPlan) -> None:
    """Raises: TargetError when something is in the way, or nobody said that this may be overwritten."""
    order = job.order
    if order.approved and not is_approved(job.account.pin, order.approved):
        changed = changed_parts(job.account.pin, order.approved)
        raise TargetError(
            Reason.PLAN_CHANGED,
            "the target or the backup is no longer what the approved plan says; nothing was changed",
            detail=f"changed since: {', '.join(changed)}" if changed else f"the plan's pin is {job.account.pin} now",
            hint="Plan again with a dry run, read it, and approve that.",
        )
    if job.account.confirm_obstacle:
        raise TargetError(
            Reason.CONFIRM_MISSING,
            f"{job.account.confirm_obstacle}; nothing was changed",
            hint=_confirm_hint(order, plan.overwritten),
        )


def _confirm_hint(order: RestoreOrder, overwritten: str) -> str:
    if not order.request.namespace:
        return f"If it may lose its content, type also: --confirm {shlex.quote(overwritten)}"
    return f"If it may lose its content, make another request, with confirm: {as_yaml(overwritten)}"


def _of_no_run_yet(error: WorkerError, order: RestoreOrder) -> WorkerError:
    """A store that is not there, told to somebody who asked before the first run of a policy has made it."""
    if error.reason is Reason.STORE_MISSING and (namespace := order.request.namespace):
        error.hint = (
            f"Wait for the policy's first backup (LAST GOOD in `kubectl -n {namespace} get bp`), or make it now with "
            f"`kubectl -n {namespace} create job --from=cronjob/POLICY first-backup`; then make this request again. "
            "Of a store without a policy, compare from.store.path with what is there."
        )
    return error


def _with_state(error: WorkerError, account: RestoreAccount) -> WorkerError:
    """The same, and that nothing was changed where that is known; else the target has said its state itself."""
    if not account.may_have_written and "nothing was changed" not in error.message.lower():
        error.message = f"{error.message.rstrip('.')}; nothing was changed"
    return error


@contextmanager
def _told_in_the_end(job: _Restore) -> Iterator[None]:
    """Tell the store's trail how the restore inside has ended, whatever ended it; of a plan it is told nothing."""
    reason = str(Reason.INTERNAL_ERROR)
    try:
        yield
    except WorkerError as error:
        reason = str(error.reason)
        raise
    finally:
        if job.account.is_complete:
            _tell_audit(job, Outcome.SUCCEEDED, "")
        elif not job.order.dry_run:
            _tell_audit(job, Outcome.FAILED, reason)


def _tell_audit(job: _Restore, outcome: Outcome, reason: str) -> None:
    """Where the trail cannot be written, the log tells why."""
    try:
        torn = audit.append(job.store, _audit_line(job, outcome, reason))
    except StoreError as error:
        _LOG.warning("no audit line was written", extra=fields(why=error.message))
        return
    if torn:
        _LOG.warning(torn)


def _audit_line(job: _Restore, outcome: Outcome, reason: str) -> dict[str, JsonValue]:
    order, account, now = job.order, job.account, job.workplace.now()
    target = order.postgres or order.redis
    pinned = account.plan.pinned if account.plan else {}
    line: dict[str, object] = {
        "event": "restore",
        "at": now.isoformat(timespec="seconds"),
        "outcome": str(outcome),
        "reason": reason,
        "request": f"{order.request.namespace}/{order.request.name}",
        "uid": order.request.uid,
        "asked_by": order.request.asked_by,
        "run": account.run or order.selection.name,
        "file": account.artifact,
        "kind": account.kind,
        "sha256": account.stored_sha256,
        "plain_bytes": account.plain_bytes,
        "seconds": round((now - account.started_at).total_seconds(), 1),
        "target": {name: pinned[name] for name in sorted(_TARGET_IN_TRAIL & set(pinned))},
        "target_url": target.url.described if target else "",
        "strategy": str(target.strategy) if target else "",
        "may_have_written": account.may_have_written,
        "safety_backup": account.safety_backup,
        "worker": job.workplace.host,
    }
    return {name: value for name, value in line.items() if value not in ("", None, {})}  # type: ignore[misc]  # what a target pins is JSON-ready

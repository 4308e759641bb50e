"""Room `worker`: applies retention to a store; called by `worker.backup` after a verified success, and by hand.

    deletions that were cut are finished -> catalog -> plan -> delete, oldest first -> what is kept and goes next

All of it happens under the store's lock. Only runs with an authentic entry, all their files and the policy's kind are
looked at: what is damaged, locked by a passphrase that is not at hand, foreign or of the old scripts is never deleted,
and safety backups are a store of their own. Files of dead runs are the sweep's.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from backup_operator.contract.order import PolicyIdentity, RetentionOrder
from backup_operator.contract.report import Departure, RetentionResult
from backup_operator.rules.retention import RetentionPlan, RetentionRules, StoredRun, plan_retention
from backup_operator.rules.retention_outlook import Outlook
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.errors import OrderInvalid, WorkerError
from backup_operator.worker.log import fields
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.deletion import Deletion, delete_run, finish_deletions
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import EntryKeys
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
_NAMED_AS_LEFT = 3


@dataclass(frozen=True)
class Pruning:
    """What is to be pruned, by which rules, and who asks."""

    retention: RetentionOrder
    kind: SourceKind
    asked_by: str
    """The policy or the person, for the audit trail."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Runs that stay whatever the rules say, each with the reason."""


def pruning_after(run: str, policy: PolicyIdentity, kind: SourceKind, retention: RetentionOrder) -> Pruning:
    """What follows a good run, which itself is never deleted by it."""
    held = {run: "it has just been made"}
    return Pruning(retention, kind, f"{policy.namespace}/{policy.name}", held)


def plan_pruning(store: Store, keys: EntryKeys, pruning: Pruning, now: datetime) -> RetentionPlan:
    """A verdict on each backup of the store; changes nothing. Raises: StoreError, OrderInvalid."""
    listed = (run for run in read_catalog(store, keys).entries if run.kind is pruning.kind)
    runs = [StoredRun(run.name, run.started_at, run.verified) for run in listed]
    return plan_retention(runs, rules_of(pruning.retention), now, pruning.held)


def prune(store: Store, keys: EntryKeys, pruning: Pruning, workplace: Workplace) -> RetentionResult:
    """Delete what the rules let go. A failure ends it and is told in the result; the next good run goes on.

    Needs the store's lock. A deadline or SIGTERM ends it too: the backup is good, and nothing is half gone.
    """
    done = _Done(workplace.now())
    try:
        done.deletions += finish_deletions(store, _event(pruning, workplace, "its deletion had been cut"))
        done.plan = plan_pruning(store, keys, pruning, done.at)
        for verdict in done.plan.going:
            done.deletions.append(delete_run(store, verdict.run.name, _event(pruning, workplace, verdict.why)))
    except WorkerError as error:
        done.stopped = f"{error.message}: {error.detail}" if error.detail else error.message
    for deletion in done.deletions:
        told = fields(run=deletion.run, freed_bytes=deletion.freed_bytes, kept_because=deletion.kept_because)
        _LOG.info("retention", extra=told)
    return _result(done)


@dataclass
class _Done:
    """What has been done by now."""

    at: datetime
    deletions: list[Deletion] = field(default_factory=list)
    plan: RetentionPlan | None = None
    stopped: str = ""


def _result(done: _Done) -> RetentionResult:
    plan = done.plan
    gone = [deletion for deletion in done.deletions if not deletion.kept_because]
    left = [f"{deletion.run}: {deletion.kept_because}" for deletion in done.deletions if deletion.kept_because]
    outlook = Outlook(plan) if plan else None
    departure = outlook.next_to_go() if outlook else None
    return RetentionResult(
        applied_at=done.at,
        kept=len(plan.kept) if plan else 0,
        held_back=len(plan.held_back_by_the_floor) if plan else 0,
        deleted=tuple(deletion.run for deletion in gone),
        deleted_count=len(gone),
        freed_bytes=sum(deletion.freed_bytes for deletion in gone),
        left=tuple(left[:_NAMED_AS_LEFT]),
        next_to_go=departure and Departure(run=departure.run, at=departure.at),
        rules=outlook.lines() if outlook else (),
        stopped=done.stopped,
    )


def rules_of(retention: RetentionOrder) -> RetentionRules:
    """The rules of an order. Raises: OrderInvalid for a time zone that the image does not know."""
    try:
        zone = ZoneInfo(retention.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise OrderInvalid(
            f"retention's time zone {retention.time_zone!r} is unknown",
            hint="Write an IANA name such as Europe/Berlin: `kubectl edit bp`, spec.timeZone (by hand: --time-zone).",
        ) from exc
    return RetentionRules(
        max_age=retention.max_age,
        keep_last=retention.keep_last,
        keep_daily=retention.keep_daily,
        keep_weekly=retention.keep_weekly,
        keep_monthly=retention.keep_monthly,
        keep_yearly=retention.keep_yearly,
        minimum=retention.minimum,
        zone=zone,
    )


def _event(pruning: Pruning, workplace: Workplace, why: str) -> dict[str, str]:
    return {
        "at": workplace.now().isoformat(timespec="seconds"),
        "why": why,
        "policy": pruning.asked_by,
        "worker": workplace.host,
    }

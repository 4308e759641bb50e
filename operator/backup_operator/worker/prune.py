"""Room `worker`: applies retention to a store; called by `worker.backup` after a verified success, and by hand.

    deletions that were cut are finished -> catalog -> plan -> delete, oldest first -> what is kept and goes next

All of it happens under the store's lock. Only runs with an authentic entry, all their files and the policy's kind are
looked at: what is damaged, locked by a passphrase that is not at hand, foreign or of the old scripts is never deleted,
and safety backups are a store of their own. Files of dead runs are the sweep's.

While the newest backup is not in line with those before it, and nobody has accepted that, none of those before goes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from backup_operator.contract.order import BackupOrder, RetentionOrder
from backup_operator.contract.report import Comparison, Departure, RetentionResult
from backup_operator.rules.naming import parse_run_name
from backup_operator.rules.retention import RetentionPlan, RetentionRules, StoredRun, plan_retention
from backup_operator.rules.retention_outlook import Outlook
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.errors import OrderInvalid, WorkerError
from backup_operator.worker.log import fields
from backup_operator.worker.store.catalog import ListedRun, read_catalog
from backup_operator.worker.store.deletion import Deletion, delete_run, finish_deletions
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import EntryKeys
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
_NAMED_AS_LEFT = 3


BY_HAND = "by hand: "
"""So `asked_by` begins where no policy asks, and a person does."""


@dataclass(frozen=True)
class Pruning:
    """What is to be pruned, by which rules, and who asks."""

    retention: RetentionOrder
    kind: SourceKind
    asked_by: str
    """The policy or the person, for the audit trail."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Runs that stay whatever the rules say, each with the reason."""
    comparison: Comparison | None = None
    """How the newest backup looks beside those before it; None: nobody has looked."""
    accepted_run: str = ""
    """The run up to which a person has accepted what the data looks like."""


@dataclass(frozen=True)
class Planned:
    """The verdicts, and what the store's entries add to them."""

    plan: RetentionPlan
    blocked: frozenset[str] = frozenset()
    """Runs that the rules let go and that stay because the newest backup is implausible."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Stored bytes by run."""


def pruning_after(
    run: str, order: BackupOrder, retention: RetentionOrder, comparison: Comparison | None = None
) -> Pruning:
    """What follows a good run, which itself is never deleted by it."""
    held = {run: "it has just been made"}
    asked_by = f"{order.policy.namespace}/{order.policy.name}"
    return Pruning(retention, order.source_kind, asked_by, held, comparison, order.accepted_run)


def plan_pruning(store: Store, keys: EntryKeys, pruning: Pruning, now: datetime) -> Planned:
    """A verdict on each backup of the store; changes nothing. Raises: StoreError, OrderInvalid."""
    return plan_for(read_catalog(store, keys).entries, pruning, now)


def plan_for(listed: Sequence[ListedRun], pruning: Pruning, now: datetime) -> Planned:
    """The same for backups that are known. Raises: OrderInvalid."""
    ours = [run for run in listed if run.kind is pruning.kind]
    sizes = {run.name: run.size_bytes for run in ours}
    runs = [StoredRun(run.name, run.started_at, run.verified, _is_no_floor(run, pruning)) for run in ours]
    rules = rules_of(pruning)
    plan = plan_retention(runs, rules, now, pruning.held)
    blocked = _blocked(plan, pruning.comparison)
    if blocked:
        plan = plan_retention(runs, rules, now, {**pruning.held, **blocked})
    return Planned(plan, frozenset(blocked), sizes)


def _blocked(plan: RetentionPlan, comparison: Comparison | None) -> dict[str, str]:
    """The runs that would go although the newest backup makes one doubt it, each with the reason."""
    if comparison is None:
        return {}
    why = f"{comparison.reason} since {comparison.since_run} is not accepted"
    return {verdict.run.name: why for verdict in plan.going if is_in_doubt(verdict.run.name, comparison)}


def _is_no_floor(run: ListedRun, pruning: Pruning) -> bool:
    """Whether the run was out of line, and is so yet. While the newest one is, all of before stay anyway."""
    found = pruning.comparison
    return run.doubted and run.name > pruning.accepted_run and (found is None or found.reason is None)


def is_in_doubt(run: str, comparison: Comparison | None) -> bool:
    """Whether the run is one of before a collapse that nobody has accepted."""
    if comparison is None or comparison.reason is None or comparison.accepted:
        return False
    one, other = parse_run_name(run), parse_run_name(comparison.since_run)
    return bool(one and other and one.kind is other.kind and one.at < other.at)


def prune(store: Store, keys: EntryKeys, pruning: Pruning, workplace: Workplace) -> RetentionResult:
    """Delete what the rules let go. A failure ends it and is told in the result; the next good run goes on.

    Needs the store's lock. A deadline or SIGTERM ends it too: the backup is good, and nothing is half gone.
    A dry run says what would go, and does not even finish deletions that were cut.
    """
    done = _Done(pruning.retention, workplace.now())
    try:
        if not done.dry_run:
            done.deletions += finish_deletions(store, _event(pruning, workplace, "its deletion had been cut"))
        done.planned = plan_pruning(store, keys, pruning, done.at)
        for verdict in () if done.dry_run else done.planned.plan.going:
            done.deletions.append(delete_run(store, verdict.run.name, _event(pruning, workplace, verdict.why)))
    except WorkerError as error:
        done.stopped = f"{error.message}: {error.detail}" if error.detail else error.message
    for deletion in done.deletions:
        told = fields(run=deletion.run, freed_bytes=deletion.freed_bytes, kept_because=deletion.kept_because)
        _LOG.info("retention", extra=told)
    return _result(done)


def preview(listed: Sequence[ListedRun], pruning: Pruning, now: datetime) -> RetentionResult:
    """What pruning these backups now would do; nothing is deleted."""
    done = _Done(pruning.retention.model_copy(update={"dry_run": True}), now)
    try:
        done.planned = plan_for(listed, pruning, now)
    except OrderInvalid as error:
        done.stopped = error.message
    return _result(done)


@dataclass
class _Done:
    """What has been done by now."""

    retention: RetentionOrder
    at: datetime
    deletions: list[Deletion] = field(default_factory=list)
    planned: Planned | None = None
    stopped: str = ""

    @property
    def dry_run(self) -> bool:
        return self.retention.dry_run


def _result(done: _Done) -> RetentionResult:
    gone = [deletion for deletion in done.deletions if not deletion.kept_because]
    left = [f"{deletion.run}: {deletion.kept_because}" for deletion in done.deletions if deletion.kept_because]
    result = RetentionResult(
        applied_at=done.at,
        kept=0,
        deleted=tuple(deletion.run for deletion in gone),
        deleted_count=len(gone),
        freed_bytes=sum(deletion.freed_bytes for deletion in gone),
        left=tuple(left[:_NAMED_AS_LEFT]),
        stopped=done.stopped,
        dry_run=done.dry_run,
        rules_digest=done.retention.digest,
    )
    return result.model_copy(update=_foretold(done.planned, dry_run=done.dry_run)) if done.planned else result


def _foretold(planned: Planned, *, dry_run: bool) -> dict[str, object]:
    """What a plan adds to a result."""
    plan = planned.plan
    outlook = Outlook(plan)
    departure = outlook.next_to_go()
    going = tuple(verdict.run.name for verdict in plan.going) if dry_run else ()
    return {
        "kept": len(plan.kept),
        "held_back": len(plan.held_back_by_the_floor),
        "next_to_go": departure and Departure(run=departure.run, at=departure.at),
        "rules": outlook.lines(),
        "going": going,
        "going_count": len(going),
        "going_bytes": sum(planned.sizes[run] for run in going),
        "blocked": len(planned.blocked),
    }


def rules_of(pruning: Pruning) -> RetentionRules:
    """The rules of an order. Raises: OrderInvalid for a time zone that the image does not know."""
    retention = pruning.retention
    try:
        zone = ZoneInfo(retention.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise OrderInvalid(
            f"retention's time zone {retention.time_zone!r} is unknown",
            hint=f"Write an IANA name such as Europe/Berlin: {_where_the_zone_is(pruning.asked_by)}.",
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


def _where_the_zone_is(asked_by: str) -> str:
    """What to type, for `namespace/name` of a policy; a person by hand has an option."""
    if asked_by.startswith(BY_HAND):
        return "--time-zone"
    namespace, _, policy = asked_by.partition("/")
    return f"`kubectl -n {namespace} edit bp {policy}`, spec.timeZone"


def _event(pruning: Pruning, workplace: Workplace, why: str) -> dict[str, str]:
    return {
        "at": workplace.now().isoformat(timespec="seconds"),
        "why": why,
        "policy": pruning.asked_by,
        "worker": workplace.host,
    }

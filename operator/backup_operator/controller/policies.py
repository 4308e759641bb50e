"""Room `controller`: one level-triggered reconcile for a BackupPolicy; called by `controller.queue`.

Parse, observe, apply, report: the same cluster gives the same objects and the same status, whatever happened before.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicy, BackupPolicyStatus, status_in
from backup_operator.api.meta import API_VERSION, Metadata
from backup_operator.controller.announce import announce
from backup_operator.controller.claims import ClaimFound, find_claim
from backup_operator.controller.cluster import (
    CRONJOBS,
    FIELD_MANAGER,
    JOBS,
    POLICIES,
    AlreadyExists,
    Cluster,
    Key,
    Manifest,
    Refused,
    key_of,
)
from backup_operator.controller.memory import Memory, writes_where_it_wants
from backup_operator.controller.notifier import Notifier
from backup_operator.controller.observe import Observation, observe, until_next_look
from backup_operator.controller.queue import RetryLater
from backup_operator.controller.refusals import raise_if_it_heals
from backup_operator.controller.settings import Settings
from backup_operator.manifests.children import cronjob_of, inventory_job_of
from backup_operator.manifests.compare import is_added_to, is_as_wanted
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.manifests.labels import cronjob_name, policy_of
from backup_operator.manifests.order import claim_of, retention_order, store_of
from backup_operator.rules.admission import accepted_run, judge_policy
from backup_operator.rules.conditions import Finding, ScheduleSeen
from backup_operator.rules.keeps import keeps
from backup_operator.rules.occurrences import happenings
from backup_operator.rules.previews import effect_is_unknown
from backup_operator.rules.runs import JobState
from backup_operator.rules.schedule import ScheduleInvalid, TimeZoneUnknown, next_run
from backup_operator.rules.status import (
    Sight,
    catalog_is_known,
    next_status,
    report_was_lost,
    vanished_job,
    wake_up_at,
)
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.vocabulary.conditions import ConditionStatus

log = logging.getLogger(__name__)

_TRY_REFUSED_AGAIN = timedelta(minutes=1)
_JUST_AFTER = timedelta(milliseconds=100)


@dataclass(frozen=True)
class _Case:
    """A policy that was read: its object, its spec where it can be read, and what was said about it."""

    raw: Manifest
    key: Key
    policy: BackupPolicy | None
    accepted: Finding
    before: BackupPolicyStatus

    @property
    def subject(self) -> Subject:
        """What Events and notices are about."""
        return Subject(POLICIES.kind, self.key.namespace, self.key.name, self.raw["metadata"]["uid"])

    @property
    def store(self) -> str:
        """The store that its CronJob writes to: the one that the spec names once it is accepted."""
        if self.policy is None or not self.accepted.holds:
            return self.before.store or ""
        return store_of(self.policy)


class Policies:
    """Reconciles BackupPolicies."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        memory: Memory,
        *,
        mark: Callable[[Key], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        notifier: Notifier | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._memory = memory
        self._mark = mark
        self._clock = settings.moved(clock)
        self._notifier = notifier or Notifier.silent()
        self._applied: dict[Key, tuple[Manifest, str]] = {}
        self._looked_again: set[Key] = set()
        """CronJobs that somebody added to while they were written, so that the write is tried once more."""

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring the cluster to what the policy wants and the status to what is; the pause until the next look.

        Raises: ClusterError, RetryLater.
        """
        raw = await self._cluster.get(POLICIES, key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None
        self._memory.learn_policy(raw)
        case = self._read(raw, key)
        now = self._clock()
        offset = self._settings.clock_offset
        claim = await self._claim(case)
        observed = await observe(self._cluster, self._memory, key, case.store, now - offset)
        seen = observed.on_claim_of(claim.created_at).moved_by(offset)
        schedule = _moved(await self._schedule(case, claim, now), offset)
        sight = replace(_sight(case, schedule, seen), claim_uid=claim.uid)
        after = next_status(case.before, sight, now)
        due = self._notifier.policy_due_at(case.before, after, sight.rpo)
        after = self._notifier.policy_noted(case.subject, case.before, after, sight.rpo)
        inventory_refused = not claim.refused and await self._read_store_where_needed(case, seen, after)
        await self._report(case, after, now)
        self._notifier.written(case.subject, after.notified)
        pauses = [until_next_look(now - seen.waits_since)] if seen.waits_since else []
        pauses += [_TRY_REFUSED_AGAIN] if schedule.refused or inventory_refused else []
        moments = [moment for moment in (wake_up_at(after, sight.rpo, now), due) if moment is not None]
        pauses += [max(moment - self._clock(), timedelta()) + _JUST_AFTER for moment in moments]
        return min(pauses, default=None)

    def _forget(self, key: Key) -> None:
        """Drop the policy; one that waited for its path gets its turn."""
        self._memory.forget_policy(key)
        self._notifier.gone(POLICIES.kind, key.namespace, key.name)
        cronjob = Key(key.namespace, cronjob_name(key.name))
        self._applied.pop(cronjob, None)
        self._looked_again.discard(cronjob)
        self._mark_neighbours(key)

    def _mark_neighbours(self, key: Key) -> None:
        for other in self._memory.policies():
            if other.namespace == key.namespace and other != key:
                self._mark(other)

    def _read(self, raw: Manifest, key: Key) -> _Case:
        spec, verdict = judge_policy(
            raw, neighbours=self._memory.neighbours(key.namespace), holds=writes_where_it_wants(raw)
        )
        policy = None if spec is None else BackupPolicy(metadata=Metadata.model_validate(raw["metadata"]), spec=spec)
        status = ConditionStatus.TRUE if verdict.accepted else ConditionStatus.FALSE
        return _Case(raw, key, policy, Finding(status, verdict.reason, verdict.message), _status_before(raw))

    async def _claim(self, case: _Case) -> ClaimFound:
        """What holds the store, where the spec is accepted."""
        if case.policy is None or not case.accepted.holds:
            return ClaimFound()
        return await find_claim(self._cluster, case.policy)

    async def _schedule(self, case: _Case, claim: ClaimFound, now: datetime) -> ScheduleSeen:
        """The CronJob after it was applied, where the spec is accepted; the last accepted one otherwise."""
        name = cronjob_name(case.key.name)
        live = await self._cluster.get(CRONJOBS, Key(case.key.namespace, name))
        if live is not None and policy_of(live) != case.key.name:
            taken = f"CronJob {case.key.namespace}/{name} exists and is not of this policy; delete or rename it: "
            return ScheduleSeen(refused=f"{taken}kubectl -n {case.key.namespace} delete cronjob {name}")
        if live is not None and live["metadata"].get("deletionTimestamp"):
            raise RetryLater(f"CronJob {name} is being deleted")
        if case.policy is None or not case.accepted.holds:
            return _seen_or_none(live, now)
        if claim.refused:
            return replace(_seen_or_none(live, now), refused=claim.refused)
        try:
            return _schedule_seen(await self._apply(live, cronjob_of(case.policy, self._settings.worker)), now)
        except Refused as exc:
            raise_if_it_heals(exc)
            return replace(_seen_or_none(live, now), refused=f"The API server refused CronJob {name}: {exc}")

    async def _apply(self, live: Manifest | None, wanted: Manifest) -> Manifest:
        """The CronJob as wanted; sent only when something differs that sending can change."""
        added = live is not None and _is_added_to(live, wanted)
        if live is not None and is_as_wanted(live, wanted) and not added:
            return live
        key = key_of(wanted)
        if live is not None and self._applied.get(key) == (wanted, live["metadata"]["resourceVersion"]):
            return live
        if live is not None and added:
            # applying takes back what others have changed, and leaves what they have added
            await self._cluster.replace(CRONJOBS, {**live, "spec": wanted["spec"]})
        applied = await self._cluster.apply(CRONJOBS, wanted)
        if _is_added_to(applied, wanted) and key not in self._looked_again:
            # somebody wrote in between, and the next look takes that off; what comes back each time stays
            self._looked_again.add(key)
        else:
            self._looked_again.discard(key)
            self._applied[key] = (wanted, applied["metadata"]["resourceVersion"])
        log.info("cronjob applied", extra={"cronjob": key.name, "namespace": key.namespace})
        return applied

    async def _read_store_where_needed(self, case: _Case, seen: Observation, after: BackupPolicyStatus) -> bool:
        """Start an inventory where something is to be learned from the store; whether the API server refused it."""
        if case.policy is None or not case.accepted.holds:
            return False
        cause = _cause_to_read(case, seen, after)
        if cause is None:
            return False
        job = inventory_job_of(case.policy, self._settings.worker, cause=cause)
        if job["metadata"]["name"] in {one.name for one in seen.inventories}:
            return False
        try:
            await self._cluster.create(JOBS, job)
        except AlreadyExists:
            return False
        except Refused as exc:
            raise_if_it_heals(exc)
            log.warning("inventory refused", extra={"policy": str(case.key), "error": str(exc)})
            return True
        log.info("inventory started", extra={"policy": str(case.key), "store": case.store, "cause": cause})
        return False

    async def _report(self, case: _Case, after: BackupPolicyStatus, now: datetime) -> None:
        """Write the status when it changed, bound to the object that was read, and tell what happened."""
        wire = after.wire()
        if wire == (case.raw.get("status") or {}):
            return
        metadata = case.raw["metadata"]
        target = {
            "namespace": case.key.namespace,
            "name": case.key.name,
            "resourceVersion": metadata["resourceVersion"],
        }
        body = {"apiVersion": API_VERSION, "kind": POLICIES.kind, "metadata": target, "status": wire}
        await self._cluster.apply_status(POLICIES, body)
        if case.before.store not in (None, after.store):
            self._mark_neighbours(case.key)
        told = [Occurrence(one.reason, one.note, one.warning) for one in happenings(case.before, after)]
        for one in told:
            log.info("policy changed", extra={"policy": str(case.key), "reason": one.reason, "note": one.note})
        await announce(self._cluster, case.subject, told, now, instance=self._settings.identity)


def _is_added_to(found: Manifest, wanted: Manifest) -> bool:
    return is_added_to(found, wanted, by_others_than=FIELD_MANAGER)


def _cause_to_read(case: _Case, seen: Observation, after: BackupPolicyStatus) -> str | None:
    """Why the store is to be read, in a word that tells one such Job from the next; None where nothing asks for it."""
    if lost := _lost_run(case, seen, after):
        return lost
    if not catalog_is_known(after, case.store):
        return after.claim_uid or ""
    if case.policy is None or any(one.state is JobState.ACTIVE for one in seen.inventories):
        return None
    rules = retention_order(case.policy)
    # the generation, too: rules may be changed and changed back while the Job of the first change is still there
    return f"rules/{rules.digest}/{case.policy.metadata.generation}" if effect_is_unknown(after, rules) else None


def _lost_run(case: _Case, seen: Observation, after: BackupPolicyStatus) -> str:
    """The run of which the store alone can tell how it ended; empty when there is none."""
    unread = report_was_lost(after, seen.backups)
    if unread is not None:
        return unread.uid
    gone = vanished_job(case.before, seen.backups) if case.before.store == case.store else None
    return f"{gone.job_name}/{gone.since}" if gone else ""


def _status_before(raw: Manifest) -> BackupPolicyStatus:
    try:
        return status_in(raw)
    except ValidationError as exc:
        log.warning("status unreadable, made anew", extra={"policy": raw["metadata"]["name"], "error": str(exc)})
        return BackupPolicyStatus()


def _sight(case: _Case, schedule: ScheduleSeen, seen: Observation) -> Sight:
    sight = Sight(
        namespace=case.key.namespace,
        name=case.key.name,
        generation=case.raw["metadata"].get("generation", 0),
        store=case.store,
        accepted=case.accepted,
        schedule=schedule,
        rpo=None,
        backups=seen.backups,
        inventories=seen.inventories,
    )
    return sight if case.policy is None else _with_spec(sight, case.policy)


def _with_spec(sight: Sight, policy: BackupPolicy) -> Sight:
    """What the spec says, where it can be read."""
    spec, rules = policy.spec, retention_order(policy)
    return replace(
        sight,
        rpo=spec.objectives.rpo,
        source_words=_source_words(policy),
        retention_words=keeps(rules),
        retention_digest=rules.digest,
        dry_run=rules.dry_run,
        accepted_run=accepted_run(policy.metadata.annotations),
        claim=claim_of(policy),
        usage_limit_percent=spec.storage.effective_usage_limit_percent,
    )


def _source_words(policy: BackupPolicy) -> str:
    source = policy.spec.source
    side = source.postgres or source.redis
    assert side is not None
    name = "PostgreSQL" if source.kind is SourceKind.POSTGRES else "Redis"
    return f"{name} {side.url_secret_ref.name}/{side.url_secret_ref.key}"


def _moved(schedule: ScheduleSeen, offset: timedelta) -> ScheduleSeen:
    """The same with the CronJob's time, which is the API server's, on our clock."""
    counts_from = schedule.counts_from
    return schedule if counts_from is None else replace(schedule, counts_from=counts_from + offset)


def _seen_or_none(live: Manifest | None, now: datetime) -> ScheduleSeen:
    return _schedule_seen(live, now) if live is not None else ScheduleSeen()


def _schedule_seen(live: Manifest, now: datetime) -> ScheduleSeen:
    spec, metadata = live["spec"], live["metadata"]
    counts_from = datetime.fromisoformat(
        live.get("status", {}).get("lastScheduleTime") or metadata["creationTimestamp"]
    )
    zone = spec.get("timeZone") or "Etc/UTC"
    try:
        following = next_run(spec["schedule"], zone, now, since=counts_from)
    except (ScheduleInvalid, TimeZoneUnknown):
        following = None
    suspended = bool(spec.get("suspend"))
    return ScheduleSeen(metadata["name"], spec["schedule"], zone, suspended, following, counts_from)

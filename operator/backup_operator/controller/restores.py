"""Room `controller`: one level-triggered reconcile for a RestoreRequest; called by `controller.queue`.

See, decide, write the status, act. The status goes first: `status.startedAt` stands in it before the Job that restores
is created, bound to the resourceVersion that was read, and a request that carries it never creates a second Job. Only
the process that wrote the marker and was not answered to the creation may try that again, under the same name.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_operator.api.meta import API_VERSION
from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.api.restorestatus import RestoreRequestStatus, status_in
from backup_operator.controller.announce import announce
from backup_operator.controller.cluster import (
    JOBS,
    RESTORES,
    AlreadyExists,
    Cluster,
    ClusterError,
    Key,
    Manifest,
    Refused,
    key_of,
)
from backup_operator.controller.memory import Memory
from backup_operator.controller.notifier import Notifier
from backup_operator.controller.observe import until_next_look
from backup_operator.controller.refusals import raise_if_it_heals
from backup_operator.controller.settings import Settings
from backup_operator.controller.sight import asked_by, is_owned_by
from backup_operator.controller.surroundings import Surroundings, look_around
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.manifests.labels import Work
from backup_operator.manifests.restore import restore_job, restore_job_name
from backup_operator.manifests.undo import undo_lines
from backup_operator.rules.admission import judge_restore_request
from backup_operator.rules.occurrences import restore_happenings
from backup_operator.rules.restore_words import undo_hint
from backup_operator.rules.restoring import Action, Decision, Sight, decide, has_begun, has_ended, refused

log = logging.getLogger(__name__)

_WORK = {Action.PLAN: Work.PLAN, Action.RESTORE: Work.RESTORE}


@dataclass(frozen=True)
class _Case:
    """A request that was read, and everything around it."""

    raw: Manifest
    key: Key
    before: RestoreRequestStatus
    request: RestoreRequest | None
    around: Surroundings
    sight: Sight


class Restores:
    """Reconciles RestoreRequests."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        memory: Memory,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        notifier: Notifier | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._memory = memory
        self._clock = settings.moved(clock)
        self._notifier = notifier or Notifier.silent()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By namespace: from looking who is at a target to the marker nobody else may decide."""
        self._unanswered: set[str] = set()
        """The uids of requests whose marker this process writes and whose Job it has not seen yet."""

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring a request one step further; the pause until the next look. Raises: ClusterError."""
        raw = await self._read(key)
        if raw is None:
            return None
        if has_begun(status_in(raw)):
            return await self._step(raw, key)
        async with self._turns[key.namespace]:
            # what was read before the lock may be old by now
            raw = await self._read(key)
            return None if raw is None else await self._step(raw, key)

    async def _read(self, key: Key) -> Manifest | None:
        """The request as it is; None when there is nothing left to do for it."""
        raw = await self._cluster.get(RESTORES, key)
        if raw is not None and not raw["metadata"].get("deletionTimestamp") and not has_ended(status_in(raw)):
            return raw
        if raw is None:
            self._memory.forget_request(key)
            self._notifier.gone(RESTORES.kind, key.namespace, key.name)
            return None
        self._memory.close_request(key)
        self._unanswered.discard(raw["metadata"]["uid"])
        if status_in(raw).notified is not None:
            # it has ended, and somebody is still to be told
            await self._report(raw, status_in(raw))
        return None

    async def _step(self, raw: Manifest, key: Key) -> timedelta | None:
        now = self._clock()
        case = await self._see(raw, key, now)
        decision = decide(case.before, case.sight, now)
        if decision.action is Action.RESTORE:
            self._unanswered.add(case.sight.uid)
        written = await self._report(case.raw, _with_undo(case, decision.status))
        try:
            after = await self._act(case, decision, written, now)
        except ClusterError:
            await self._tell(case, decision.status, now)
            raise
        await self._tell(case, after, now)
        waiting = case.around.waits_since
        return until_next_look(now - self._settings.clock_offset - waiting) if waiting else None

    async def _see(self, raw: Manifest, key: Key, now: datetime) -> _Case:
        request, verdict = judge_restore_request(raw)
        before, uid = status_in(raw), str(raw["metadata"]["uid"])
        there = now - self._settings.clock_offset
        around = await look_around(self._cluster, self._memory, raw, request, there)
        if around.restore_job is not None:
            self._unanswered.discard(uid)
        sight = Sight(
            namespace=key.namespace,
            name=key.name,
            uid=uid,
            generation=raw["metadata"].get("generation", 0),
            request=request,
            verdict=verdict,
            plan_job_name=restore_job_name(key.name, uid, Work.PLAN),
            restore_job_name=restore_job_name(key.name, uid, Work.RESTORE),
            store=around.store,
            never=around.never,
            waits=around.waits,
            plan_job=around.plan_job,
            restore_job=around.restore_job,
            left=around.left,
            overdue_pod=around.overdue_pod,
            may_create=uid in self._unanswered and not around.never and not around.waits,
        )
        return _Case(raw, key, before, request, around, sight)

    async def _report(self, read: Manifest, after: RestoreRequestStatus) -> Manifest:
        """Write the status where it changed, bound to the object that was read; the object as it is then."""
        metadata = read["metadata"]
        subject = Subject(RESTORES.kind, metadata["namespace"], metadata["name"], metadata["uid"])
        after = self._notifier.restore_noted(subject, status_in(read), after)
        written = await self._written(read, after)
        self._notifier.written(subject, after.notified)
        return written

    async def _written(self, read: Manifest, after: RestoreRequestStatus) -> Manifest:
        wire = after.wire()
        if wire == (read.get("status") or {}):
            return read
        names = ("namespace", "name", "uid", "resourceVersion")
        target = {name: read["metadata"][name] for name in names}
        log.info("restore", extra={"request": str(key_of(read)), "state": wire.get("state"), "said": after.message})
        return await self._cluster.apply_status(
            RESTORES, {"apiVersion": API_VERSION, "kind": RESTORES.kind, "metadata": target, "status": wire}
        )

    async def _tell(self, case: _Case, after: RestoreRequestStatus, now: datetime) -> None:
        """What happened, as Events; after the Job, so that nothing comes between the marker and that."""
        subject = Subject(RESTORES.kind, case.key.namespace, case.key.name, case.sight.uid)
        told = [Occurrence(one.reason, one.note, one.warning) for one in restore_happenings(case.before, after)]
        await announce(self._cluster, subject, told, now, instance=self._settings.identity)

    async def _act(self, case: _Case, decision: Decision, written: Manifest, now: datetime) -> RestoreRequestStatus:
        """Create the Job that is wanted; the status as it is then. Raises: ClusterError."""
        work = _WORK.get(decision.action)
        if work is None or case.request is None:
            return decision.status
        job = restore_job(
            case.request,
            case.around.policy,
            self._settings.worker,
            work=work,
            approved=(decision.status.pin or "") if work is Work.RESTORE else "",
            asked_by=asked_by(case.raw["metadata"]),
        )
        refusal = await self._create(case, job)
        after = refused(decision.status, job["metadata"]["name"], refusal, now) if refusal else decision.status
        await self._report(written, after)
        self._unanswered.discard(case.sight.uid)
        return after

    async def _create(self, case: _Case, job: Manifest) -> str:
        """Why the Job will never be made; empty when it is there. Raises: ClusterError."""
        key = key_of(job)
        try:
            await self._cluster.create(JOBS, job)
        except AlreadyExists as exc:
            there = await self._cluster.get(JOBS, key)
            return "" if there is None or is_owned_by(there, case.sight.uid) else f"{exc}, and is not of this request"
        except Refused as exc:
            raise_if_it_heals(exc)
            return str(exc)
        log.info("restore job created", extra={"request": str(case.key), "job": key.name})
        return ""


def _with_undo(case: _Case, after: RestoreRequestStatus) -> RestoreRequestStatus:
    """The manifest that brings back what the safety backup holds, once there is one."""
    if not after.safety_backup or after.safety_backup == case.before.safety_backup or case.request is None:
        return after
    hint = after.hint or undo_hint(case.key.namespace, case.key.name)
    return after.model_copy(update={"undo": undo_lines(case.request, after.safety_backup), "hint": hint})

"""Room `controller`: everything in the cluster that says something about a RestoreRequest; called by `restores`.

Its own Jobs and pods, the policy whose backups it wants, and, as long as it has not begun, who else is at its target.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.meta import Metadata
from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.api.restorestatus import RestoreRequestStatus, RestoreState, status_in
from backup_operator.contract.report import Fault
from backup_operator.controller.cluster import CLAIMS, JOBS, POLICIES, RESTORES, Cluster, Key, Manifest
from backup_operator.controller.memory import Memory
from backup_operator.controller.observe import Children, children, jobs_seen, waits_since
from backup_operator.controller.sight import (
    attempt_in,
    is_overdue,
    is_owned_by,
    job_name_of,
    job_state,
    moment,
    must_stop_by,
    url_secret_of,
    work_of,
)
from backup_operator.manifests.labels import (
    OURS,
    Work,
    policy_of,
    request_of,
    request_selector,
)
from backup_operator.manifests.order import store_of
from backup_operator.manifests.restore import restore_job_name, target_secret
from backup_operator.rules.admission import SpecInvalid, judge_restore_request, judge_restore_source, read_policy_spec
from backup_operator.rules.restoring import LeftPods, has_begun, has_ended
from backup_operator.rules.runs import JobSeen, JobState
from backup_operator.rules.turns import BusyJob, Standing, never, waits_for
from backup_operator.vocabulary.conditions import RestoreConditionType

_AT_A_SERVER = {Work.BACKUP: False, Work.RESTORE: True}
"""Jobs that are at a server, and whether they write there."""
Policies = Mapping[str, Manifest]


@dataclass(frozen=True)
class Surroundings:
    """What is around one request."""

    plan_job: JobSeen | None = None
    restore_job: JobSeen | None = None
    left: LeftPods = field(default_factory=LeftPods)
    overdue_pod: str = ""
    """A pod of the restore that was told to stop, and of which nobody knows whether it did."""
    waits_since: datetime | None = None
    """Since when a pod of it waits for something that no watch will tell."""
    policy: BackupPolicy | None = None
    """The policy whose backups are wanted; None without one, or while it cannot be used."""
    store: str = ""
    """Claim and path, `claim:path`."""
    never: Fault | None = None
    waits: str = ""

    @property
    def claim(self) -> str:
        """The claim that holds the store; empty while that is not known."""
        return self.store.partition(":")[0]


@dataclass(frozen=True)
class _Place:
    """What a request's turn depends on beside the requests: the namespace's policies, and the names of its claims."""

    policies: Policies
    claims: frozenset[str]


async def look_around(
    cluster: Cluster, memory: Memory, raw: Manifest, request: RestoreRequest | None, now: datetime
) -> Surroundings:
    """What there is. Raises: ClusterError."""
    around = await _own_jobs(cluster, memory, raw, now)
    if request is None:
        return around
    namespace = request.metadata.namespace
    policies = {one["metadata"]["name"]: one for one in await cluster.list(POLICIES, namespace)}
    around = _with_policy(around, request, policies)
    begun = has_begun(request.status) or around.restore_job is not None
    if begun or around.never or around.waits:
        return around
    claims = frozenset(one["metadata"]["name"] for one in await cluster.list(CLAIMS, namespace))
    if around.claim not in claims:
        since = moment(raw["metadata"]["creationTimestamp"])  # no watch tells of claims
        return replace(around, waits=_claim_missing(around.claim, namespace), waits_since=since)
    return await _with_turn(cluster, around, request, _Place(policies, claims))


async def _own_jobs(cluster: Cluster, memory: Memory, raw: Manifest, now: datetime) -> Surroundings:
    metadata = raw["metadata"]
    key, uid = Key(metadata["namespace"], metadata["name"]), metadata["uid"]
    found = await children(cluster, key.namespace, request_selector(key.name), lambda one: request_of(one) == key.name)
    own = Children(tuple(job for job in found.jobs if is_owned_by(job, uid)), found.pods)
    jobs = await jobs_seen(cluster, memory, own, now)
    by_work = {one.work: one.seen for one in jobs}
    name = restore_job_name(key.name, uid, Work.RESTORE)
    pods = [pod for pod in found.pods if job_name_of(pod) == name]
    return Surroundings(
        plan_job=by_work.get(Work.PLAN),
        restore_job=by_work.get(Work.RESTORE),
        left=_left(memory, key, name, pods),
        waits_since=max(filter(None, (waits_since(jobs), *map(must_stop_by, pods))), default=None),
        overdue_pod=next((str(pod["metadata"]["name"]) for pod in pods if is_overdue(pod, now)), ""),
    )


def _left(memory: Memory, request: Key, job_name: str, pods: Iterable[Manifest]) -> LeftPods:
    """What is known of the pods of a Job, be it there or gone; one that is being deleted may still write."""
    there = {pod["metadata"]["uid"]: attempt_in(pod) for pod in pods}
    known = memory.attempts_for(request, job_name) | {uid: one for uid, one in there.items() if one is not None}
    attempts = sorted(known.values(), key=lambda one: (one.finished_at, one.pod))
    return LeftPods(tuple(attempts), going=None in there.values())


def _with_policy(around: Surroundings, request: RestoreRequest, policies: Policies) -> Surroundings:
    store, ref = request.spec.origin.store, request.spec.origin.policy_ref
    if ref is None:
        return replace(around, store=f"{store.claim_name}:{store.path}" if store else "")
    if ref.name not in policies:
        elsewhere = "if it is gone for good, name its claim and path in from.store of another request"
        return replace(around, waits=f"BackupPolicy {ref.name} does not exist (yet); {elsewhere}.")
    try:
        policy = _policy(policies[ref.name])
    except SpecInvalid as exc:
        return replace(around, waits=f"BackupPolicy {ref.name} cannot be read: {exc}")
    verdict = judge_restore_source(request, policy)
    if not verdict.accepted:
        return replace(around, never=Fault(reason=verdict.reason, message=verdict.message))
    return replace(around, policy=policy, store=store_of(policy))


def _policy(raw: Manifest) -> BackupPolicy:
    """Raises: SpecInvalid."""
    return BackupPolicy(metadata=Metadata.model_validate(raw["metadata"]), spec=read_policy_spec(raw.get("spec")))


def _claim_missing(claim: str, namespace: str) -> str:
    return (
        f"Claim {claim}, which holds the store, does not exist (yet): kubectl -n {namespace} get pvc lists those there."
    )


async def _with_turn(cluster: Cluster, around: Surroundings, request: RestoreRequest, place: _Place) -> Surroundings:
    namespace = request.metadata.namespace
    requests = [one for one in await cluster.list(RESTORES, namespace) if not one["metadata"].get("deletionTimestamp")]
    standings = {one.name: one for one in (_standing(raw, place) for raw in requests)}
    me = standings.get(request.metadata.name)
    if me is None:
        # deleted since it was read
        return replace(around, waits="The request is being deleted.")
    fault = never(me, standings)
    if fault is not None:
        return replace(around, never=fault)
    jobs = await cluster.list(JOBS, namespace, labels=OURS)
    known = frozenset(one["metadata"]["uid"] for one in requests)
    return replace(around, waits=waits_for(me, standings, _busy(jobs, known)))


def _standing(raw: Manifest, place: _Place) -> Standing:
    metadata, status = raw["metadata"], status_in(raw)
    request, verdict = judge_restore_request(raw)
    created_at, state = moment(metadata["creationTimestamp"]), _state(status)
    message = status.message or ""
    if request is None or not verdict.accepted:
        return Standing(metadata["name"], created_at, state, message=message)
    return Standing(
        metadata["name"],
        created_at,
        state,
        target=_target(request, place),
        after=request.spec.after or (),
        writes=not request.spec.dry_run,
        message=message,
    )


def _state(status: RestoreRequestStatus) -> RestoreState | None:
    """By what is for good; the word in `state` is for people."""
    if has_ended(status):
        ends = {one.type for one in status.conditions}
        return RestoreState.FAILED if RestoreConditionType.FAILED.value in ends else RestoreState.COMPLETE
    return RestoreState.RUNNING if has_begun(status) else status.state


def _target(request: RestoreRequest, place: _Place) -> str:
    """The Secret that leads to the target; empty while that is not known, and before its store is there."""
    around = _with_policy(Surroundings(), request, place.policies)
    if around.never or around.waits or (around.claim not in place.claims and not has_begun(request.status)):
        return ""
    return target_secret(request, around.policy)


def _busy(jobs: Iterable[Manifest], requests: frozenset[str]) -> list[BusyJob]:
    """The Jobs that are at a server, but for those of requests that are there: these stand for themselves."""
    busy = []
    for job in jobs:
        work = work_of(job)
        if work not in _AT_A_SERVER or job_state(job) is not JobState.ACTIVE:
            continue
        if any(is_owned_by(job, uid) for uid in requests):
            continue
        policy, request = policy_of(job), request_of(job)
        owner = f"BackupPolicy {policy}" if policy else f"RestoreRequest {request}, which is gone,"
        busy.append(BusyJob(job["metadata"]["name"], url_secret_of(job), owner, writes=_AT_A_SERVER[work]))
    return busy

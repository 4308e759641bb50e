"""Room `controller`: Jobs and pods of ours with everything that says something about them.

Called by `policies` and `restores`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_operator.contract.report import Fault
from backup_operator.controller.cluster import CLAIMS, CORE_EVENTS, JOBS, PODS, Cluster, Key, Manifest
from backup_operator.controller.memory import Memory
from backup_operator.controller.sight import (
    attempt_in,
    claim_name_in,
    failed_condition,
    finished_at,
    is_going,
    is_waiting,
    job_state,
    job_uid_of,
    moment,
    remarks_in,
    store_in,
    waiting_pod,
    work_of,
)
from backup_operator.manifests.labels import Work, policy_of, policy_selector
from backup_operator.rules.pods import ClaimSeen, Remark, pods_refused, trouble_of
from backup_operator.rules.runs import Attempt, JobSeen, JobState

_ASK_AFTER = timedelta(seconds=4)
"""How old a waiting pod is when its Events are asked for: younger ones are on their way."""


_LOOK_AGAIN_AT_LEAST = timedelta(seconds=5)
_LOOK_AGAIN_AT_MOST = timedelta(minutes=1)
_LOOK_AGAIN_SHARE = 4


@dataclass(frozen=True)
class SeenJob:
    """A Job with what is known of it, and its pods that are there."""

    manifest: Manifest
    seen: JobSeen
    pods: tuple[Manifest, ...]

    @property
    def work(self) -> Work | None:
        """What it does; None when its label is not of this version."""
        return work_of(self.manifest)

    @property
    def waits(self) -> bool:
        """Whether it waits for something that comes as an Event or as time, not as a change of its pod."""
        if self.seen.state is not JobState.ACTIVE:
            return False
        going = [pod for pod in self.pods if is_going(pod)]
        return not going or any(is_waiting(pod) for pod in going)


@dataclass(frozen=True)
class Children:
    """The Jobs and pods that carry one label."""

    jobs: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]


@dataclass(frozen=True)
class Observation:
    """The Jobs of one policy's store."""

    backups: tuple[JobSeen, ...] = ()
    inventories: tuple[JobSeen, ...] = ()
    waits_since: datetime | None = None
    """Since when the youngest Job waits for something that no watch will tell; None when none does."""

    def on_claim_of(self, created_at: datetime | None) -> "Observation":
        """Without the Jobs that had ended when the claim was made: they wrote to another one of that name."""
        if created_at is None:
            return self

        def is_of_it(job: JobSeen) -> bool:
            return job.finished_at is None or job.finished_at >= created_at

        backups, inventories = filter(is_of_it, self.backups), filter(is_of_it, self.inventories)
        return Observation(tuple(backups), tuple(inventories), self.waits_since)

    def moved_by(self, offset: timedelta) -> "Observation":
        """The same on a clock that is so far ahead of the API server's."""
        if not offset:
            return self
        return Observation(
            tuple(one.moved_by(offset) for one in self.backups),
            tuple(one.moved_by(offset) for one in self.inventories),
            self.waits_since and self.waits_since + offset,
        )


async def observe(cluster: Cluster, memory: Memory, policy: Key, store: str, now: datetime) -> Observation:
    """The Jobs of this policy with their pods. Raises: ClusterError."""

    def is_ours(child: Manifest) -> bool:
        # a label holds a shortened name
        return policy_of(child) == policy.name

    found = await children(cluster, policy.namespace, policy_selector(policy.name), is_ours)
    of_store = tuple(job for job in found.jobs if work_of(job) is not None and store_in(job) == store)
    jobs = await jobs_seen(cluster, memory, Children(of_store, found.pods), now)
    return Observation(_of(Work.BACKUP, jobs), _of(Work.INVENTORY, jobs), waits_since(jobs))


def _of(work: Work, jobs: Iterable[SeenJob]) -> tuple[JobSeen, ...]:
    return tuple(one.seen for one in jobs if one.work is work)


async def children(cluster: Cluster, namespace: str, selector: str, is_ours: Callable[[Manifest], bool]) -> Children:
    """The Jobs, then the pods, that fit the label selector and are ours. Raises: ClusterError."""
    jobs = await cluster.list(JOBS, namespace, labels=selector)
    pods = await cluster.list(PODS, namespace, labels=selector)
    return Children(tuple(filter(is_ours, jobs)), tuple(filter(is_ours, pods)))


async def jobs_seen(cluster: Cluster, memory: Memory, found: Children, now: datetime) -> tuple[SeenJob, ...]:
    """Each Job with what its pods say; asks for Events where one does not start. Raises: ClusterError."""
    seen = []
    for job in found.jobs:
        own = tuple(pod for pod in found.pods if job_uid_of(pod) == job["metadata"]["uid"])
        seen.append(SeenJob(job, await _job_seen(cluster, memory, job, own, now), own))
    return tuple(seen)


def waits_since(jobs: Iterable[SeenJob]) -> datetime | None:
    """Since when the youngest Job waits for something that no watch will tell; None when none does."""
    return max((one.seen.created_at for one in jobs if one.waits), default=None)


def until_next_look(waited: timedelta) -> timedelta:
    """While a pod is on its way its Events are not watched: look often at first, then at a quarter of its age."""
    return min(max(waited / _LOOK_AGAIN_SHARE, _LOOK_AGAIN_AT_LEAST), _LOOK_AGAIN_AT_MOST)


async def _job_seen(
    cluster: Cluster, memory: Memory, job: Manifest, pods: tuple[Manifest, ...], now: datetime
) -> JobSeen:
    metadata, state = job["metadata"], job_state(job)
    reason, message = failed_condition(job)
    return JobSeen(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=moment(metadata["creationTimestamp"]),
        state=state,
        finished_at=finished_at(job),
        failed_reason=reason,
        failed_message=message,
        attempts=_attempts(memory, metadata["uid"], pods),
        trouble=await _trouble(cluster, job, pods, now) if state is JobState.ACTIVE else None,
    )


def _attempts(memory: Memory, job_uid: str, pods: Iterable[Manifest]) -> tuple[Attempt, ...]:
    """Ended pods, from old to new: those that are there and those that the watch saw before they were deleted."""
    listed = {pod["metadata"]["uid"]: attempt for pod in pods if (attempt := attempt_in(pod)) is not None}
    known = memory.attempts(job_uid) | listed
    return tuple(sorted(known.values(), key=lambda one: (one.finished_at, one.pod)))


async def _trouble(cluster: Cluster, job: Manifest, pods: tuple[Manifest, ...], now: datetime) -> Fault | None:
    """Why no pod of an active Job runs."""
    waiting = next((pod for pod in pods if is_waiting(pod)), None)
    if waiting is not None:
        return await _pod_trouble(cluster, waiting, now)
    if pods or now - moment(job["metadata"]["creationTimestamp"]) < _ASK_AFTER:
        return None
    remarks = await _remarks(cluster, job)
    refusal = next((one for one in remarks if one.reason == "FailedCreate"), None)
    metadata = job["metadata"]
    return pods_refused(metadata["namespace"], metadata["name"], refusal.message) if refusal else None


async def _pod_trouble(cluster: Cluster, pod: Manifest, now: datetime) -> Fault | None:
    at_once = waiting_pod(pod, ClaimSeen(claim_name_in(pod), "Bound"))
    if at_once.waiting_reason in ("", "ContainerCreating", "PodInitializing"):
        if now - at_once.created_at < _ASK_AFTER and not at_once.scheduler_says:
            return None
        return trouble_of(waiting_pod(pod, await _claim(cluster, pod), await _remarks(cluster, pod)), now)
    return trouble_of(at_once, now)


async def _claim(cluster: Cluster, pod: Manifest) -> ClaimSeen | None:
    name = claim_name_in(pod)
    if not name:
        return None
    claim = await cluster.get(CLAIMS, Key(pod["metadata"]["namespace"], name))
    if claim is None:
        return ClaimSeen(name, "")
    phase = claim.get("status", {}).get("phase", "")
    remarks = [] if phase == "Bound" else await _remarks(cluster, claim)
    return ClaimSeen(name, phase, remarks[0].message if remarks else "")


async def _remarks(cluster: Cluster, about: Manifest) -> list[Remark]:
    metadata = about["metadata"]
    events = await cluster.list(
        CORE_EVENTS, metadata["namespace"], fields=f"involvedObject.uid={metadata['uid']},type=Warning"
    )
    return remarks_in(events)

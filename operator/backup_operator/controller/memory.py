"""Room `controller`: what the watch has told and a LIST cannot tell again; filled by `controller.main`.

A cache: it is empty after a restart, and everything still ends in the same objects and status.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backup_operator.api.meta import ACCEPTED_ANNOTATION
from backup_operator.controller.cluster import Key, Manifest
from backup_operator.controller.sight import attempt_in, job_name_of, job_uid_of
from backup_operator.controller.signals import Signals
from backup_operator.manifests.labels import request_of
from backup_operator.rules.admission import StoreClaim, store_claim
from backup_operator.rules.runs import Attempt

GONE_JOBS_KNOWN = 10_000
"""A pod goes seconds after its Job, so that many may go at the same time; at 100 bytes each, 1 MB."""


@dataclass
class Memory:
    """Ended pods by Job, because a Job over its deadline deletes its pod and the report with it; stores; requests."""

    signals: Signals = field(default_factory=Signals)
    """Is told of every policy and request that comes, changes or goes."""
    _attempts: dict[str, dict[str, Attempt]] = field(default_factory=dict)
    _gone_jobs: dict[str, None] = field(default_factory=dict)
    """The Jobs that went last, in order: their pods are deleted after them, and nobody asks for those any more."""
    _stores: dict[Key, tuple[StoreClaim, ...]] = field(default_factory=dict)
    _versions: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    _requests: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    _open_requests: set[Key] = field(default_factory=set)
    _jobs_of_requests: dict[Key, dict[str, str]] = field(default_factory=dict)
    """The uid of each Job, by its name, whose pods are kept for a RestoreRequest until that has ended."""

    def remember_pod(self, pod: Manifest) -> None:
        """Keep what an ended pod says."""
        attempt, job = attempt_in(pod), job_uid_of(pod)
        if attempt is None or job is None or job in self._gone_jobs:
            return
        self._attempts.setdefault(job, {})[pod["metadata"]["uid"]] = attempt
        if (request := request_of(pod)) is not None:
            key = Key(pod["metadata"]["namespace"], request)
            self._jobs_of_requests.setdefault(key, {})[job_name_of(pod)] = job

    def forget_job(self, uid: str) -> None:
        """Drop what the pods of a Job that is gone have said."""
        self._attempts.pop(uid, None)
        self._gone_jobs[uid] = None
        if len(self._gone_jobs) > GONE_JOBS_KNOWN:
            del self._gone_jobs[next(iter(self._gone_jobs))]

    def attempts(self, job_uid: str) -> dict[str, Attempt]:
        """The ended pods of a Job that were seen, by their uid."""
        return dict(self._attempts.get(job_uid, {}))

    def attempts_for(self, request: Key, job_name: str) -> dict[str, Attempt]:
        """The ended pods of a request's Job that were seen, by their uid, be the Job there or gone."""
        return self.attempts(self._jobs_of_requests.get(request, {}).get(job_name, ""))

    def learn_request(self, request: Manifest) -> bool:
        """Take in a RestoreRequest; whether those that wait beside it may care: it is new, edited or one state on."""
        self.signals.request_seen(request)
        metadata, status = request["metadata"], request.get("status") or {}
        key = Key(metadata["namespace"], metadata["name"])
        known = (*(metadata.get(name) for name in ("uid", "generation", "deletionTimestamp")), status.get("state"))
        if _waits(request):
            self._open_requests.add(key)
        else:
            self._open_requests.discard(key)
        is_news = self._requests.get(key) != known
        self._requests[key] = known
        return is_news

    def forget_request(self, key: Key) -> None:
        """Drop a RestoreRequest that is gone."""
        self.signals.request_gone(key)
        self._requests.pop(key, None)
        self.close_request(key)

    def close_request(self, key: Key) -> None:
        """Drop what the pods of a RestoreRequest said that has ended."""
        self._open_requests.discard(key)
        for uid in self._jobs_of_requests.pop(key, {}).values():
            self.forget_job(uid)

    def open_requests(self, namespace: str) -> frozenset[Key]:
        """The RestoreRequests of a namespace that may wait for something."""
        return frozenset(key for key in self._open_requests if key.namespace == namespace)

    def learn_policy(self, policy: Manifest) -> bool:
        """Take in a policy; whether anything is new but what its status says of its runs."""
        self.signals.policy_seen(policy)
        metadata = policy["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        version = (
            *(metadata.get(name) for name in ("uid", "generation", "deletionTimestamp")),
            (metadata.get("annotations") or {}).get(ACCEPTED_ANNOTATION),
            store_in_use(policy),
        )
        if self._versions.get(key) == version:
            return False
        self._versions[key] = version
        self._stores[key] = _stores(policy)
        return True

    def forget_policy(self, key: Key) -> None:
        """Drop a policy that is gone."""
        self.signals.policy_gone(key)
        self._versions.pop(key, None)
        self._stores.pop(key, None)

    def policies(self) -> frozenset[Key]:
        """Every policy that was seen."""
        return frozenset(self._stores)

    def neighbours(self, namespace: str) -> tuple[StoreClaim, ...]:
        """The stores that the policies of a namespace write to, and those that they want to write to."""
        return tuple(store for key, stores in self._stores.items() if key.namespace == namespace for store in stores)


def _waits(request: Manifest) -> bool:
    """Whether a RestoreRequest may go on for something that is not its own; a plan waits for a person."""
    status = request.get("status") or {}
    if request["metadata"].get("deletionTimestamp") or "completedAt" in status or "startedAt" in status:
        return False
    return not (request["spec"].get("dryRun") and status.get("state") in ("Planned", "Planning"))


def store_in_use(policy: Manifest) -> str:
    """The store that a policy's CronJob writes to, `claim:path`, by its status; empty before it was first accepted."""
    return str((policy.get("status") or {}).get("store", ""))


def writes_where_it_wants(policy: Manifest) -> bool:
    """Whether a policy's CronJob writes already to the store that its spec names."""
    wanted = store_claim(policy)
    return wanted is not None and f"{wanted.claim_name}:{wanted.path}" == store_in_use(policy)


def _stores(policy: Manifest) -> tuple[StoreClaim, ...]:
    wanted = store_claim(policy, holds=writes_where_it_wants(policy))
    if wanted is not None and wanted.holds:
        return (wanted,)
    in_use = _claim_in_use(policy)
    return tuple(store for store in (wanted, in_use) if store is not None)


def _claim_in_use(policy: Manifest) -> StoreClaim | None:
    claim, colon, path = store_in_use(policy).partition(":")
    if not colon:
        return None
    metadata = policy["metadata"]
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    return StoreClaim(metadata["namespace"], metadata["name"], claim, path, created, holds=True)

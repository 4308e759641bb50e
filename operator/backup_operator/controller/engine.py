"""Room `controller`: the operator as a whole: its tasks, and what a watch event does; made by `controller.main`.

Kopf only watches; this holds the Lease, runs the workers of the queue and compares everything with a LIST now and then.
"""

import asyncio
import logging
import os
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_operator.api.meta import API_VERSION
from backup_operator.controller.announce import announce
from backup_operator.controller.cluster import (
    POLICIES,
    RESTORES,
    Cluster,
    ClusterError,
    Key,
    Manifest,
    Resource,
    key_of,
)
from backup_operator.controller.lease import Leadership
from backup_operator.controller.memory import Memory
from backup_operator.controller.notifier import Desk, Notifier
from backup_operator.controller.policies import Policies
from backup_operator.controller.queue import DirtyQueue, RetryLater
from backup_operator.controller.restores import Restores
from backup_operator.controller.settings import Settings
from backup_operator.controller.sight import job_state, work_of
from backup_operator.controller.signals import Signals
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.manifests.labels import Work, policy_of, request_of
from backup_operator.rules.runs import JobState

log = logging.getLogger(__name__)

_RESYNC_JITTER = 0.1
_SPREAD = 0.1
"""The part of a resync's interval over which its keys are spread."""
PAUSE_AFTER_ERROR = timedelta(seconds=3)
_EXIT_FAILED = 1


class CrdsMissing(Exception):
    """The API server does not know our kinds; the text says how to install them."""


@dataclass(frozen=True, order=True)
class Dirty:
    """What is to be reconciled: the plural of its kind, and where it is."""

    plural: str
    key: Key

    def __str__(self) -> str:
        return f"{self.plural} {self.key}"


class Engine:
    """What one operator process does besides watching."""

    def __init__(self, cluster: Cluster, settings: Settings, signals: Signals | None = None) -> None:
        self._cluster = cluster
        self._settings = settings
        self._signals = signals or Signals()
        self._memory = Memory(self._signals)
        self._queue: DirtyQueue[Dirty] = DirtyQueue(self._reconcile, expected=(RetryLater, ClusterError))
        desk = Desk(self._mark_subject, self._announce, settings.moved(lambda: datetime.now(UTC)))
        self.notifier = Notifier(settings.notifications, desk)
        self._policies = Policies(cluster, settings, self._memory, mark=self._mark_policy, notifier=self.notifier)
        self._restores = Restores(cluster, settings, self._memory, notifier=self.notifier)
        self._tasks: list[asyncio.Task[None]] = []
        self.leadership = Leadership(cluster, settings.lease, settings.identity, settings.lease_duration)
        self._show_figures()

    async def start(self) -> None:
        """Check the CRDs and start the tasks; the API server may be away meanwhile. Raises: CrdsMissing."""
        await self.check_crds()
        self._supervise(self.leadership.run(), "lease")
        self._supervise(self._work(), "work")
        if self.notifier.has_routes:
            self._supervise(self.notifier.run(), "notifier")

    async def stop(self) -> None:
        """End the tasks and let the next operator take over at once."""
        await self.notifier.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.leadership.give_up()
        await self._cluster.close()

    def _show_figures(self) -> None:
        show, lease = self._signals.add_gauge, str(self._settings.lease)
        self._signals.lease = lease
        show("queue_length", "Policies and requests that wait for their reconcile.", lambda: self._queue.length)
        is_leader = self.leadership.taken.is_set
        show(
            "leader", "1 for the operator that holds the Lease and works, 0 for one that waits.", is_leader, lease=lease
        )
        self._signals.add_notices(lambda: self.notifier.results)

    def policy_seen(self, policy: Manifest, *, deleted: bool) -> None:
        """A policy has come, changed or gone."""
        if deleted:
            self._signals.policy_gone(key_of(policy))
        if deleted or self._memory.learn_policy(policy):
            self._queue.mark(Dirty(POLICIES.plural, key_of(policy)))
            self._mark_open_requests(policy["metadata"]["namespace"])

    def restore_seen(self, request: Manifest, *, deleted: bool) -> None:
        """A RestoreRequest has come, changed or gone: it has its turn, and so have those that wait beside it."""
        is_news = self._memory.learn_request(request)
        if deleted:
            self._signals.request_gone(key_of(request))
        self._queue.mark(Dirty(RESTORES.plural, key_of(request)))
        if deleted or is_news:
            self._mark_open_requests(request["metadata"]["namespace"])

    def child_seen(self, child: Manifest) -> None:
        """A CronJob, Job or Pod of ours has come, changed or gone."""
        namespace = child["metadata"]["namespace"]
        if (policy := policy_of(child)) is not None:
            self._mark_policy(Key(namespace, policy))
        if (request := request_of(child)) is not None:
            self._queue.mark(Dirty(RESTORES.plural, Key(namespace, request)))

    def job_seen(self, job: Manifest) -> None:
        """A Job of ours has come or changed; one that has ended leaves its server to others."""
        self.child_seen(job)
        if job_state(job) is not JobState.ACTIVE:
            self._mark_open_requests(job["metadata"]["namespace"])

    def pod_seen(self, pod: Manifest) -> None:
        """A Pod of ours: keep what it says, for it may be gone a second later."""
        self._memory.remember_pod(pod)
        self.child_seen(pod)

    def job_gone(self, job: Manifest) -> None:
        """A Job of ours was deleted."""
        if work_of(job) is not Work.RESTORE:
            # what the pod of a restore has said counts even when its Job is gone
            self._memory.forget_job(job["metadata"]["uid"])
        self.child_seen(job)
        self._mark_open_requests(job["metadata"]["namespace"])

    def _mark_policy(self, key: Key) -> None:
        self._queue.mark(Dirty(POLICIES.plural, key))

    def _mark_open_requests(self, namespace: str) -> None:
        for key in self._memory.open_requests(namespace):
            self._queue.mark(Dirty(RESTORES.plural, key))

    def _mark_subject(self, subject: Subject) -> None:
        plural = POLICIES.plural if subject.kind == POLICIES.kind else RESTORES.plural
        self._queue.mark(Dirty(plural, Key(subject.namespace, subject.name)))

    async def _announce(self, subject: Subject, occurrence: Occurrence) -> None:
        await announce(self._cluster, subject, [occurrence], datetime.now(UTC), instance=self._settings.identity)

    async def _reconcile(self, dirty: Dirty) -> timedelta | None:
        if dirty.plural == POLICIES.plural:
            with self._signals.reconcile(POLICIES.kind):
                return await self._policies.reconcile(dirty.key)
        with self._signals.reconcile(RESTORES.kind):
            return await self._restores.reconcile(dirty.key)

    async def check_crds(self) -> None:
        """Wait for the API server and ask it for our kinds. Raises: CrdsMissing."""
        while True:
            try:
                missing = {POLICIES.plural, RESTORES.plural} - await self._cluster.kinds_served(API_VERSION)
            except ClusterError as exc:
                log.warning("API server not ready", extra={"error": str(exc)})
                await asyncio.sleep(PAUSE_AFTER_ERROR.total_seconds())
                continue
            if missing:
                raise CrdsMissing(
                    f"the API server does not know {', '.join(sorted(missing))} of {API_VERSION}; "
                    "install them with the chart: helm upgrade --install … --set crds.install=true"
                )
            return

    async def _work(self) -> None:
        """Wait for the Lease, learn every policy, then work: a store that is taken must be known before the first."""
        await self.leadership.taken.wait()
        await self._resync_until_done()
        for number in range(self._settings.workers):
            self._supervise(self._queue.work(), f"worker {number}")
        while True:
            jitter = 1 + random.uniform(-_RESYNC_JITTER, _RESYNC_JITTER)  # noqa: S311 - spreads load, guards nothing
            await asyncio.sleep(self._settings.resync.total_seconds() * jitter)
            await self._resync_until_done(self._settings.resync * _SPREAD)

    async def _resync_until_done(self, spread: timedelta = timedelta()) -> None:
        while True:
            try:
                return await self._resync(spread)
            except ClusterError as exc:
                log.warning("resync failed", extra={"error": str(exc)})
                await asyncio.sleep(PAUSE_AFTER_ERROR.total_seconds())

    async def _resync(self, spread: timedelta) -> None:
        """Mark everything that a LIST shows, and every policy that it no longer shows."""
        policies = await self._listed(POLICIES)
        for policy in policies:
            self._memory.learn_policy(policy)
        keys = {Dirty(POLICIES.plural, key_of(policy)) for policy in policies}
        keys |= {Dirty(POLICIES.plural, key) for key in self._memory.policies()}
        requests = await self._listed(RESTORES)
        for request in requests:
            self._memory.learn_request(request)
        keys |= {Dirty(RESTORES.plural, key_of(request)) for request in requests}
        for dirty in keys:
            if spread:
                self._queue.wake(dirty, spread * random.random())  # noqa: S311 - spreads load, guards nothing
            else:
                self._queue.mark(dirty)
        log.info("resync", extra={"keys": len(keys)})

    async def _listed(self, resource: Resource) -> list[Manifest]:
        namespaces = self._settings.namespaces or (None,)
        pages = [await self._cluster.list(resource, namespace) for namespace in namespaces]
        return [one for page in pages for one in page]

    def _supervise(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_end_the_process)
        self._tasks.append(task)


def _end_the_process(task: asyncio.Task[None]) -> None:
    """None of the tasks ever ends by itself: an operator with a dead one looks alive and does nothing."""
    if task.cancelled():
        return
    log.critical("task died", exc_info=task.exception(), extra={"task": task.get_name()})
    logging.shutdown()
    os._exit(_EXIT_FAILED)

"""An operator with routes, whose targets are real and whose API server is not. Used by the tests of notifications."""

import asyncio
import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from backup_operator.contract.report import BackupLine, Catalog, Fault, Report, encode
from backup_operator.controller.announce import announce
from backup_operator.controller.cluster import CRONJOBS, JOBS, PODS, RESTORES, Key
from backup_operator.controller.memory import Memory
from backup_operator.controller.notifier import Desk, Notifier
from backup_operator.controller.policies import Policies
from backup_operator.controller.restores import Restores
from backup_operator.manifests.event import Occurrence, Subject
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from tests.support.receivers import MailServer, Webhook
from tests.unit.controller.policing import NAME, NAMESPACE, World, policy

MINUTE = timedelta(minutes=1)
REFUSED = Fault(reason=Reason.CONNECTION_REFUSED, message="nobody listens", hint="start the server")


class House(World):
    """One policy, `prod/app-db`, and an operator that tells people of it."""

    def __init__(self, urls: Path, *routes: dict[str, Any]) -> None:
        self.urls = urls
        self._runs = 0
        super().__init__(NOTIFICATION_ROUTES=json.dumps(routes), NOTIFICATION_URLS=str(urls))

    def start_operator(self) -> None:
        """A new process: it remembers nothing."""
        self.memory = Memory()
        self.marked: list[Subject] = []
        self.notifier = Notifier(self.settings.notifications, Desk(self.marked.append, self._tell, lambda: self.now))
        given: dict[str, Any] = {"clock": lambda: self.now, "notifier": self.notifier}
        cluster: Any = self.cluster
        self.policies = Policies(cluster, self.settings, self.memory, mark=lambda _key: None, **given)
        self.restores = Restores(cluster, self.settings, self.memory, **given)

    def route(self, target: str, url: str) -> None:
        """The Secret has this URL now."""
        self.urls.mkdir(exist_ok=True)
        (self.urls / target).write_text(url)

    def passes(self, span: timedelta = MINUTE) -> None:
        """Time passes, and the operator has its turn."""
        self.now += span
        self.turn()

    def turn(self) -> None:
        """Every object is reconciled, every target has its turn, and what that marked is reconciled."""
        asyncio.run(self._turn())

    async def _turn(self) -> None:
        await self.look_at_all()
        await self.send()
        await self.write()

    async def look_at_all(self) -> None:
        """As after a resync."""
        await self.policies.reconcile(Key(NAMESPACE, NAME))
        for one in self.cluster.all(RESTORES):
            await self.restores.reconcile(Key(NAMESPACE, one["metadata"]["name"]))

    async def send(self) -> None:
        """Each target has its turn."""
        for route in self.settings.notifications.routes:
            await self.notifier.turn(route.target)

    async def write(self) -> None:
        """What was marked is reconciled."""
        while self.marked:
            subject = self.marked.pop()
            turns: Any = self.policies if subject.kind == "BackupPolicy" else self.restores
            await turns.reconcile(Key(subject.namespace, subject.name))

    def run_fails(self, fault: Fault = REFUSED) -> None:
        """The next run of the policy ends badly."""
        self._run(Report(outcome=Outcome.FAILED, started_at=self.now, completed_at=self.now, fault=fault))

    def run_succeeds(self) -> None:
        """The next run of the policy makes a backup."""
        name = f"backup_{self.now:%Y%m%d_%H%M%S}"
        times = {"started_at": self.now, "completed_at": self.now}
        line = BackupLine(name=name, size_bytes=1 << 20, rows=7, **times)
        self.store = (line, *self.store)
        catalog = Catalog(count=len(self.store), oldest_at=self.store[-1].started_at, backups=self.store)
        self._run(Report(outcome=Outcome.SUCCEEDED, run=name, backup=line, catalog=catalog, **times))

    def _run(self, report: Report) -> None:
        self.now += MINUTE
        report = report.model_copy(update={"completed_at": self.now})
        (cronjob,) = self.cluster.all(CRONJOBS)
        template = copy.deepcopy(cronjob["spec"]["jobTemplate"])
        self._runs += 1
        metadata = {
            **template["metadata"],
            "namespace": NAMESPACE,
            "name": f"{NAME}-{self._runs}",
            "creationTimestamp": report.started_at.isoformat(),
        }
        self.end(self.cluster.put(JOBS, {"metadata": metadata, "spec": template["spec"]}), report)
        if report.fault is not None:
            self._ended_badly(f"{NAME}-{self._runs}", report)

    def _ended_badly(self, name: str, report: Report) -> None:
        at = self.now.isoformat()
        job = self.cluster.objects[JOBS.plural, Key(NAMESPACE, name)]
        condition = {"type": "Failed", "status": "True", "lastTransitionTime": at, "reason": "BackoffLimitExceeded"}
        self.cluster.put(JOBS, {**job, "status": {"conditions": [condition]}})
        pod = self.cluster.objects[PODS.plural, Key(NAMESPACE, f"{name}-x")]
        ended = {"exitCode": 20, "startedAt": at, "finishedAt": at, "message": encode(report).decode()}
        container = {"name": "worker", "state": {"terminated": ended}}
        self.cluster.put(PODS, {**pod, "status": {"phase": "Failed", "containerStatuses": [container]}})

    def notified(self) -> dict[str, Any]:
        """What `status.notified` says; empty where it is absent."""
        return dict(self.status().get("notified") or {})

    async def _tell(self, subject: Subject, occurrence: Occurrence) -> None:
        cluster: Any = self.cluster
        await announce(cluster, subject, [occurrence], self.now, instance="operator-1")


async def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Give others their turns until it holds. Raises: TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - polls with a deadline
            await asyncio.sleep(0.01)


FAILED = "prod/app-db: the backup failed (ConnectionRefused)"
RECOVERED = "prod/app-db: backups succeed again"
HOOK, MAIL = {"urlKey": "hook"}, {"urlKey": "mail"}
SECRET_PATH = "T0k3n-0f-the-h00k"
SECRETS = (SECRET_PATH, "mail-Passw0rd", "hook-Passw0rd")


def made(urls: Path, webhook: Webhook, mail: MailServer, *routes: dict[str, Any]) -> House:
    house = House(urls, *routes)
    house.route("hook", webhook.url(SECRET_PATH, "me:hook-Passw0rd"))
    house.route("mail", mail.url())
    house.put(policy())
    house.settle()
    house.run_succeeds()
    house.turn()
    return house

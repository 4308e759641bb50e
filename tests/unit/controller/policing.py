"""A namespace with policies, an operator that can be killed, and workers that read a store as a test says."""

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_operator.contract.order import BackupOrder, InventoryOrder, RetentionOrder
from backup_operator.contract.report import BackupLine, Catalog, Report, RetentionResult, encode
from backup_operator.controller.cluster import CLAIMS, CRONJOBS, EVENTS, JOBS, PODS, POLICIES, Key
from backup_operator.controller.memory import Memory
from backup_operator.controller.policies import Policies
from backup_operator.controller.settings import Settings
from backup_operator.manifests.labels import ORDER_ANNOTATION, WORK_LABEL, Work
from backup_operator.vocabulary.choices import Outcome
from tests.unit.controller.fake_cluster import FakeCluster

NAMESPACE = "prod"
NAME = "app-db"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
TEMPLATE: dict[str, Any] = {"claimTemplate": {"size": "20Gi", "storageClassName": "fast"}}
ENVIRONMENT = {"BACKUP_IMAGE": "worker:1", "POD_NAME": "operator-1"}
HOUR = timedelta(hours=1)


def policy(uid: str = "uid-1", generation: int = 1, **spec: Any) -> dict[str, Any]:
    """A policy that runs once a day; a change of the spec comes with another generation."""
    wanted = {
        "source": {"postgres": {"urlSecretRef": {"name": "app", "key": "URL"}}},
        "schedule": "@daily",
        "encryption": {"passphraseSecretRef": {"name": "app", "key": "KEY"}},
        "storage": {"claimName": "backups"},
    }
    metadata = {"namespace": NAMESPACE, "name": NAME, "uid": uid, "generation": generation}
    return {"metadata": metadata, "spec": wanted | spec}


def stored(*ages: timedelta) -> tuple[BackupLine, ...]:
    """Backups of these ages, as the store lists them."""
    lines = []
    for age in ages:
        started = NOW - age
        name = f"backup_{started:%Y%m%d_%H%M%S}"
        ended = started + timedelta(seconds=30)
        lines.append(BackupLine(name=name, started_at=started, completed_at=ended, size_bytes=1 << 20, rows=7))
    return tuple(lines)


class World:
    """A cluster in memory with one operator."""

    def __init__(self, *, store: tuple[BackupLine, ...] = (), **environment: str) -> None:
        self.cluster = FakeCluster()
        self.store = store
        self.now = NOW
        self.settings = Settings.from_environment(ENVIRONMENT | environment)
        self.start_operator()

    def start_operator(self) -> None:
        """A new process: it remembers nothing."""
        self.memory = Memory()
        self.policies = Policies(
            self.cluster,  # type: ignore[arg-type]  # a fake of the door
            self.settings,
            self.memory,
            mark=lambda _key: None,
            clock=lambda: self.now,
        )

    def put(self, manifest: dict[str, Any]) -> None:
        """As a person applies it: what the operator has said of it stays."""
        known = self.cluster.objects.get((POLICIES.plural, Key(NAMESPACE, NAME)), {})
        status = {"status": known["status"]} if "status" in known else {}
        self.cluster.put(POLICIES, {**copy.deepcopy(manifest), **status})

    def remove(self) -> None:
        """As a person deletes the policy: what it owns goes with it."""
        self.cluster.remove(POLICIES, Key(NAMESPACE, NAME))
        for resource in (CRONJOBS, JOBS, PODS):
            for one in self.cluster.all(resource):
                self.cluster.remove(resource, Key(NAMESPACE, one["metadata"]["name"]))

    def reconcile(self) -> timedelta | None:
        """One turn of the operator."""
        return asyncio.run(self.policies.reconcile(Key(NAMESPACE, NAME)))

    def settle(self, *, workers: bool = True) -> None:
        """Turns of operator and workers until nothing changes."""
        seen: list[Any] = []
        while (now := copy.deepcopy(self.cluster.objects)) not in seen:
            seen.append(now)
            self.reconcile()
            if workers:
                self.work()

    def work(self) -> None:
        """Every inventory that was started has read the store."""
        for job in self.jobs(Work.INVENTORY):
            if not job.get("status"):
                self.end(job, self.inventory(job))

    def inventory(self, job: dict[str, Any]) -> Report:
        """What the worker of this Job reports: the store, and what the rules of its order would do."""
        order = InventoryOrder.model_validate_json(order_in(job["spec"]["template"]))
        rules = order.retention
        result = rules and RetentionResult(
            applied_at=self.now, kept=len(self.store), dry_run=True, rules_digest=rules.digest
        )
        oldest = self.store[-1].started_at if self.store else None
        return Report(
            kind="Inventory",
            outcome=Outcome.SUCCEEDED,
            started_at=self.now,
            completed_at=self.now,
            catalog=Catalog(count=len(self.store), oldest_at=oldest, backups=self.store),
            retention=result,
        )

    def good_run(self, newest: BackupLine) -> Report:
        """What a worker reports that made this backup."""
        return Report(
            outcome=Outcome.SUCCEEDED,
            run=newest.name,
            started_at=newest.started_at,
            completed_at=newest.completed_at,
            backup=newest,
            catalog=Catalog(count=len(self.store), oldest_at=self.store[-1].started_at, backups=self.store),
        )

    def end(self, job: dict[str, Any], report: Report) -> None:
        """Pod and Job end well, with this report."""
        metadata, template = job["metadata"], job["spec"]["template"]
        at = self.now.isoformat()
        ended = {"exitCode": 0, "startedAt": at, "finishedAt": at, "message": encode(report).decode()}
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                **copy.deepcopy(template["metadata"]),
                "namespace": NAMESPACE,
                "name": f"{metadata['name']}-x",
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
            "status": {
                "phase": "Succeeded",
                "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
            },
        }
        self.cluster.put(PODS, pod)
        condition = {"type": "Complete", "status": "True", "lastTransitionTime": at}
        self.cluster.put(JOBS, {**job, "status": {"conditions": [condition]}})

    def jobs(self, work: Work) -> list[dict[str, Any]]:
        """The Jobs that are there."""
        return [one for one in self.cluster.all(JOBS) if one["metadata"]["labels"][WORK_LABEL] == work.value]

    def inventories_created(self) -> int:
        """How many were ever started."""
        return sum(plural == JOBS.plural for plural, _ in self.cluster.created)

    def claims(self) -> list[dict[str, Any]]:
        """The claims that are there."""
        return self.cluster.all(CLAIMS)

    def order(self) -> BackupOrder:
        """What the CronJob's workers are asked to do."""
        (cronjob,) = self.cluster.all(CRONJOBS)
        return BackupOrder.model_validate_json(order_in(cronjob["spec"]["jobTemplate"]["spec"]["template"]))

    def rules(self) -> RetentionOrder:
        """The rules that they delete by."""
        rules = self.order().retention
        assert rules is not None
        return rules

    def status(self) -> dict[str, Any]:
        """What the operator says of the policy."""
        return dict(self.cluster.objects[POLICIES.plural, Key(NAMESPACE, NAME)].get("status") or {})

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition."""
        return {one["type"]: (one["status"], one["reason"]) for one in self.status().get("conditions", [])}

    def message(self, kind: str) -> str:
        """The words of one condition."""
        return next(str(one["message"]) for one in self.status()["conditions"] if one["type"] == kind)

    def events(self) -> list[str]:
        """The reasons of all Events."""
        return [one["reason"] for one in self.cluster.all(EVENTS)]


def order_in(template: dict[str, Any]) -> str:
    """The order of a pod's template."""
    return str(template["metadata"]["annotations"][ORDER_ANNOTATION])

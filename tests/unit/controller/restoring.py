"""A namespace with policies, RestoreRequests and an operator whose Jobs end as a test says."""

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_operator.contract.report import Fault
from backup_operator.contract.restore import CheckFound, RestoreReport, StepTaken, encode_restore
from backup_operator.controller.cluster import CLAIMS, EVENTS, JOBS, PODS, POLICIES, RESTORES, Key
from backup_operator.controller.memory import Memory
from backup_operator.controller.restores import Restores
from backup_operator.controller.settings import Settings
from backup_operator.manifests.labels import WORK_LABEL, Work
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from tests.unit.controller.fake_cluster import FakeCluster

NAMESPACE = "prod"
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
IN_PLACE: dict[str, Any] = {"target": {"postgres": {"strategy": "InPlace", "database": "app"}}, "confirm": "app"}
SETTINGS = Settings.from_environment({"BACKUP_IMAGE": "worker:1", "POD_NAME": "operator-1"})


def claim(name: str = "backups") -> dict[str, Any]:
    return {"metadata": {"namespace": NAMESPACE, "name": name}}


def policy(name: str = "app-db", *, secret: str = "app", kind: str = "postgres") -> dict[str, Any]:
    return {
        "metadata": {"namespace": NAMESPACE, "name": name, "uid": f"uid-of-policy-{name}", "generation": 1},
        "spec": {
            "source": {kind: {"urlSecretRef": {"name": secret, "key": "URL"}}},
            "schedule": "@daily",
            "encryption": {"passphraseSecretRef": {"name": "app", "key": "KEY"}},
            "storage": {"claimName": "backups"},
        },
    }


def request(name: str = "back", *, age: int = 0, policy_name: str = "app-db", **spec: Any) -> dict[str, Any]:
    """A request, `age` seconds older than others."""
    wanted = {
        "from": {"policyRef": {"name": policy_name}},
        "backup": {"latest": True},
        "target": {"postgres": {"database": "app_restored"}},
    }
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"uid-of-{name}",
            "generation": 1,
            "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
        },
        "spec": wanted | spec,
    }


def restored(**fields: Any) -> RestoreReport:
    """What a worker reports whose restore went well."""
    known: dict[str, Any] = {
        "outcome": Outcome.SUCCEEDED,
        "dry_run": False,
        "started_at": NOW,
        "completed_at": NOW + timedelta(seconds=42),
        "run": "backup_20261124_010000",
        "artifact": "backup_20261124_010000.sql.gz.gpg",
        "steps": (StepTaken(name="verify", seconds=1.4), StepTaken(name="restore", seconds=40)),
        "counts": {"public.users": 7},
        "counted": 7,
        "checks": (CheckFound(name="users", expected="at least 1", found="7", passed=True),),
    }
    return RestoreReport(**{**known, **fields})


def plan(**fields: Any) -> RestoreReport:
    """What a worker reports that has planned."""
    known: dict[str, Any] = {"dry_run": True, "plan": ("Into a new database.",), "pin": "pin-1"}
    return restored(counts={}, counted=None, checks=(), **{**known, **fields})


def failed(reason: Reason, **fields: Any) -> RestoreReport:
    """What a worker reports that could not go on."""
    fault = Fault(reason=reason, message="it could not", detail="for a cause", hint="do this")
    return restored(outcome=Outcome.FAILED, fault=fault, counts={}, counted=None, checks=(), **fields)


class World:
    """A cluster in memory with one operator, which can be killed."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.cluster = FakeCluster()
        self.cluster.put(CLAIMS, claim())
        self.now = NOW
        for one in objects:
            self.put(one)
        self.start_operator()

    def put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """A policy or a request, as a person applies it."""
        return self.cluster.put(RESTORES if "from" in manifest["spec"] else POLICIES, manifest)

    def start_operator(self) -> None:
        """A new process: it remembers nothing."""
        self.memory = Memory()
        self.restores = Restores(
            self.cluster,  # type: ignore[arg-type]  # a fake of the door
            SETTINGS,
            self.memory,
            clock=lambda: self.now,
        )

    def reconcile(self, name: str = "back") -> timedelta | None:
        """One turn of the operator."""
        return asyncio.run(self.restores.reconcile(Key(NAMESPACE, name)))

    def settle(self, *names: str) -> None:
        """Turns until nothing changes."""
        seen: list[Any] = []
        while (now := copy.deepcopy(self.cluster.objects)) not in seen:
            seen.append(now)
            for name in names or ("back",):
                self.reconcile(name)

    def request(self, name: str = "back") -> dict[str, Any]:
        """The request as the API server has it."""
        return self.cluster.objects[RESTORES.plural, Key(NAMESPACE, name)]

    def status(self, name: str = "back") -> dict[str, Any]:
        """Its status; empty before the operator has seen it."""
        return dict(self.request(name).get("status") or {})

    def true_conditions(self, name: str = "back") -> dict[str, str]:
        """The conditions that are true, with their reason."""
        found = self.status(name).get("conditions", [])
        return {one["type"]: one["reason"] for one in found if one["status"] == "True"}

    def approve(self, name: str = "back") -> None:
        """dryRun: false."""
        manifest = copy.deepcopy(self.request(name))
        manifest["spec"]["dryRun"] = False
        manifest["metadata"]["generation"] += 1
        self.put(manifest)

    def jobs(self, work: Work = Work.RESTORE) -> list[dict[str, Any]]:
        """The Jobs that are there."""
        return [one for one in self.cluster.all(JOBS) if one["metadata"]["labels"][WORK_LABEL] == work.value]

    def created_jobs(self, word: str = "-restore-") -> list[str]:
        """Every Job that was ever created for a restore, by name."""
        return [key.name for plural, key in self.cluster.created if plural == JOBS.plural and word in key.name]

    def run_pod(self, work: Work = Work.RESTORE, **status: Any) -> dict[str, Any]:
        """The Job's pod, running unless `status` says otherwise."""
        (job,) = self.jobs(work)
        metadata = job["metadata"]
        template = job["spec"]["template"]
        running = {"phase": "Running", "containerStatuses": [{"name": "worker", "state": {"running": {}}}]}
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                **copy.deepcopy(template["metadata"]),
                "namespace": NAMESPACE,
                "name": f"{metadata['name']}-x",
                "uid": f"pod-of-{metadata['uid']}",
                "ownerReferences": [owner],
                "creationTimestamp": NOW.isoformat(),
            },
            "spec": template["spec"],
            "status": status or running,
        }
        return self.cluster.put(PODS, pod)

    def end_pod(self, report: RestoreReport | None, work: Work = Work.RESTORE, **terminated: Any) -> dict[str, Any]:
        """The Job's pod has ended, with a report or without."""
        message = {"message": encode_restore(report).decode()} if report else {}
        code = 0 if report and report.fault is None else 20
        ended = {"exitCode": code, "startedAt": NOW.isoformat(), "finishedAt": NOW.isoformat(), **message, **terminated}
        phase = "Succeeded" if ended["exitCode"] == 0 else "Failed"
        return self.run_pod(work, phase=phase, containerStatuses=[{"name": "worker", "state": {"terminated": ended}}])

    def end_job(self, kind: str, work: Work = Work.RESTORE, reason: str = "BackoffLimitExceeded") -> None:
        """The Job is `Complete` or `Failed`."""
        (job,) = self.jobs(work)
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": NOW.isoformat()}
        self.cluster.put(JOBS, {**job, "status": {"conditions": [condition]}})

    def run_job(self, report: RestoreReport, work: Work = Work.RESTORE) -> None:
        """Pod and Job end as the report says."""
        self.end_pod(report, work)
        self.end_job("Complete" if report.fault is None else "Failed", work)

    def remove_job(self) -> None:
        """As a person does: the Job is gone, and the watch tells."""
        (job,) = self.jobs()
        self.cluster.remove(JOBS, Key(NAMESPACE, job["metadata"]["name"]))

    def events(self) -> list[str]:
        """The reasons of all Events."""
        return [one["reason"] for one in self.cluster.all(EVENTS)]

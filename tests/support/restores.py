"""A RestoreRequest in a cluster, as a person with kubectl sees it. Used by the e2e tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Seen, conditions_of
from tests.support.polling import wait_until

RESTORE_SECONDS = 180
"""A restore of a small database takes five; the rest is for a machine that does much else."""
REQUEST_LABEL = "backup.agentsflow.ai/request"
WORK_LABEL = "backup.agentsflow.ai/work"
LATEST = {"latest": True}


def restore_request(
    name: str,
    target: Mapping[str, Any],
    *,
    origin: Mapping[str, Any],
    backup: Mapping[str, Any] | None = None,
    **spec: Any,
) -> objects.Manifest:
    """A request for the newest backup, unless `backup` says another; further fields of the spec by name."""
    wanted = {"from": dict(origin), "backup": dict(backup or LATEST), "target": dict(target), **spec}
    return {
        "apiVersion": objects.API_VERSION,
        "kind": "RestoreRequest",
        "metadata": {"name": name},
        "spec": wanted,
    }


def of_policy(name: str) -> objects.Manifest:
    """The backups of a policy."""
    return {"policyRef": {"name": name}}


def of_store(path: str, claim: str = "backups", *, key: str = "BACKUP_ENCRYPTION_KEY") -> objects.Manifest:
    """The backups below a path of a claim, opened by this key of Secret `app`."""
    encryption = {"passphraseSecretRef": {"name": "app", "key": key}}
    return {"store": {"claimName": claim, "path": path, "encryption": encryption}}


def into_postgres(**options: Any) -> objects.Manifest:
    """A PostgreSQL server: the source's, unless `urlSecretRef` says another."""
    return {"postgres": options}


def into_redis(**options: Any) -> objects.Manifest:
    """A Redis server: the source's, unless `urlSecretRef` says another."""
    return {"redis": options}


def url_at(key: str) -> objects.Manifest:
    """The connection URL in this key of Secret `app`."""
    return {"urlSecretRef": {"name": "app", "key": key}}


@dataclass(frozen=True)
class Restore:
    """One RestoreRequest by its name."""

    namespace: Namespace
    name: str

    @property
    def object(self) -> dict[str, Any]:
        """The object as the API server has it; empty when there is none."""
        return self.namespace.find("restorerequest", self.name)

    @property
    def status(self) -> dict[str, Any]:
        """Its status; empty before the operator has seen it."""
        return dict(self.object.get("status", {}))

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Every Job that was made for it, as long as it is there."""
        return self.namespace.list("job", f"{REQUEST_LABEL}={self.name}")

    def wait_for_state(self, *states: str, timeout_seconds: float = RESTORE_SECONDS) -> dict[str, Any]:
        """Its status, once it is in one of these states. Raises: NotInTime with the whole status."""
        wanted = f"{self.namespace.name}/{self.name} is {' or '.join(states)}"
        return wait_until(
            lambda: Seen(self.status),
            lambda seen: seen.get("state") in states,
            for_what=wanted,
            timeout_seconds=timeout_seconds,
        )

    def completed(self) -> dict[str, Any]:
        """Its status, once it has ended, which must be well."""
        status = self.wait_for_state("Complete", "Failed")
        assert status["state"] == "Complete", self._story(status)
        assert _true_conditions(status) - {"Planned"} == {"Complete"}
        return status

    def failed(self, *reasons: str) -> dict[str, Any]:
        """Its status, once it has ended, which must be for one of these reasons."""
        status = self.wait_for_state("Complete", "Failed")
        assert status["state"] == "Failed", self._story(status)
        failed = conditions_of(status)["Failed"]
        assert failed["reason"] in reasons, self._story(status)
        assert _true_conditions(status) - {"Planned"} == {"Failed"}
        return status

    def planned(self, reason: str = "Planned") -> dict[str, Any]:
        """Its status, once its plan is there."""
        status = self.wait_for_state("Planned", "Complete", "Failed")
        planned = conditions_of(status).get("Planned", {})
        assert (status["state"], planned.get("reason")) == ("Planned", reason), self._story(status)
        return status

    def approve(self) -> None:
        """What a person does who has read the plan."""
        self.namespace.patch("restorerequest", self.name, {"spec": {"dryRun": False}})

    def wait_for_pod(self, *, timeout_seconds: float = RESTORE_SECONDS) -> str:
        """The name of the pod that restores, once it runs."""
        selector = f"{REQUEST_LABEL}={self.name},{WORK_LABEL}=restore"
        found = wait_until(
            lambda: self.namespace.list("pod", selector),
            lambda pods: pods and pods[0]["status"].get("phase") == "Running",
            for_what=f"the pod of {self.name}",
            timeout_seconds=timeout_seconds,
        )
        return str(found[0]["metadata"]["name"])

    @property
    def undo(self) -> str:
        """The manifest, or the commands, that bring back what was there before."""
        return "\n".join(self.status["undo"]) + "\n"

    @property
    def columns(self) -> dict[str, str]:
        """What `kubectl get rr` prints about it, by heading; none of them holds two spaces."""
        header, line = self.namespace.kubectl("get", "rr", self.name).splitlines()
        starts = [header.index(title) for title in header.split()]
        return {header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)}

    def _story(self, status: Mapping[str, Any]) -> str:
        job = status.get("jobName", "")
        there = job and self.namespace.find("job", job)
        log = self.namespace.kubectl("logs", f"job/{job}", "--all-pods", "--tail=40") if there else ""
        return f"{Seen(status)}\n{log}"


def _true_conditions(status: Mapping[str, Any]) -> set[str]:
    return {name for name, found in conditions_of(status).items() if found["status"] == "True"}

"""A BackupPolicy in a cluster, as a person with kubectl sees it. Used by the e2e tests and the demo."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kubectl import Namespace
from tests.support.polling import wait_until

RUN_SECONDS = 180
"""A run of a small database takes three; the rest is for a machine that does much else."""
SAID_SECONDS = 90
"""The operator says what it sees within a second; the rest is for a machine that does much else."""
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Policy:
    """One BackupPolicy by its name."""

    namespace: Namespace
    name: str

    @property
    def object(self) -> dict[str, Any]:
        """The object as the API server has it; empty when there is none."""
        return self.namespace.find("backuppolicy", self.name)

    @property
    def status(self) -> dict[str, Any]:
        """Its status; empty before the operator has seen it."""
        return dict(self.object.get("status", {}))

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """Its conditions by type."""
        return conditions_of(self.status)

    def wait_for(
        self, condition: str, status: str, reason: str = "", *, timeout_seconds: float = SAID_SECONDS
    ) -> dict[str, Any]:
        """The condition, once it has that status and reason (empty: any). Raises: NotInTime with the whole status."""

        def holds(found: dict[str, Any]) -> bool:
            said = conditions_of(found).get(condition, {})
            return said.get("status") == status and reason in ("", said.get("reason"))

        wanted = f"{condition}={status} {reason} of {self.namespace.name}/{self.name}"
        found = wait_until(lambda: Seen(self.status), holds, for_what=wanted, timeout_seconds=timeout_seconds)
        return conditions_of(found)[condition]

    def wait_for_cronjob(self) -> str:
        """The name of the policy's CronJob, once the operator has made it by the newest edit of the policy."""
        self.wait_for("Scheduled", "True" if not self.is_suspended else "False")
        wait_until(
            lambda: self.object,
            lambda seen: seen["status"].get("observedGeneration") == seen["metadata"]["generation"],
            for_what="the operator has seen the newest edit",
        )
        return self.cronjob["metadata"]["name"]  # type: ignore[no-any-return] # a name is text

    @property
    def is_suspended(self) -> bool:
        """What its spec says."""
        return bool(self.object["spec"].get("suspend", False))

    @property
    def cronjob(self) -> dict[str, Any]:
        """The CronJob that the operator made for it; empty when there is none."""
        owned = (one for one in self.namespace.list("cronjob") if self._owns(one))
        return next(owned, {})

    def _owns(self, child: Mapping[str, Any]) -> bool:
        owners = child["metadata"].get("ownerReferences", [])
        return any(owner["kind"] == "BackupPolicy" and owner["name"] == self.name for owner in owners)

    def start(self, job: str, change: Change | None = None) -> None:
        """Starts a run by hand, as a person does. `change` alters the Job before it is created."""
        command = ("create", "job", f"--from=cronjob/{self.wait_for_cronjob()}", job)
        if change is None:
            self.namespace.kubectl(*command)
            return
        manifest = json.loads(self.namespace.kubectl(*command, "--dry-run=client", "--output=json"))
        change(manifest)
        self.namespace.kubectl("create", "--filename=-", stdin=json.dumps(manifest).encode())

    def wait_for_job(self, job: str, *, timeout_seconds: float = RUN_SECONDS) -> str:
        """`Complete` or `Failed`, once the Job has ended."""
        return wait_until(
            lambda: job_end(self.namespace.find("job", job)),
            bool,
            for_what=f"job {job}",
            timeout_seconds=timeout_seconds,
        )

    def back_up(self, job: str, *, timeout_seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """A run by hand that must end well: `status.lastSuccessfulBackup` of this very run."""
        before = self.status.get("backupCount", 0)
        self.start(job)
        ended = self.wait_for_job(job, timeout_seconds=timeout_seconds)
        assert ended == "Complete", (
            f"{ended}: {self.status}\n{self.namespace.kubectl('logs', f'job/{job}', '--all-pods')}"
        )
        found = wait_until(
            lambda: Seen(self.status),
            lambda status: status.get("backupCount", 0) > before,
            for_what=f"{self.namespace.name}/{self.name} knows the backup of {job}",
            timeout_seconds=SAID_SECONDS,
        )
        return dict(found["lastSuccessfulBackup"])

    @property
    def columns(self) -> dict[str, str]:
        """What `kubectl get bp` prints about it, by heading."""
        header, line = self.namespace.kubectl("get", "bp", self.name).splitlines()
        starts = [header.index(title) for title in _titles(header)]
        ends = [*starts[1:], None]
        return {header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}


class Seen(dict[str, Any]):
    """A status that prints itself in full when it is not the one that was waited for."""

    def __str__(self) -> str:
        """Indented JSON."""
        return json.dumps(self, indent=1)


def conditions_of(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions by type."""
    return {condition["type"]: dict(condition) for condition in status.get("conditions", [])}


def job_end(job: Mapping[str, Any]) -> str:
    """`Complete`, `Failed`, or empty while it runs."""
    ends = [
        condition["type"]
        for condition in job.get("status", {}).get("conditions", [])
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    return str(ends[0]) if ends else ""


def _titles(header: str) -> list[str]:
    """Headings are separated by at least two spaces; one heading can hold one space (`LAST GOOD`)."""
    return [title.strip() for title in header.split("  ") if title.strip()]

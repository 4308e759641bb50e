"""Room `worker`: what a restore knows about itself by now, so that a report can be written wherever it stops."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from backup_operator.contract.restore import RestoreReport, StepTaken
from backup_operator.vocabulary.choices import Outcome
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.log import fields
from backup_operator.worker.opening import OpenBackup, StoredArtifact
from backup_operator.worker.targets.base import Applied, TargetPlan
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)


@dataclass
class RestoreAccount:
    """Filled in step by step; `succeeded` or `failed` says how it ended."""

    started_at: datetime
    dry_run: bool
    run: str = ""
    artifact: str = ""
    recorded: bool = True
    may_have_written: bool = False
    """Whether the target may hold something of the restore by now."""
    is_complete: bool = False
    """Whether all is restored and every check holds: nothing that follows makes it fail."""
    lines: list[str] = field(default_factory=list)
    """What the worker itself has to say of the plan, before the target's lines."""
    plan: TargetPlan | None = None
    safety_line: str = ""
    """What the worker says of the safety backup, before the target's lines."""
    confirm_obstacle: str = ""
    """What is in the way that no target sees: nobody has said that its content may go."""
    pin: str = ""
    steps: list[StepTaken] = field(default_factory=list)
    safety_backup: str = ""
    notes: list[str] = field(default_factory=list)
    applied: Applied | None = None
    checks: Checks = field(default_factory=Checks)

    _main: StoredArtifact | None = None

    def take(self, backup: OpenBackup) -> None:
        """What is restored is known by now."""
        self.run = backup.name
        self.recorded = backup.entry is not None
        self._main = backup.artifacts[0]
        self.artifact = self._main.name

    @property
    def kind(self) -> str:
        """Of the main artifact; empty before it is known."""
        return str(self._main.kind) if self._main else ""

    @property
    def stored_sha256(self) -> str:
        """Of the main artifact; empty before it is known."""
        return self._main.proven.stored_sha256 if self._main and self._main.proven else ""

    @property
    def plain_bytes(self) -> int | None:
        """Of the main artifact; None before it is known."""
        return self._main.plain_bytes if self._main and self._main.proven else None

    def succeeded(self, workplace: Workplace) -> RestoreReport:
        """The report of a restore, or its planning, that did all it should."""
        return self._report(None, workplace)

    def failed(self, error: WorkerError, workplace: Workplace) -> RestoreReport:
        """The report of one that could not go on."""
        return self._report(error, workplace)

    def _report(self, error: WorkerError | None, workplace: Workplace) -> RestoreReport:
        applied = self.applied or Applied(counts={})
        # a restore runs at most once, so that nothing in it is ever tried again
        fault = error and error.fault().model_copy(update={"retryable": False})
        return RestoreReport(
            outcome=Outcome.FAILED if error else Outcome.SUCCEEDED,
            dry_run=self.dry_run,
            started_at=self.started_at,
            completed_at=workplace.now(),
            run=self.run,
            artifact=self.artifact,
            recorded=self.recorded,
            into=self.plan.into if self.plan else "",
            plan=tuple(self._page()),
            obstacles=tuple(self._obstacles()),
            pin=self.pin,
            steps=tuple(self.steps),
            counts=dict(applied.counts),
            counted=sum(applied.counts.values()) if self.applied else None,
            checks=tuple(self.checks.found),
            safety_backup=self.safety_backup,
            notes=(*workplace.warnings, *self.notes, *applied.notes),
            undo=applied.undo,
            fault=fault,
        )

    def _page(self) -> Iterator[str]:
        """In the order in which things happen."""
        yield from self.lines
        if self.plan is None:
            return
        if self.safety_line:
            yield self.safety_line
        yield from self.plan.lines
        yield from self.checks.lines()

    def _obstacles(self) -> Iterator[str]:
        if self.confirm_obstacle:
            yield self.confirm_obstacle
        yield from self.plan.obstacles if self.plan else ()


class Steps:
    """Times the steps as they follow one another, and tells them to the log."""

    def __init__(self, account: RestoreAccount, clock: Callable[[], float]) -> None:
        self._account, self._clock = account, clock
        self._name, self._began = "", 0.0

    def begin(self, name: str) -> None:
        """The step before has ended; this one begins."""
        self.end()
        self._name, self._began = name, self._clock()
        _LOG.info("step", extra=fields(name=name))

    def end(self) -> None:
        """The last step has ended; may be called twice."""
        if self._name:
            self._account.steps.append(StepTaken(name=self._name, seconds=round(self._clock() - self._began, 3)))
        self._name = ""

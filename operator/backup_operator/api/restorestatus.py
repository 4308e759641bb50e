"""Room `api`: `status` of a RestoreRequest; written by `controller.restores`, imported by `api.restorerequest`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from backup_operator.api.meta import CONDITION_LIST, Condition, Time
from backup_operator.api.notified import NotifiedStatus
from backup_operator.api.parts import StatusPart


class RestoreState(StrEnum):
    """How far a request is, in one word."""

    WAITING = "Waiting"
    PLANNING = "Planning"
    PLANNED = "Planned"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Step(StatusPart):
    """A step of the restore."""

    name: str
    """What was done."""
    seconds: int
    """How long it took."""


class CheckResult(StatusPart):
    """What a check found."""

    name: str
    """Name of the check."""
    expected: str
    """What was expected."""
    found: str
    """What was found."""
    passed: bool
    """Whether it held."""


class RestoreRequestStatus(StatusPart):
    """What was planned and what was done; every field is present only when it is known."""

    observed_generation: int | None = None
    """The metadata.generation that this status was made for."""
    conditions: Annotated[tuple[Condition, ...], Field(json_schema_extra=CONDITION_LIST)] = ()
    """Planned, and in the end exactly one of Complete and Failed."""
    artifact: str | None = None
    """The file that is restored."""
    recorded: bool | None = None
    """False: a file of the old scripts, of which no entry says what it should hold."""
    plan: tuple[str, ...] = ()
    """What the restore will do, line by line."""
    pin: str | None = None
    """Stands for the plan: what is approved by dryRun: false. A plan that differs is not carried out."""
    job_name: str | None = None
    """The Job that plans or restores, and whose pod has the log."""
    steps: tuple[Step, ...] = ()
    """What was done, in order."""
    checks: tuple[CheckResult, ...] = ()
    """What the checks found."""
    rows: int | None = None
    """Rows found in the target afterwards (PostgreSQL)."""
    keys: int | None = None
    """Keys found in the target afterwards (Redis)."""
    notes: tuple[str, ...] = ()
    """What is worth knowing, line by line: what was left alone or left out, and how much."""
    started_at: Time | None = None
    """When it began; from then on it never runs again."""
    completed_at: Time | None = None
    """When it ended."""
    duration_seconds: int | None = None
    """How long it took."""
    safety_backup: str | None = None
    """The backup that was made of the target's own content, kept for 7 days."""
    undo: tuple[str, ...] = ()
    """The manifest or the commands that bring back what was there before, line by line."""
    message: str | None = None
    """How it ended and in what state the target is, in a sentence."""
    hint: str | None = None
    """What to type next."""
    notified: NotifiedStatus | None = None
    """What notifications still owe; absent while that is nothing."""
    source: str | None = None
    """Whose backup it is, in words."""
    backup: str | None = None
    """Which backup it is, in words."""
    target: str | None = None
    """Where it goes, in words."""
    state: RestoreState | None = None
    """How far it is, in one word."""


def status_in(raw: Mapping[str, Any]) -> RestoreRequestStatus:
    """The status of a RestoreRequest as the API server gives it."""
    return RestoreRequestStatus.in_object(raw)

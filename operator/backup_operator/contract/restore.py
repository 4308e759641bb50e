"""Room `contract`: what the operator asks a restoring worker to do; written by `manifests`, read by `worker.cli`.

Like every order it is JSON without a secret. Nothing is overwritten unless `confirm` names it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from backup_operator.contract.order import Letter, PostgresTls, RedisTls, SecretFile, StoreOrder
from backup_operator.contract.report import Fault, cut_fault, cut_text, first_that_fits
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, Outcome, PostgresStrategy, RedisStrategy

_TEXT_LIMITS_BYTES = (600, 240, 120, 60)
_LINES_KEPT = (40, 20, 12, 8, 5, 3)


class Selection(Letter):
    """Which backup: exactly one of name, before and latest."""

    name: str = ""
    """A run, a safety backup, or a file of the old scripts."""
    before: datetime | None = None
    """The newest verified run that began at or before this time."""
    latest: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((bool(self.name), self.before is not None, self.latest)) != 1:
            raise ValueError("exactly one of name, before and latest is expected")
        return self


class PostgresTargetOrder(Letter):
    """Restore into a PostgreSQL server."""

    url: SecretFile
    tls: PostgresTls = PostgresTls()
    strategy: PostgresStrategy = PostgresStrategy.NEW_DATABASE
    database: str = ""
    """What is made or overwritten; empty: `<database>_restored_<time>` for NewDatabase, else the URL's."""
    drop_dependents: bool = False
    """InPlace: drop what hangs on replaced objects and is not in the backup; else it stops the restore."""
    missing_roles: MissingRoles = MissingRoles.STOP
    globals: bool = False
    """Make the backup's roles first; passwords of roles that are there are never touched."""
    jobs: int = 2
    """Sessions that load side by side, where the strategy allows them."""
    lock_timeout_seconds: int = 60


class RedisTargetOrder(Letter):
    """Restore into a Redis server over the network; /N in the URL limits everything to that database."""

    url: SecretFile
    tls: RedisTls = RedisTls()
    strategy: RedisStrategy = RedisStrategy.FAIL_IF_NOT_EMPTY
    existing: ExistingKeys = ExistingKeys.KEEP
    """Merge only."""
    key_pattern: str = ""
    """Only keys that match this glob; empty: all."""
    scratch_bytes: int | None = None
    """What the scratch volume may hold, whatever its file system has free; None: as much as that."""


class CheckOrder(Letter):
    """What must hold afterwards; one of sql, redis_database and http_url, compared with one of the limits."""

    name: str
    sql: str = ""
    redis_database: int | None = None
    redis_key: str = ""
    http_url: str = ""
    http_status: int = 200
    minimum: int | None = None
    equals: str | None = None
    newest_within: timedelta | None = None


class RequestIdentity(Letter):
    """Whose order it is, and who asked, for the audit trail."""

    namespace: str
    name: str
    uid: str
    asked_by: str = ""


class RestoreOrder(Letter):
    """Plan or do one restore: exactly one of postgres and redis."""

    version: Literal[1] = 1
    kind: Literal["Restore"] = "Restore"
    request: RequestIdentity
    store: StoreOrder
    passphrases: tuple[SecretFile, ...]
    """The current one first, then previous ones."""
    selection: Selection
    postgres: PostgresTargetOrder | None = None
    redis: RedisTargetOrder | None = None
    dry_run: bool = False
    """Do everything that does not write, and report the plan."""
    approved: str = ""
    """The pin of the plan that a person approved; a plan with another pin is not carried out."""
    confirm: str = ""
    safety_backup: bool = True
    checks: tuple[CheckOrder, ...] = ()
    deadline: timedelta
    progress_interval: timedelta = timedelta(seconds=10)

    @model_validator(mode="after")
    def _exactly_one_target(self) -> Self:
        if (self.postgres is None) == (self.redis is None):
            raise ValueError("exactly one of postgres and redis is expected")
        return self


class StepTaken(Letter):
    """A step of a restore and how long it took."""

    name: str
    seconds: float


class CheckFound(Letter):
    """What a check found, in words."""

    name: str
    expected: str
    found: str
    passed: bool


class RestoreReport(Letter):
    """How a restore, or its planning, ended; `fault` is set when it failed."""

    version: Literal[1] = 1
    kind: Literal["Restore"] = "Restore"
    outcome: Outcome
    dry_run: bool
    started_at: datetime
    completed_at: datetime
    run: str = ""
    artifact: str = ""
    """The main file that is restored."""
    into: str = ""
    """The database that it goes into, or `<host>/<N>` of a Redis; empty while that is not known."""
    recorded: bool = True
    """False for a file of the old scripts, of which no entry says what it should hold."""
    plan: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    """Why the plan cannot be carried out as things are."""
    pin: str = ""
    """Stands for the plan; an approval names it."""
    steps: tuple[StepTaken, ...] = ()
    counts: Mapping[str, int] = Field(default_factory=dict)
    """Rows by table, or keys by `db<N>`, as found in the target afterwards."""
    counted: int | None = None
    """The sum of `counts`, kept where they are too many for the letter."""
    checks: tuple[CheckFound, ...] = ()
    safety_backup: str = ""
    """The run that brings back what was overwritten."""
    notes: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    fault: Fault | None = None


def encode_restore(report: RestoreReport) -> bytes:
    """The report as JSON of at most REPORT_LIMIT_BYTES: counts go first, then the ends of long lists, then of texts."""
    candidates = _shorter_and_shorter(report)
    return first_that_fits(one.model_dump_json(exclude_none=True, exclude_defaults=True) for one in candidates)


def decode_restore(letter: str | bytes) -> RestoreReport:
    """The report in a termination message. Raises: pydantic.ValidationError when it is none."""
    return RestoreReport.model_validate_json(letter)


def _shorter_and_shorter(report: RestoreReport) -> Iterator[RestoreReport]:
    yield report
    for limit_bytes in _TEXT_LIMITS_BYTES:
        for kept in _LINES_KEPT:
            yield _cut_down(report, kept, limit_bytes)


def _cut_down(report: RestoreReport, kept: int, limit_bytes: int) -> RestoreReport:
    def lines(texts: tuple[str, ...]) -> tuple[str, ...]:
        cut = tuple(cut_text(text, limit_bytes) for text in texts[:kept])
        left_out = len(texts) - kept
        return (*cut, f"… {left_out} more, see the log of the pod") if left_out > 0 else cut

    failed_first = sorted(report.checks, key=lambda check: check.passed)
    return report.model_copy(
        update={
            "counts": {},
            "plan": lines(report.plan),
            "obstacles": lines(report.obstacles),
            "notes": lines(report.notes),
            "undo": lines(report.undo),
            "steps": report.steps[:kept],
            "checks": tuple(_cut_check(check, limit_bytes) for check in failed_first[:kept]),
            "fault": report.fault and cut_fault(report.fault, 2 * limit_bytes),
        }
    )


def _cut_check(check: CheckFound, limit_bytes: int) -> CheckFound:
    return check.model_copy(
        update={"expected": cut_text(check.expected, limit_bytes), "found": cut_text(check.found, limit_bytes)}
    )

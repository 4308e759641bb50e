"""Room `contract`: what the operator asks a restoring worker to do; written by `manifests`, read by `worker.cli`.

Like every order it is JSON without a secret. Nothing is overwritten unless `confirm` names it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from backup_operator.contract.order import Letter, PostgresTls, RedisTls, SecretFile, StoreOrder
from backup_operator.contract.report import Fault
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, Outcome, PostgresStrategy, RedisStrategy


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
    """Parallel jobs of pg_restore, where the strategy allows them."""
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


class RestoreReport(Letter):
    """How a restore, or its planning, ended; `fault` is set when it failed."""

    version: Literal[1] = 1
    kind: Literal["Restore"] = "Restore"
    outcome: Outcome
    dry_run: bool
    started_at: datetime
    completed_at: datetime
    run: str = ""
    plan: tuple[str, ...] = ()
    pin: str = ""
    """Stands for the plan; an approval names it."""
    steps: tuple[StepTaken, ...] = ()
    counts: Mapping[str, int] = Field(default_factory=dict)
    """Rows by table, or keys by `db<N>`, as found in the target afterwards."""
    safety_backup: str = ""
    notes: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    fault: Fault | None = None

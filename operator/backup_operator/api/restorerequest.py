"""Room `api`: one restore that runs at most once; read by `rules.admission` and `controller.restores`."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from backup_operator.api.check import Checks, checks_fit
from backup_operator.api.job import RestoreJobSettings
from backup_operator.api.meta import Bool, Metadata, ObjectName, Time
from backup_operator.api.parts import Format, Part, Rule, Transition, exactly_one_of
from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.api.restoretarget import Target
from backup_operator.api.storage import Store

KIND = "RestoreRequest"
PLURAL = "restorerequests"


class RedisArtifact(StrEnum):
    """Which artifact of a Redis backup is restored."""

    RDB = "Rdb"
    AOF = "Aof"


class PolicyRef(Part):
    """A BackupPolicy in the same namespace."""

    name: ObjectName
    """Name of the BackupPolicy."""


class From(Part):
    """Whose backups: exactly one of policyRef and store."""

    rules: ClassVar = (exactly_one_of("policy_ref", "store"),)
    policy_ref: PolicyRef | None = None
    """The policy that made the backup."""
    store: Store | None = None
    """A store on a claim, when no policy is left."""


class BackupChoice(Part):
    """Which backup: exactly one of name, before and latest."""

    rules: ClassVar = (exactly_one_of("name", "before", "latest"),)
    name: (
        Annotated[
            str,
            Format(
                "[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a run, or of a file in the store", "backup_20231201_020000"
            ),
        ]
        | None
    ) = None
    """Name of the run as in the policy's status.backups, or of a file of the old scripts."""
    before: Time | None = None
    """The newest verified backup that began at or before this time; none is an error."""
    latest: Literal[True] | None = None
    """True: the newest verified backup."""
    artifact: RedisArtifact | None = None
    """Which artifact of a Redis backup. Default: Rdb."""


def _confirmed(spec: "RestoreRequestSpec") -> bool:
    return bool(spec.confirm) or not spec.target.overwrites


def _confirm_names_what_is_overwritten(spec: "RestoreRequestSpec") -> bool:
    if spec.confirm is None or not spec.target.overwrites:
        return True
    if spec.target.redis_volume is not None:
        return spec.confirm == spec.target.redis_volume.claim_name
    return spec.target.postgres is None or spec.target.postgres.database in (None, spec.confirm)


def _target_has_a_url(spec: "RestoreRequestSpec") -> bool:
    target = spec.target.postgres or spec.target.redis
    return spec.origin.store is None or target is None or target.url_secret_ref is not None


_OVERWRITES = (
    "((has(self.target.postgres) && has(self.target.postgres.strategy)"
    " && self.target.postgres.strategy != 'NewDatabase')"
    " || (has(self.target.redis) && has(self.target.redis.strategy) && self.target.redis.strategy != 'FailIfNotEmpty')"
    " || has(self.target.redisVolume))"
)


def _immutable(field: str, name: str) -> Transition:
    """The field stays as it was created."""
    return Transition(
        cel=f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
        message=f"{name} is immutable; create another RestoreRequest (only dryRun can go from true to false)",
        holds=lambda new, old: getattr(new, field) == getattr(old, field),
    )


class RestoreRequestSpec(Part):
    """What is restored and where to; immutable, except that dryRun can go from true to false, which is the approval."""

    rules: ClassVar = (
        Rule(
            cel=f"!{_OVERWRITES} || (has(self.confirm) && self.confirm != '')",
            message="confirm is missing and content can be lost; write the name of what is overwritten: the database, "
            "<host>/<N> or <host>/all of a Redis, or the claim",
            holds=_confirmed,
        ),
        Rule(
            cel=f"!has(self.confirm) || !{_OVERWRITES}"
            " || ((!has(self.target.postgres) || !has(self.target.postgres.database)"
            " || self.confirm == self.target.postgres.database)"
            " && (!has(self.target.redisVolume) || self.confirm == self.target.redisVolume.claimName))",
            message="confirm is not the name of what is overwritten; write the target's database, or the claim",
            holds=_confirm_names_what_is_overwritten,
        ),
        Rule(
            cel="!has(self.from.store) || has(self.target.redisVolume)"
            " || (has(self.target.postgres) && has(self.target.postgres.urlSecretRef))"
            " || (has(self.target.redis) && has(self.target.redis.urlSecretRef))",
            message="a store knows no server; write the target's urlSecretRef",
            holds=_target_has_a_url,
        ),
        Rule(
            cel="!has(self.backup.artifact) || !has(self.target.postgres)",
            message="artifact is for Redis only; leave it out",
            holds=lambda spec: spec.backup.artifact is None or spec.target.postgres is None,
        ),
        Rule(
            cel="!has(self.checks) || self.checks.all(check,"
            " has(self.target.postgres) ? !has(check.redis) : !has(check.sql))",
            message="a check asks what the target is not; write sql for postgres, redis for redis, and http for both",
            holds=lambda spec: checks_fit(spec.checks or (), is_postgres=spec.target.postgres is not None),
        ),
    )
    transitions: ClassVar = (
        *(
            _immutable(field, name)
            for field, name in (
                ("origin", "from"),
                ("backup", "backup"),
                ("target", "target"),
                ("confirm", "confirm"),
                ("safety_backup", "safetyBackup"),
                ("after", "after"),
                ("checks", "checks"),
                ("job", "job"),
            )
        ),
        Transition(
            cel="(has(oldSelf.dryRun) && oldSelf.dryRun) || !(has(self.dryRun) && self.dryRun)",
            message="dryRun can go from true to false only; create another RestoreRequest for a plan",
            holds=lambda new, old: bool(old.dry_run) or not new.dry_run,
        ),
    )
    origin: Annotated[From, Field(alias="from")]
    """Whose backups: exactly one of policyRef and store."""
    backup: BackupChoice
    """Which backup: exactly one of name, before and latest."""
    target: Target
    """Where the restore goes: exactly one of postgres, redis and redisVolume."""
    dry_run: Bool | None = None
    """True: write the plan to status and touch nothing; setting it to false approves that plan. Default: false."""
    confirm: Annotated[str, Field(max_length=512)] | None = None
    """What may be lost: the database; <host>/<N> of a Redis, <host>/all without /N in its URL; or the claim. Required
    where content can be lost."""
    safety_backup: Bool | None = None
    """Back up the target's own content first; when that fails nothing runs. Default: true."""
    after: Annotated[tuple[ObjectName, ...], Field(max_length=20)] | None = None
    """RestoreRequests that must be Complete first, in the same namespace. Default: none."""
    checks: Checks | None = None
    """What must hold afterwards, beside the policy's checks, which are not asked of a safety backup. Default: the
    policy's."""
    job: RestoreJobSettings | None = None
    """How the restore's Job and pod are made. Default: 6h, and the policy's resources and nodes."""


class RestoreRequest(BaseModel):
    """One restore, planned, confirmed, verified, and run at most once."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    metadata: Metadata
    spec: RestoreRequestSpec
    status: RestoreRequestStatus = RestoreRequestStatus()

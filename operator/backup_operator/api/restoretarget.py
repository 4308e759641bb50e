"""Room `api`: `spec.target` of a RestoreRequest: where a restore goes. Imported by `api.restorerequest`."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from backup_operator.api.meta import Bool, ObjectName, SecretKeyRef
from backup_operator.api.parts import Part, Rule, exactly_one_of
from backup_operator.api.source import PostgresTls, RedisTls
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, PostgresStrategy, RedisStrategy

_DATABASE = Annotated[str, Field(min_length=1, max_length=63)]


class PostgresTarget(Part):
    """A PostgreSQL server."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.dropDependents) || !self.dropDependents"
            " || (has(self.strategy) && self.strategy == 'InPlace')",
            message="dropDependents is for InPlace only; leave it out, the other strategies drop nothing",
            holds=lambda part: not part.drop_dependents or part.strategy == PostgresStrategy.IN_PLACE,
        ),
        Rule(
            cel="!has(self.jobs) || self.jobs == 1 || !has(self.strategy) || self.strategy != 'InPlace'",
            message="jobs is not for InPlace, which is one transaction; leave it out",
            holds=lambda part: part.jobs in (None, 1) or part.strategy != PostgresStrategy.IN_PLACE,
        ),
    )
    url_secret_ref: SecretKeyRef | None = None
    """The connection URL; its role makes or overwrites the database. Default: the source's."""
    tls: PostgresTls | None = None
    """TLS to the server. Default: the source's with the source's URL, else what the URL's sslmode says."""
    strategy: PostgresStrategy | None = None
    """NewDatabase, SwapDatabase or InPlace. Default: NewDatabase, which overwrites nothing."""
    database: _DATABASE | None = None
    """The database that is made or overwritten. Default: <database>_restored_<time> for NewDatabase, else the URL's."""
    drop_dependents: Bool | None = None
    """InPlace: also drop what hangs on replaced objects and is not in the backup. Default: false, which stops then."""
    missing_roles: MissingRoles | None = None
    """Roles of the backup that the server lacks: Stop, or LeaveOut their ownership and grants. Default: Stop."""
    globals: Bool | None = None
    """Make the backup's roles first; passwords of roles that are there stay as they are. Default: false."""
    jobs: Annotated[StrictInt, Field(ge=1, le=16)] | None = None
    """Parallel jobs of pg_restore for a backup in Custom format, not with InPlace. Default: 2."""


class RedisTarget(Part):
    """A Redis or Valkey server, written to over the network; with /N in its URL only database N is touched."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.existing) || (has(self.strategy) && self.strategy == 'Merge')",
            message="existing is for Merge only; write strategy: Merge, or leave it out",
            holds=lambda part: part.existing is None or part.strategy == RedisStrategy.MERGE,
        ),
    )
    url_secret_ref: SecretKeyRef | None = None
    """The connection URL. Default: the source's."""
    tls: RedisTls | None = None
    """TLS to the server. Default: the source's with the source's URL, else the CAs of the image with rediss://."""
    strategy: RedisStrategy | None = None
    """FailIfNotEmpty, Merge or Replace. Default: FailIfNotEmpty, which overwrites nothing."""
    existing: ExistingKeys | None = None
    """Merge: Keep the target's value of a key that is on both sides, or Replace it by the backup's. Default: Keep."""
    key_pattern: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Only keys that match this glob, for example session:*. Default: all keys."""


class WorkloadKind(StrEnum):
    """What runs the Redis server."""

    STATEFUL_SET = "StatefulSet"
    DEPLOYMENT = "Deployment"


class WorkloadRef(Part):
    """What runs the Redis server, in the same namespace."""

    kind: WorkloadKind
    """StatefulSet or Deployment."""
    name: ObjectName
    """Its name."""


class RedisVolumeTarget(Part):
    """The volume of a Redis server that is scaled down meanwhile."""

    claim_name: ObjectName
    """PersistentVolumeClaim of the server, in the same namespace."""
    workload_ref: WorkloadRef
    """What is scaled down, and up again afterwards."""


class Target(Part):
    """Where the restore goes: exactly one of postgres, redis and redisVolume."""

    rules: ClassVar = (exactly_one_of("postgres", "redis", "redis_volume"),)
    postgres: PostgresTarget | None = None
    """A PostgreSQL server."""
    redis: RedisTarget | None = None
    """A Redis server, over the network."""
    redis_volume: RedisVolumeTarget | None = None
    """The volume of a Redis server."""

    @property
    def overwrites(self) -> bool:
        """Whether content that is there can be lost."""
        if self.postgres is not None:
            return self.postgres.strategy not in (None, PostgresStrategy.NEW_DATABASE)
        return self.redis is None or self.redis.strategy not in (None, RedisStrategy.FAIL_IF_NOT_EMPTY)

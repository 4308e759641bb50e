"""Room `contract`: what the operator asks a worker to do; written by `manifests.job`, read by `worker.cli`.

An order is JSON without any secret: secrets are named by the file they are mounted at.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from backup_operator.vocabulary.choices import Compression, DumpFormat, Profile, RedisMethod, SourceKind, TlsMode


class Letter(BaseModel):
    """A part of an order: frozen, and nothing unknown is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SecretFile(Letter):
    """A mounted secret: where it is, and how a person calls it (`key REDIS_URL of Secret prod/app`)."""

    path: str
    described: str
    command: str = ""
    """What to type to create it; shown as the hint when it is missing."""


class NameFilter(Letter):
    """Exact schema names; both lists empty means everything."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class TableFilter(Letter):
    """Exact table names, `table` or `schema.table`, quoted as in SQL where they hold dots or capitals are meant."""

    exclude: tuple[str, ...] = ()
    exclude_data: tuple[str, ...] = ()


class PostgresTls(Letter):
    """TLS to PostgreSQL; a mode of None leaves it to the URL's sslmode."""

    mode: TlsMode | None = None
    ca: SecretFile | None = None


class PostgresOrder(Letter):
    """Dump one PostgreSQL database."""

    url: SecretFile
    database: str = ""
    """Another one of the same server; empty: the URL's."""
    format: DumpFormat = DumpFormat.PLAIN
    globals: bool = False
    schemas: NameFilter = NameFilter()
    tables: TableFilter = TableFilter()
    profile: Profile = Profile.AUTO
    tls: PostgresTls = PostgresTls()
    lock_timeout_seconds: int = 60


class RedisTls(Letter):
    """TLS to Redis, used with `rediss://`; certificate and key are the client's own."""

    ca: SecretFile | None = None
    certificate: SecretFile | None = None
    key: SecretFile | None = None


class RedisOrder(Letter):
    """Dump one Redis server, or only database N where the URL ends in /N."""

    url: SecretFile
    method: RedisMethod = RedisMethod.AUTO
    tls: RedisTls = RedisTls()


class CompressionOrder(Letter):
    """Algorithm and level (1 fast to 9 small; Zstd up to 19)."""

    algorithm: Compression = Compression.GZIP
    level: int = 2


class StoreOrder(Letter):
    """Where the store is: the volume's mount point, the store's path below it, and how a person calls the claim."""

    mount: str
    path: str
    described: str


class PolicyIdentity(Letter):
    """Whose order it is."""

    namespace: str
    name: str
    spec_digest: str


class RetentionOrder(Letter):
    """Which runs are kept after a good one: those that any stated rule keeps; None and 0 mean not stated."""

    max_age: Annotated[timedelta, Field(gt=timedelta())] | None = None
    keep_last: NonNegativeInt = 0
    keep_daily: NonNegativeInt = 0
    keep_weekly: NonNegativeInt = 0
    keep_monthly: NonNegativeInt = 0
    keep_yearly: NonNegativeInt = 0
    minimum: PositiveInt = 3
    """So many of the newest verified runs stay, whatever the rules say."""
    time_zone: str = "Etc/UTC"
    """IANA name, of the days, weeks, months and years."""
    dry_run: bool = False
    """True: say what would go, and delete nothing."""
    digest: str = ""
    """Of the rules, as the operator counts it; comes back in the result, so that it knows which rules that is about."""


class BackupOrder(Letter):
    """Make one run: exactly one of postgres and redis."""

    version: Literal[1] = 1
    kind: Literal["Backup"] = "Backup"
    policy: PolicyIdentity
    postgres: PostgresOrder | None = None
    redis: RedisOrder | None = None
    passphrase: SecretFile
    previous_passphrases: tuple[SecretFile, ...] = ()
    """Those of before a rotation, to read what is stored; nothing is written with them."""
    compression: CompressionOrder = CompressionOrder()
    store: StoreOrder
    retention: RetentionOrder | None = None
    """Applied after a verified success; None: nothing is deleted."""
    accepted_run: str = ""
    """The run from which on a person has accepted what the data looks like; those before it are compared no longer."""
    heartbeat: SecretFile | None = None
    """A URL that is asked after a verified success; None: none is."""
    deadline: timedelta
    store_lock_timeout: timedelta = timedelta(minutes=5)
    progress_interval: timedelta = timedelta(seconds=10)

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        if (self.postgres is None) == (self.redis is None):
            raise ValueError("exactly one of postgres and redis is expected")
        return self

    @property
    def source_kind(self) -> SourceKind:
        """The kind of source that this order dumps."""
        return SourceKind.POSTGRES if self.postgres is not None else SourceKind.REDIS


class InventoryOrder(Letter):
    """Read a store's catalog and report it; writes nothing."""

    version: Literal[1] = 1
    kind: Literal["Inventory"] = "Inventory"
    policy: PolicyIdentity
    passphrase: SecretFile
    previous_passphrases: tuple[SecretFile, ...] = ()
    """Those of before a rotation, tried where the current one does not fit."""
    retention: RetentionOrder | None = None
    """What the next good run will do by these rules is said; nothing is deleted."""
    accepted_run: str = ""
    """As in BackupOrder."""
    store: StoreOrder
    deadline: timedelta = timedelta(minutes=10)

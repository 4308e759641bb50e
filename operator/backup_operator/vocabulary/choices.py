"""Room `vocabulary`: the choices that a spec, an order and an entry share."""

from enum import StrEnum


class SourceKind(StrEnum):
    """What is dumped."""

    POSTGRES = "Postgres"
    REDIS = "Redis"


class DumpFormat(StrEnum):
    """The format of a PostgreSQL dump: `Plain` SQL for psql, or the `Custom` archive for pg_restore."""

    PLAIN = "Plain"
    CUSTOM = "Custom"


class Profile(StrEnum):
    """Which schemas of a PostgreSQL server belong to its provider; `Auto` goes by the host name."""

    AUTO = "Auto"
    GENERIC = "Generic"
    SUPABASE = "Supabase"


class RedisMethod(StrEnum):
    """How Redis keys are read: the replication stream (`Sync`) or key by key (`Scan`); `Auto` tries Sync first."""

    AUTO = "Auto"
    SYNC = "Sync"
    SCAN = "Scan"


class TlsMode(StrEnum):
    """How far a PostgreSQL server's certificate is checked; the names are libpq's sslmode in our spelling."""

    DISABLE = "Disable"
    PREFER = "Prefer"
    REQUIRE = "Require"
    VERIFY_CA = "VerifyCA"
    VERIFY_FULL = "VerifyFull"


class Compression(StrEnum):
    """The compression of an artifact."""

    GZIP = "Gzip"
    ZSTD = "Zstd"
    NONE = "None"


class ArtifactKind(StrEnum):
    """What the plaintext of an artifact is."""

    POSTGRES_PLAIN = "PostgresPlain"
    POSTGRES_CUSTOM = "PostgresCustom"
    POSTGRES_GLOBALS = "PostgresGlobals"
    POSTGRES_PROVIDER_DATA = "PostgresProviderData"
    REDIS_RDB = "RedisRdb"
    REDIS_AOF = "RedisAof"
    """A single append-only file, as the old scripts copied it."""


class Outcome(StrEnum):
    """How a worker's job ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class PostgresStrategy(StrEnum):
    """Where the rows go: a new database, one built beside and renamed, or what is there replaced in one transaction."""

    NEW_DATABASE = "NewDatabase"
    SWAP_DATABASE = "SwapDatabase"
    IN_PLACE = "InPlace"


class RedisStrategy(StrEnum):
    """What happens to keys that are there."""

    FAIL_IF_NOT_EMPTY = "FailIfNotEmpty"
    MERGE = "Merge"
    REPLACE = "Replace"


class MissingRoles(StrEnum):
    """What a restore does about roles that the target lacks: stop, or leave their ownership and grants out."""

    STOP = "Stop"
    LEAVE_OUT = "LeaveOut"


class ExistingKeys(StrEnum):
    """Which side wins in a Merge when a key is on both: the target's, or the backup's."""

    KEEP = "Keep"
    REPLACE = "Replace"

"""Room `api`: where backups lie and how they are kept, packed and locked; shared by both resources."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from backup_operator.api.meta import Bool, Count, Duration, GivenPath, ObjectName, Quantity, SecretKeyRef, StorePath
from backup_operator.api.parts import Part, Rule, exactly_one_of
from backup_operator.vocabulary.choices import Compression

DEFAULT_MAX_AGE = timedelta(days=30)
DEFAULT_MINIMUM = 3
DEFAULT_USAGE_LIMIT_PERCENT = 90
LEVELS = {Compression.GZIP: range(1, 10), Compression.ZSTD: range(1, 20), Compression.NONE: range(0)}
_DEFAULT_LEVEL = {Compression.GZIP: 2, Compression.ZSTD: 3, Compression.NONE: 0}


class Encryption(Part):
    """The passphrase that stored files are encrypted with; there is no default and none is ever made up."""

    passphrase_secret_ref: SecretKeyRef
    """The passphrase, its first line, at least 12 characters."""
    previous_passphrase_secret_refs: Annotated[tuple[SecretKeyRef, ...], Field(max_length=10)] = ()
    """Passphrases of older backups, still used to read them after a rotation. Default: none."""


class CompressionSettings(Part):
    """How artifacts are compressed before they are encrypted."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.level) || (has(self.algorithm) && self.algorithm == 'None' ? false"
            " : self.level <= (has(self.algorithm) && self.algorithm == 'Zstd' ? 19 : 9))",
            message="level is 1 to 9 with Gzip, 1 to 19 with Zstd, and left out with None; write for example level: 2",
            holds=lambda part: part.level is None or part.level in LEVELS[part.algorithm],
        ),
    )
    algorithm: Compression = Compression.GZIP
    """Gzip, Zstd or None. Default: Gzip."""
    level: Annotated[StrictInt, Field(ge=1, le=19)] | None = None
    """From 1, fast, to 9, small; with Zstd up to 19. Default: 2 with Gzip, 3 with Zstd."""

    @property
    def effective_level(self) -> int:
        """The level, or the algorithm's default; 0 with None."""
        return self.level if self.level is not None else _DEFAULT_LEVEL[self.algorithm]


class AccessMode(StrEnum):
    """How a volume can be mounted."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"
    READ_WRITE_MANY = "ReadWriteMany"


class ClaimTemplate(Part):
    """A PersistentVolumeClaim that is made when it is missing, and never deleted."""

    storage_class_name: ObjectName | None = None
    """StorageClass of the claim. Default: the cluster's default class."""
    size: Quantity
    """Size of the claim, for example 20Gi."""
    access_modes: Annotated[tuple[AccessMode, ...], Field(min_length=1, max_length=3)] = (AccessMode.READ_WRITE_ONCE,)
    """How it can be mounted. Default: ReadWriteOnce."""


class Storage(Part):
    """The PersistentVolumeClaim and the path on it where backups are stored."""

    rules: ClassVar = (exactly_one_of("claim_name", "claim_template"),)
    claim_name: ObjectName | None = None
    """An existing PersistentVolumeClaim in the same namespace."""
    claim_template: ClaimTemplate | None = None
    """A PersistentVolumeClaim to make; it outlives the policy."""
    path: StorePath = ""
    """Directory on the claim, used by this policy alone. Default: <namespace>/<policy>."""
    usage_limit_percent: Annotated[StrictInt, Field(ge=1, le=100)] | None = None
    """Use of the volume, in percent, above which StorageAvailable is false. Default: 90."""

    @property
    def effective_usage_limit_percent(self) -> int:
        """The stated limit, or 90."""
        stated = self.usage_limit_percent
        return DEFAULT_USAGE_LIMIT_PERCENT if stated is None else stated


class Retention(Part):
    """Which backups are kept: those that any of these rules keeps; the others go after a verified run."""

    max_age: Duration | None = None
    """Keep backups younger than this. Default: 30d where no other rule is stated."""
    keep_last: Count | None = None
    """Keep this many of the newest. Default: 0."""
    keep_daily: Count | None = None
    """Keep the newest of each of this many days. Default: 0."""
    keep_weekly: Count | None = None
    """Keep the newest of each of this many weeks. Default: 0."""
    keep_monthly: Count | None = None
    """Keep the newest of each of this many months. Default: 0."""
    keep_yearly: Count | None = None
    """Keep the newest of each of this many years. Default: 0."""
    minimum: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = None
    """Never keep fewer verified backups than this, however old they are. Default: 3."""
    dry_run: Bool = False
    """True: status.retention says what would be deleted, and nothing is. Default: false."""

    @property
    def effective_max_age(self) -> timedelta | None:
        """The stated age; 30 days where no rule is stated at all; None where other rules alone decide."""
        stated = (self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        return self.max_age if self.max_age is not None or any(stated) else DEFAULT_MAX_AGE


class Store(Part):
    """A store without its policy: the claim, the path, and the passphrase that opens it."""

    claim_name: ObjectName
    """PersistentVolumeClaim that holds the files, in the same namespace."""
    path: GivenPath
    """Directory of the store on the claim, for example prod/app-db."""
    encryption: Encryption
    """The passphrase of the files."""

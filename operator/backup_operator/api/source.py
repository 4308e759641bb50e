"""Room `api`: `spec.source` of a BackupPolicy; postgres and redis are twins. Imported by `api.backuppolicy`."""

from typing import Annotated, ClassVar

from pydantic import Field

from backup_operator.api.meta import Bool, Count, GivenPath, ObjectName, SecretKeyRef
from backup_operator.api.parts import Part, Rule, Transition, exactly_one_of
from backup_operator.vocabulary.choices import DumpFormat, Profile, RedisMethod, SourceKind, TlsMode

_NAMES_PER_LIST = 100
SqlName = Annotated[str, Field(min_length=1, max_length=130)]
"""A name of at most 63 characters, quoted or not, with its schema in front where it has one."""
SqlNames = Annotated[tuple[SqlName, ...], Field(max_length=_NAMES_PER_LIST)]


class SchemaFilter(Part):
    """Which schemas are dumped, by exact name; one that matches nothing fails the run."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.include) || !has(self.exclude) || !self.include.exists(name, name in self.exclude)",
            message="a schema is in both include and exclude; take it out of one of them",
            holds=lambda part: not set(part.include) & set(part.exclude),
        ),
    )
    include: SqlNames = ()
    """Schemas to dump, by exact name. Default: all of them."""
    exclude: SqlNames = ()
    """Schemas to leave out, by exact name. Default: none."""


class TableFilter(Part):
    """Which tables are left out, by exact name: `table` or `schema.table`, quoted as in SQL for capitals."""

    exclude: SqlNames = ()
    """Tables to leave out whole. Default: none."""
    exclude_data: SqlNames = ()
    """Tables whose definition is dumped and whose rows are not. Default: none."""


class PostgresTls(Part):
    """TLS to the server, over what the URL says."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.caSecretRef) || !has(self.mode) || self.mode in ['VerifyCA', 'VerifyFull']",
            message="caSecretRef is used by mode VerifyCA and VerifyFull only; write mode: VerifyFull",
            holds=lambda part: (
                part.ca_secret_ref is None or part.mode in (None, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL)
            ),
        ),
    )
    mode: TlsMode | None = None
    """How far the certificate is checked. Default: VerifyFull with caSecretRef, else what the URL's sslmode says."""
    ca_secret_ref: SecretKeyRef | None = None
    """The CA that signed the server's certificate, PEM. Default: the CAs that the image trusts."""


class PostgresSource(Part):
    """A PostgreSQL database: self-hosted, managed, or Supabase."""

    url_secret_ref: SecretKeyRef
    """The connection URL, postgresql://user:password@host:5432/database."""
    format: DumpFormat = DumpFormat.PLAIN
    """Plain is SQL that psql reads; Custom is an archive that pg_restore reads in parallel. Default: Plain."""
    globals: Bool = False
    """Also dump the server's roles, as an artifact of its own. Default: false."""
    schemas: SchemaFilter = SchemaFilter()
    """Schemas to dump or to leave out. Default: all."""
    tables: TableFilter = TableFilter()
    """Tables to leave out, whole or their rows. Default: none."""
    profile: Profile = Profile.AUTO
    """Which schemas belong to the provider and are left out; Auto goes by the host name. Default: Auto."""
    tls: PostgresTls = PostgresTls()
    """TLS to the server. Default: what the URL's sslmode says."""


class AppendOnly(Part):
    """Where the server keeps its append-only file."""

    claim_name: ObjectName
    """PersistentVolumeClaim of the Redis server, in the same namespace."""
    path: GivenPath | None = None
    """Directory or file on that claim. Default: appendonlydir."""
    run_as_user: Count | None = None
    """User id that owns the files. Default: taken from the pod that mounts the claim."""


class RedisTls(Part):
    """TLS to the server, used with rediss:// URLs."""

    rules: ClassVar = (
        Rule(
            cel="has(self.certSecretRef) == has(self.keySecretRef)",
            message="a client certificate needs its key; write both certSecretRef and keySecretRef, or neither",
            holds=lambda part: (part.cert_secret_ref is None) == (part.key_secret_ref is None),
        ),
    )
    ca_secret_ref: SecretKeyRef | None = None
    """The CA that signed the server's certificate, PEM. Default: the CAs that the image trusts."""
    cert_secret_ref: SecretKeyRef | None = None
    """The client's certificate, PEM. Default: none."""
    key_secret_ref: SecretKeyRef | None = None
    """The client's private key, PEM. Default: none."""


class RedisSource(Part):
    """A Redis or Valkey server."""

    url_secret_ref: SecretKeyRef
    """The connection URL, redis://user:password@host:6379/N; with /N only database N is backed up."""
    method: RedisMethod = RedisMethod.AUTO
    """Sync reads the replication stream, Scan key by key; Auto tries Sync first. Default: Auto."""
    append_only: AppendOnly | None = None
    """Also copy the append-only file. Default: only the RDB is backed up."""
    tls: RedisTls = RedisTls()
    """TLS to the server. Default: none with redis://, the CAs of the image with rediss://."""


class Source(Part):
    """What is backed up: exactly one of postgres and redis."""

    rules: ClassVar = (exactly_one_of("postgres", "redis"),)
    transitions: ClassVar = (
        Transition(
            cel="has(self.postgres) == has(oldSelf.postgres)",
            message="the kind of source is immutable; create another BackupPolicy for the other database",
            holds=lambda new, old: new.kind == old.kind,
        ),
    )
    postgres: PostgresSource | None = None
    """A PostgreSQL database."""
    redis: RedisSource | None = None
    """A Redis or Valkey server."""

    @property
    def kind(self) -> SourceKind:
        """Which of the two it is."""
        return SourceKind.POSTGRES if self.postgres is not None else SourceKind.REDIS

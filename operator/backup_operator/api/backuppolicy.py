"""Room `api`: one source, one schedule, one store; read by `rules.admission` and `controller.policies`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from backup_operator.api.check import Checks, checks_fit
from backup_operator.api.job import JobSettings
from backup_operator.api.meta import (
    CONDITION_LIST,
    Bool,
    Condition,
    Duration,
    Metadata,
    SecretKeyRef,
    Time,
)
from backup_operator.api.notified import NotifiedStatus
from backup_operator.api.parts import Format, Part, Rule, StatusPart
from backup_operator.api.source import Source
from backup_operator.api.storage import CompressionSettings, Encryption, Retention, Storage
from backup_operator.vocabulary.reasons import Reason

KIND = "BackupPolicy"
PLURAL = "backuppolicies"
LISTED_BACKUPS = 20


def _cron_field(value: str) -> str:
    """A list of `*`, values and ranges, each with a step where wanted."""
    one = f"([*?]|{value}(-{value})?)(/0*[1-9][0-9]?)?"
    return f"{one}(,{one})*"


_MONTHS = "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DAYS = "(?i:sun|mon|tue|wed|thu|fri|sat)"
_CRON = " +".join(
    _cron_field(value)
    for value in (
        "([0-5]?[0-9])",
        "([01]?[0-9]|2[0-3])",
        "(0?[1-9]|[12][0-9]|3[01])",
        f"(0?[1-9]|1[0-2]|{_MONTHS})",
        f"([0-6]|{_DAYS})",
    )
)
_MACROS = "@(yearly|annually|monthly|weekly|daily|midnight|hourly)"
_EVERY = "@every +([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?"

Schedule = Annotated[
    str,
    Format(
        f"{_CRON}|{_MACROS}|{_EVERY}",
        "five cron fields (minute hour day month weekday, weekday 0 to 6), @hourly, @daily, @weekly, @monthly, "
        "@yearly, or @every with hours, minutes and seconds; the zone goes into timeZone",
        '"0 2 * * *" or "@every 1h"',
        max_length=200,
        forbidden="^@every[^1-9]*$",
    ),
]
TimeZone = Annotated[
    str,
    Format(
        "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}",
        "a name of the IANA time zone database",
        "Etc/UTC or Europe/Berlin",
        max_length=64,
        forbidden="^(?i:local)$",
    ),
]


class Objectives(Part):
    """What the backups must achieve."""

    rpo: Duration = timedelta(hours=25)
    """Recovery point objective: Fresh turns false when the newest verified backup started longer ago. Default: 25h."""
    rto: Duration | None = None
    """Recovery time objective: a drill that takes longer fails. Default: none."""


class Notify(Part):
    """Who is told."""

    heartbeat_url_secret_ref: SecretKeyRef
    """A URL that is asked after each verified backup (dead man's switch)."""


class Drill(Part):
    """A scheduled restore into a throw-away server, with the policy's checks."""

    schedule: Schedule
    """When drills run, as in spec.schedule and in its timeZone."""


class BackupPolicySpec(Part):
    """What is backed up, when, how, and where to."""

    rules: ClassVar = (
        Rule(
            cel="!has(self.checks) || self.checks.all(check,"
            " has(self.source.postgres) ? !has(check.redis) : !has(check.sql))",
            message="a check asks what the source is not; write sql for postgres, redis for redis, and http for both",
            holds=lambda spec: checks_fit(spec.checks, is_postgres=spec.source.postgres is not None),
        ),
    )
    source: Source
    """What is backed up: exactly one of postgres and redis."""
    schedule: Schedule
    """When runs start: five cron fields, @hourly and the like, or @every 1h."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of the schedule and of retention's days. Default: Etc/UTC."""
    suspend: Bool = False
    """True: no run starts on schedule; runs by hand go on. Default: false."""
    encryption: Encryption
    """The passphrase that stored files are encrypted with."""
    compression: CompressionSettings = CompressionSettings()
    """How artifacts are compressed. Default: Gzip, level 2."""
    storage: Storage
    """Where backups are stored."""
    retention: Retention = Retention()
    """Which backups are kept. Default: those of the last 30 days, and never fewer than 3."""
    objectives: Objectives = Objectives()
    """What the backups must achieve. Default: one no older than 25h."""
    notify: Notify | None = None
    """Who is told. Default: no one."""
    checks: Checks = ()
    """What must hold in restored data. Default: nothing beside the recorded counts."""
    drill: Drill | None = None
    """A scheduled restore into a throw-away server. Default: none."""
    job: JobSettings = JobSettings()
    """How a run's Job and pod are made. Default: 6h, two retries, the chart's resources."""


class BackupRecord(StatusPart):
    """A verified backup."""

    name: str
    """Name of the run, for example backup_20261124_020000; a restore asks for it."""
    started_at: Time
    """When the run began; the data is no older than this."""
    completed_at: Time
    """When it was stored and verified."""
    duration_seconds: int
    """How long it took."""
    size_bytes: int
    """Stored size of all its artifacts."""
    rows: int | None = None
    """Rows in it (PostgreSQL)."""
    keys: int | None = None
    """Keys in it (Redis)."""
    verified: bool = True
    """True: the stored file was read back and is whole."""
    warnings: tuple[str, ...] | None = None
    """What the worker warns of, for example a connection without TLS."""


class FailedBackup(StatusPart):
    """A run that failed, and what to do."""

    name: str | None = None
    """Name of the run, where it came so far."""
    started_at: Time | None = None
    """When it began."""
    completed_at: Time | None = None
    """When it ended."""
    duration_seconds: int | None = None
    """How long it took."""
    reason: Annotated[Reason, WithJsonSchema({"type": "string"})]
    """Why it failed, in one word; the README has the table of reasons."""
    message: str
    """Why it failed, in a sentence."""
    hint: str | None = None
    """What to type next."""
    job_name: str | None = None
    """The Job that ran it."""


class ActiveBackup(StatusPart):
    """The run in progress."""

    job_name: str
    """The Job that runs it."""
    since: Time
    """When the Job was started."""


class ListedBackup(StatusPart):
    """One line of the catalog."""

    name: str
    """Name of the run; a restore asks for it."""
    time: Time
    """When the run began."""
    duration_seconds: int | None = None
    """How long it took."""
    size: str
    """Stored size in words, for example 1.2 GiB."""
    size_bytes: int
    """Stored size."""
    rows: int | None = None
    """Rows in it (PostgreSQL)."""
    keys: int | None = None
    """Keys in it (Redis)."""
    verified: bool = True
    """True: the stored file was read back and is whole."""


class StorageStatus(StatusPart):
    """Use of the volume after the newest run."""

    used_bytes: int
    """Used on the volume, by everyone."""
    capacity_bytes: int
    """Size of the volume."""
    used_percent: int
    """Use of the volume in percent, rounded up."""
    store_bytes: int
    """Used by this policy's store."""
    full_at: Time | None = None
    """When the volume will be full if runs go on at their pace and grow as they did; absent when not within sight."""
    proven_at: Time | None = None
    """When a run or an inventory last used it to its end; a fault of the volume holds until then."""


class NextToGo(StatusPart):
    """The backup that retention deletes next."""

    name: str
    """Its run."""
    at: Time
    """The start of the run after which it goes, at the present pace."""


class RetentionPreview(StatusPart):
    """What retention would delete by the present rules; nothing of it is deleted yet."""

    at: Time
    """When that was found."""
    count: int
    """How many backups would go."""
    bytes: int
    """Stored bytes that this would free."""
    names: tuple[str, ...] = ()
    """The first of them, oldest first."""


class RetentionStatus(StatusPart):
    """What retention did, and what it will do."""

    rules: tuple[str, ...] = ()
    """What is kept and why, one line per rule."""
    kept: int | None = None
    """Backups that stay by the rules."""
    held_back: int | None = None
    """Those of them that only spec.retention.minimum keeps."""
    blocked: int | None = None
    """Backups that would go and are kept while the newest one is implausible."""
    deleted: int | None = None
    """Backups that went after the newest good run."""
    deleted_names: tuple[str, ...] | None = None
    """The first of them, oldest first."""
    freed_bytes: int | None = None
    """Bytes that this freed."""
    applied_at: Time | None = None
    """When retention last ran; absent while it never did."""
    stopped: str | None = None
    """Why it could not be done to its end; the next good run goes on."""
    left: tuple[str, ...] | None = None
    """Backups that should have gone and are still there, each with why."""
    next_to_go: NextToGo | None = None
    """The backup that goes next; absent when none does within sight."""
    preview: RetentionPreview | None = None
    """What a dry run would delete: with spec.retention.dryRun, and after a change of the rules until the next run."""
    dry_run_at: Time | None = None
    """When the newest good run deleted nothing because of spec.retention.dryRun; absent after one that did its work."""
    rules_digest: str | None = None
    """Which rules this is about; read by the operator."""


class ComparisonStatus(StatusPart):
    """How the newest backup looks beside those before it."""

    run: str
    """The newest backup."""
    compared_with: int
    """How many earlier ones it was compared with."""
    reason: Annotated[Reason, WithJsonSchema({"type": "string"})] | None = None
    """What is not in line, in one word; absent when it is in line."""
    since_run: str | None = None
    """The first of the backups in a row that are not in line."""
    message: str | None = None
    """What was found and what was expected."""
    accepted: bool | None = None
    """True: a person has accepted it."""


class OtherFiles(StatusPart):
    """Files in the store that are no backups of this policy; they are never deleted."""

    old_scripts: int = 0
    """Files of the scripts that came before; a RestoreRequest can name them."""
    foreign: int = 0
    """Files that nobody of us wrote."""
    names: tuple[str, ...] = ()
    """The first of them."""


class DrillStatus(StatusPart):
    """The newest drill."""

    started_at: Time
    """When it began."""
    passed: bool
    """True: restored, and every check held."""
    message: str | None = None
    """What it found."""


class BackupPolicyStatus(StatusPart):
    """What is known about the backups; every field is present only when it is known."""

    observed_generation: int | None = None
    """The metadata.generation that this status was made for."""
    conditions: Annotated[tuple[Condition, ...], Field(json_schema_extra=CONDITION_LIST)] = ()
    """Ready and its parts, each with a reason and a message."""
    last_successful_backup: BackupRecord | None = None
    """The newest verified backup."""
    last_failed_backup: FailedBackup | None = None
    """The newest run that failed."""
    active_backup: ActiveBackup | None = None
    """The run in progress."""
    next_backup_at: Time | None = None
    """When the next run starts; absent while suspended."""
    backups: Annotated[tuple[ListedBackup, ...], Field(max_length=LISTED_BACKUPS)] = ()
    """The newest backups in the store, newest first, at most 20."""
    backup_count: int | None = None
    """How many backups the store holds."""
    locked_backups: int | None = None
    """How many more it holds that were written under another passphrase than the present one."""
    oldest_backup_at: Time | None = None
    """When the oldest of them began."""
    store: str | None = None
    """Claim and path that all this is about, for example backups:prod/app-db; on another store it is read anew."""
    claim_uid: str | None = None
    """The claim's uid: when a claim was deleted and made again under its name, the store is read anew, too."""
    storage: StorageStatus | None = None
    """Use of the volume."""
    retention: RetentionStatus | None = None
    """What retention did, and what it will do."""
    comparison: ComparisonStatus | None = None
    """How the newest backup looks beside those before it."""
    other_files: OtherFiles | None = None
    """Files in the store that are no backups of this policy."""
    last_drill: DrillStatus | None = None
    """The newest drill."""
    notified: NotifiedStatus | None = None
    """What notifications have told, and what they still owe; absent while that is nothing."""
    source: str | None = None
    """The source in words, for example PostgreSQL 17.2 app."""
    size: str | None = None
    """Stored size of the newest verified backup in words, for example 1.2 GiB."""
    keeps: str | None = None
    """Retention in words, for example 30d, at least 3."""
    used: str | None = None
    """Use of the volume in words, for example 42 % of 20.0 GiB, full on 2027-03-01."""
    ready: str | None = None
    """Ready in words: True, or False with the reason, for example False (AuthenticationFailed)."""
    message: str | None = None
    """What is wrong, or that all is well, in a sentence."""


class BackupPolicy(BaseModel):
    """One source, one schedule, one store: runs backups on the schedule and says how fresh and how good they are."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    metadata: Metadata
    spec: BackupPolicySpec
    status: BackupPolicyStatus = BackupPolicyStatus()


def status_in(raw: Mapping[str, Any]) -> BackupPolicyStatus:
    """The status of a BackupPolicy as the API server gives it."""
    return BackupPolicyStatus.in_object(raw)

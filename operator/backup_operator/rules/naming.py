"""Room `rules`: the names of runs and files in a store; read by `worker.store`, `worker.recover` and `manifests`.

A run is named by its source and its second in UTC, and every file of a run carries the same second:

    backup_20231201_020000.json             the entry; without it there is no backup
    backup_20231201_020000.json.started     the intent: the run has begun and not yet ended
    backup_20231201_020000.json.deleting    the tombstone: the run is being deleted
    backup_20231201_020000.sql.gz.gpg       an artifact
    backup_20231201_020000.sql.gz.gpg.partial   an artifact that is still being written
    globals_20231201_020000.sql.gz.gpg      other artifacts of the same run
    auth_storage_20231201_020000.sql.gz.gpg

Beside them lie the markers of restores that have begun (`<uid of the request>.started`) and the directory `safety`, a
store of its own whose runs people call `safety_20231201_020000`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind

PARTIAL_SUFFIX = ".partial"
ENTRY_SUFFIX = ".json"
INTENT_SUFFIX = ".json.started"
TOMBSTONE_SUFFIX = ".json.deleting"
LOCK_NAME = ".lock"
AUDIT_NAME = "audit.jsonl"
RECOVER_NAME = "RECOVER.md"
SAFETY_DIRECTORY = "safety"
MARKER_SUFFIX = ".started"
_SAFETY_PREFIX = "safety_"

_RUN_PREFIXES: dict[SourceKind, str] = {SourceKind.POSTGRES: "backup", SourceKind.REDIS: "redis"}
_ENCRYPTION_SUFFIX = ".gpg"
_COMPRESSION_SUFFIXES: dict[Compression, str] = {
    Compression.GZIP: ".gz",
    Compression.ZSTD: ".zst",
    Compression.NONE: "",
}


@dataclass(frozen=True)
class _Shape:
    source: SourceKind
    prefix: str
    extension: str


_SHAPES: dict[ArtifactKind, _Shape] = {
    ArtifactKind.POSTGRES_PLAIN: _Shape(SourceKind.POSTGRES, "backup", ".sql"),
    ArtifactKind.POSTGRES_CUSTOM: _Shape(SourceKind.POSTGRES, "backup", ".dump"),
    ArtifactKind.POSTGRES_GLOBALS: _Shape(SourceKind.POSTGRES, "globals", ".sql"),
    ArtifactKind.POSTGRES_PROVIDER_DATA: _Shape(SourceKind.POSTGRES, "auth_storage", ".sql"),
    ArtifactKind.REDIS_RDB: _Shape(SourceKind.REDIS, "redis", ".rdb"),
    ArtifactKind.REDIS_AOF: _Shape(SourceKind.REDIS, "redis_aof", ".aof"),
}

_STAMPED = re.compile(r"([a-z]+(?:_[a-z]+)*)_([0-9]{8}_[0-9]{6})(.*)", re.DOTALL)
_OLD_PREFIXES = frozenset({"backup", "redis", "redis_aof", "globals"})
_MARKER = re.compile(r"[0-9A-Za-z-]{1,64}\.started")


class FileRole(StrEnum):
    """What a file in a store is, judged by its name alone."""

    ENTRY = "Entry"
    INTENT = "Intent"
    TOMBSTONE = "Tombstone"
    ARTIFACT = "Artifact"
    PARTIAL = "Partial"
    MARKER = "Marker"
    """A restore with this request's uid has begun; the request is never carried out again."""
    STORE = "Store"
    """The store's own: lock, audit trail, RECOVER.md, the directory of safety backups."""
    OLD = "Old"
    """Named as the old scripts named theirs, but no artifact of ours, for example `redis_20231201_020000.rdb`."""
    FOREIGN = "Foreign"


@dataclass(frozen=True)
class RunName:
    """A run's name, taken apart."""

    kind: SourceKind
    at: datetime
    """UTC, whole seconds."""

    def __str__(self) -> str:
        return f"{_RUN_PREFIXES[self.kind]}_{time_stamp(self.at)}"


@dataclass(frozen=True)
class ArtifactName:
    """An artifact's file name, taken apart."""

    run: RunName
    kind: ArtifactKind
    compression: Compression

    def __str__(self) -> str:
        shape = _SHAPES[self.kind]
        compression = _COMPRESSION_SUFFIXES[self.compression]
        return f"{shape.prefix}_{time_stamp(self.run.at)}{shape.extension}{compression}{_ENCRYPTION_SUFFIX}"


@dataclass(frozen=True)
class StoredForm:
    """What the name of a file says of its content, whoever made it."""

    kind: ArtifactKind
    compression: Compression
    encrypted: bool
    at: datetime
    """UTC, whole seconds; of the old scripts, it is the clock of their host."""


@dataclass(frozen=True)
class FileName:
    """What a name in a store says: the role, and the run where it belongs to one."""

    role: FileRole
    run: str | None = None


def time_stamp(at: datetime) -> str:
    """`YYYYMMDD_HHMMSS` of an aware time, in UTC; parts of a second are dropped."""
    if at.tzinfo is None:
        raise ValueError("a run's time needs a time zone")
    utc = at.astimezone(UTC)
    return f"{utc.year:04}{utc.month:02}{utc.day:02}_{utc.hour:02}{utc.minute:02}{utc.second:02}"


def run_name(kind: SourceKind, at: datetime) -> str:
    """The name of the run of a source of this kind that begins at this second."""
    return str(RunName(kind, at))


def parse_run_name(name: str) -> RunName | None:
    """The kind and the second of a run's name, or None where it is none."""
    for kind, prefix in _RUN_PREFIXES.items():
        stamp = name.removeprefix(f"{prefix}_")
        at = _parse_stamp(stamp) if stamp != name else None
        if at is not None:
            return RunName(kind, at)
    return None


def second_after(at: datetime) -> datetime:
    """The next whole second: the next name to try where one is taken."""
    return at.replace(microsecond=0) + timedelta(seconds=1)


def artifact_name(run: str, kind: ArtifactKind, compression: Compression) -> str:
    """The file name of a run's artifact. Raises: ValueError where run and kind belong to different sources."""
    parsed = parse_run_name(run)
    if parsed is None or parsed.kind is not _SHAPES[kind].source:
        raise ValueError(f"a run called {run!r} has no artifact of kind {kind}")
    return str(ArtifactName(parsed, kind, compression))


def parse_artifact_name(name: str) -> ArtifactName | None:
    """Run, kind and compression of an artifact's file name, or None where it is none."""
    match = _STAMPED.fullmatch(name)
    at = _parse_stamp(match[2]) if match else None
    if match is None or at is None:
        return None
    for kind, shape in _SHAPES.items():
        for compression, suffix in _COMPRESSION_SUFFIXES.items():
            if (match[1], match[3]) == (shape.prefix, f"{shape.extension}{suffix}{_ENCRYPTION_SUFFIX}"):
                return ArtifactName(RunName(shape.source, at), kind, compression)
    return None


def parse_stored_form(name: str) -> StoredForm | None:
    """What a file named as ours and the old scripts' are holds, or None where the name says nothing.

    The old scripts left some files uncompressed or unencrypted, which ours never are.
    """
    encrypted = name.endswith(_ENCRYPTION_SUFFIX)
    parsed = parse_artifact_name(name if encrypted else name + _ENCRYPTION_SUFFIX)
    return StoredForm(parsed.kind, parsed.compression, encrypted, parsed.run.at) if parsed else None


def safety_name(run: str) -> str:
    """How people call a run of the safety store. Raises: ValueError where it is no run."""
    parsed = parse_run_name(run)
    if parsed is None:
        raise ValueError(f"{run!r} is no run")
    return _SAFETY_PREFIX + time_stamp(parsed.at)


def runs_of_safety_name(name: str) -> tuple[str, ...]:
    """The runs of the safety store that people may mean by this name; empty where it is none."""
    stamp = name.removeprefix(_SAFETY_PREFIX)
    at = _parse_stamp(stamp) if stamp != name else None
    return tuple(run_name(kind, at) for kind in SourceKind) if at else ()


def marker_name(uid: str) -> str:
    """The name of the file that says that a request was begun. Raises: ValueError where it cannot be a file's name."""
    name = uid + MARKER_SUFFIX
    if not _MARKER.fullmatch(name):
        raise ValueError(f"{uid!r} is no uid")
    return name


def recognise(name: str) -> FileName:
    """What the file of this name in a store is; never raises, whatever the name."""
    if name == SAFETY_DIRECTORY or name.removesuffix(PARTIAL_SUFFIX) in {AUDIT_NAME, RECOVER_NAME, LOCK_NAME}:
        return FileName(FileRole.STORE)
    if _MARKER.fullmatch(name):
        return FileName(FileRole.MARKER)
    if name.endswith(PARTIAL_SUFFIX):
        whole = recognise(name.removesuffix(PARTIAL_SUFFIX))
        return FileName(FileRole.PARTIAL, whole.run) if whole.run else whole
    for suffix, role in (
        (TOMBSTONE_SUFFIX, FileRole.TOMBSTONE),
        (INTENT_SUFFIX, FileRole.INTENT),
        (ENTRY_SUFFIX, FileRole.ENTRY),
    ):
        run = name.removesuffix(suffix)
        if run != name and parse_run_name(run):
            return FileName(role, run)
    artifact = parse_artifact_name(name)
    if artifact is not None:
        return FileName(FileRole.ARTIFACT, str(artifact.run))
    return FileName(FileRole.OLD if _named_by_old_scripts(name) else FileRole.FOREIGN)


def store_path(namespace: str, policy: str) -> str:
    """The default path of a policy's store below the volume's mount point."""
    return f"{namespace}/{policy}"


def _named_by_old_scripts(name: str) -> bool:
    match = _STAMPED.fullmatch(name)
    return match is not None and match[1] in _OLD_PREFIXES and _parse_stamp(match[2]) is not None


def _parse_stamp(stamp: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{8}_[0-9]{6}", stamp):
        return None
    try:
        return datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None

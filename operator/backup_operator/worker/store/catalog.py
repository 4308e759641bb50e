"""Room `worker.store`: what a store holds; read by `worker.inventory`, `worker.backup` and `store.recover`.

Only what has an authentic entry and all its files is a backup. All else is listed apart, so that nothing on the volume
goes unexplained. Reading changes nothing, takes no lock, and bears files that come and go meanwhile.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from backup_operator.contract.report import LISTED_BACKUPS, BackupLine, Catalog, cut_text
from backup_operator.rules.naming import ENTRY_SUFFIX, FileName, FileRole, recognise
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import KeyInvalid, StoreError, VerificationFailed
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry, EntryKeys, open_entry

ENTRY_LIMIT_BYTES = 32 << 20
"""More than an entry of 100,000 tables needs; a longer file is none."""

WARNINGS_OF_A_KIND = 3
_NAMES_OF_A_KIND = 2
_NAME_LIMIT_BYTES = 80


@dataclass(frozen=True)
class ListedArtifact:
    """A stored file of a listed run."""

    name: str
    kind: ArtifactKind
    compression: Compression
    stored_bytes: int
    stored_sha256: str
    plain_bytes: int


@dataclass(frozen=True)
class ListedRun:
    """A good backup, without the long parts of its entry: a thousand of them fit into a few MiB."""

    name: str
    kind: SourceKind
    started_at: datetime
    completed_at: datetime
    verified: bool
    artifacts: tuple[ListedArtifact, ...]
    rows: int | None
    keys: int | None
    doubted: bool = False
    """It was out of line with the runs before it when it was made."""
    others_bytes: int | None = None
    """What others took on the volume when it was made; None: nobody looked."""

    @property
    def size_bytes(self) -> int:
        """Stored size of all artifacts."""
        return sum(artifact.stored_bytes for artifact in self.artifacts)

    def line(self) -> BackupLine:
        """The backup as reports list it."""
        return BackupLine(
            name=self.name,
            started_at=self.started_at,
            completed_at=self.completed_at,
            size_bytes=self.size_bytes,
            rows=self.rows,
            keys=self.keys,
            verified=self.verified,
        )


@dataclass(frozen=True)
class Refused:
    """An entry that is not a good backup, and why."""

    name: str
    """Of the entry's file."""
    reason: Reason
    why: str
    authentic: bool = False
    """The entry is good, and its files are not."""


@dataclass(frozen=True)
class CatalogReading:
    """Everything in a store; names are sorted, backups newest first."""

    entries: tuple[ListedRun, ...] = ()
    unreadable: tuple[Refused, ...] = ()
    """Entries that cannot be read or are not authentic."""
    damaged: tuple[Refused, ...] = ()
    """Authentic entries of which a file is missing or has another size."""
    unfinished: tuple[str, ...] = ()
    """Runs with an intent and no entry: dead, or going on now."""
    partials: tuple[str, ...] = ()
    """Half-written files."""
    deleting: tuple[str, ...] = ()
    """Runs that are being deleted."""
    old: tuple[str, ...] = ()
    """Files named as the old scripts (and we) name them, without entry or intent."""
    foreign: tuple[str, ...] = ()
    """Files that nobody of us made, or that no run owns up to."""

    def catalog(self) -> Catalog:
        """The reading as a report carries it."""
        return self._catalog(LISTED_BACKUPS)

    def catalog_of_all(self) -> Catalog:
        """The same with every backup, for a person's own programs."""
        return self._catalog(len(self.entries))

    def _catalog(self, listed: int) -> Catalog:
        return Catalog(
            count=len(self.entries),
            locked=sum(refusal.reason is Reason.KEY_INVALID for refusal in self.unreadable) or None,
            oldest_at=self.entries[-1].started_at if self.entries else None,
            old_files=len(self.old) or None,
            foreign_files=len(self.foreign) or None,
            other_names=tuple(map(readable, (*self.old[:_NAMES_OF_A_KIND], *self.foreign[:_NAMES_OF_A_KIND]))),
            backups=tuple(run.line() for run in self.entries[:listed]),
        )

    def warnings(self) -> tuple[str, ...]:
        """What a person should look at, one sentence each."""
        return tuple(_warnings(self))

    def without_entry(self) -> tuple[str, ...]:
        """The sentence about files without an entry, for a person; a report counts them."""
        if not self.old:
            return ()
        return (
            f"{len(self.old)} files without an entry lie in the store, such as {readable(self.old[0])}: made by the "
            "old scripts or left over; they are neither listed nor ever deleted",
        )


def read_catalog(store: Store, keys: EntryKeys) -> CatalogReading:
    """What the store holds now. Raises: StoreError when the directory cannot be read."""
    names = sorted(store.names())
    entry_names = [name for name in names if recognise(name).role is FileRole.ENTRY]
    found = [_read_listed(store, name, keys) for name in entry_names]
    runs = [run for run in found if isinstance(run, ListedRun)]
    refused = [refusal for refusal in found if isinstance(refusal, Refused)]
    return replace(
        _rest_apart(names),
        entries=tuple(sorted(runs, key=lambda run: (run.started_at, run.name), reverse=True)),
        unreadable=tuple(refusal for refusal in refused if not refusal.authentic),
        damaged=tuple(refusal for refusal in refused if refusal.authentic),
    )


def read_entry(store: Store, run: str, keys: EntryKeys) -> Entry:
    """One run's whole entry. Raises: FileNotFoundError, KeyInvalid, VerificationFailed, StoreError."""
    name = run + ENTRY_SUFFIX
    return open_entry(store.read_file(name, ENTRY_LIMIT_BYTES), keys, name)


def _read_listed(store: Store, name: str, keys: EntryKeys) -> ListedRun | Refused | None:
    """The run of an entry's file, why it is no good backup, or None when it has gone meanwhile."""
    try:
        entry = open_entry(store.read_file(name, ENTRY_LIMIT_BYTES), keys, name)
    except FileNotFoundError:
        return None
    except (KeyInvalid, VerificationFailed, StoreError) as exc:  # not a deadline that passes in the middle
        return Refused(name, exc.reason, f"{exc.message}: {exc.detail}" if exc.detail else exc.message)
    faults = _faults(store, entry)
    if not faults:
        return _listed(entry)
    if not store.exists(name):  # deleted while we looked at its files
        return None
    return Refused(name, Reason.VERIFICATION_FAILED, "; ".join(faults), authentic=True)


def _listed(entry: Entry) -> ListedRun:
    return ListedRun(
        name=entry.run,
        kind=entry.kind,
        started_at=entry.started_at,
        completed_at=entry.completed_at,
        verified=entry.verified,
        artifacts=tuple(_listed_artifact(artifact) for artifact in entry.artifacts),
        rows=entry.rows,
        keys=entry.keys,
        doubted=bool(entry.plausibility and entry.plausibility.out_since),
        others_bytes=entry.others_bytes,
    )


def _listed_artifact(artifact: ArtifactRecord) -> ListedArtifact:
    return ListedArtifact(
        name=artifact.name,
        kind=artifact.kind,
        compression=artifact.compression,
        stored_bytes=artifact.stored_bytes,
        stored_sha256=artifact.stored_sha256,
        plain_bytes=artifact.plain_bytes,
    )


def _faults(store: Store, entry: Entry) -> list[str]:
    if not entry.artifacts:
        return ["it lists no file"]
    return [fault for artifact in entry.artifacts if (fault := _fault(store, artifact))]


def _fault(store: Store, artifact: ArtifactRecord) -> str:
    size_bytes = store.size_of(artifact.name)
    if size_bytes is None:
        return f"{artifact.name} is missing"
    if size_bytes != artifact.stored_bytes:
        return f"{artifact.name} has {size_bytes} bytes instead of {artifact.stored_bytes}"
    return ""


def _rest_apart(names: Iterable[str]) -> CatalogReading:
    """All but the entries, by name alone."""
    files = {name: recognise(name) for name in names}
    explained = {file.run for file in files.values() if file.role in _EXPLAIN_A_RUN}
    recorded = {file.run for file in files.values() if file.role in {FileRole.ENTRY, FileRole.TOMBSTONE}}

    def runs(role: FileRole) -> tuple[str, ...]:
        return tuple(str(file.run) for file in files.values() if file.role is role)

    return CatalogReading(
        unfinished=tuple(run for run in runs(FileRole.INTENT) if run not in recorded),
        partials=tuple(name for name, file in files.items() if file.role is FileRole.PARTIAL),
        deleting=runs(FileRole.TOMBSTONE),
        old=tuple(name for name, file in files.items() if _is_old(file, explained)),
        foreign=tuple(name for name, file in files.items() if _is_foreign(file, explained)),
    )


_EXPLAIN_A_RUN = frozenset({FileRole.ENTRY, FileRole.INTENT, FileRole.TOMBSTONE})


def _is_old(file: FileName, explained: set[str | None]) -> bool:
    return file.role is FileRole.OLD or (file.role is FileRole.ARTIFACT and file.run not in explained)


def _is_foreign(file: FileName, explained: set[str | None]) -> bool:
    return file.role is FileRole.FOREIGN or (file.role is FileRole.PARTIAL and file.run not in explained)


def readable(name: str) -> str:
    """A file's name in words: bytes that are no UTF-8 as escapes, and not too long."""
    return cut_text(os.fsencode(name).decode(errors="backslashreplace"), _NAME_LIMIT_BYTES)


def _warnings(reading: CatalogReading) -> Iterator[str]:
    yield from _some(f"{refusal.name} is not listed as a backup: {refusal.why}" for refusal in reading.unreadable)
    yield from _some(f"{refusal.name} is no longer a backup: {refusal.why}" for refusal in reading.damaged)


def _some(sentences: Iterable[str]) -> Iterator[str]:
    """The first few; a changed passphrase makes one for every entry."""
    known = list(sentences)
    yield from known[:WARNINGS_OF_A_KIND]
    if len(known) > WARNINGS_OF_A_KIND:
        yield f"… and the same of {len(known) - WARNINGS_OF_A_KIND} more entries"

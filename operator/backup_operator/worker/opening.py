"""Room `worker`: finds a backup in a store, proves it, and opens its plaintext; called by `worker.by_hand`.

A file stays open from its verification to its last use, so that what is used is what was verified.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from backup_operator.contract.restore import Selection
from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError, VerificationFailed
from backup_operator.worker.inspection import inspector_of
from backup_operator.worker.keys import Keys
from backup_operator.worker.progress import Progress
from backup_operator.worker.sources.base import Contents
from backup_operator.worker.stages.chain import Sealed, Unsealing, unseal
from backup_operator.worker.store.catalog import ListedRun, read_catalog, read_entry
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry

_NAMED_IN_MESSAGES = 3


def choose(store: Store, keys: Keys, selection: Selection) -> Entry:
    """The whole entry of the selected run. Raises: TargetError (BackupNotFound), KeyInvalid, StoreError."""
    listed = read_catalog(store, keys.entries).entries
    return read_entry(store, _choose(listed, selection, store).name, keys.entries)


def _choose(listed: Sequence[ListedRun], selection: Selection, store: Store) -> ListedRun:
    """`listed` is newest first."""
    if not listed:
        raise _not_found("the store holds no backup that can be opened", store, listed)
    if selection.name:
        found = next((run for run in listed if run.name == selection.name), None)
        wanted = f"called {selection.name}"
    else:
        found = next((run for run in listed if run.verified and _is_in_time(run, selection.before)), None)
        wanted = f"begun at or before {selection.before:%Y-%m-%dT%H:%M:%SZ}" if selection.before else "that is verified"
    if found is None:
        raise _not_found(f"the store holds no backup {wanted}", store, listed)
    return found


def _is_in_time(run: ListedRun, before: datetime | None) -> bool:
    return before is None or run.started_at <= before


def _not_found(message: str, store: Store, listed: Sequence[ListedRun]) -> TargetError:
    newest = ", ".join(run.name for run in listed[:_NAMED_IN_MESSAGES])
    oldest = f"; the oldest is {listed[-1].name}" if listed else ""
    return TargetError(
        Reason.BACKUP_NOT_FOUND,
        message,
        detail=f"{len(listed)} backups are there, the newest: {newest}{oldest}" if listed else "",
        hint=f"List them: backup-worker list --store {store.directory} --passphrase-file FILE",
    )


@dataclass
class StoredArtifact:
    """An artifact of an entry, its file held open."""

    record: ArtifactRecord
    _file: BinaryIO
    _passphrases: tuple[bytes, ...] = field(repr=False)

    def verify(self, progress: Progress) -> Contents:
        """Read all of it and compare with its entry.

        Raises: VerificationFailed, KeyInvalid, DumpIncomplete, SourceError.
        """
        with inspector_of(self.record.kind) as inspector, self.plaintext() as blocks:
            word = "keys" if self.record.kind is ArtifactKind.REDIS_RDB else "rows"
            progress.counted = lambda: {word: inspector.counted}
            for block in progress.watch(blocks):
                inspector.update(block)
            return inspector.finish()

    @contextmanager
    def plaintext(self) -> Iterator[Iterator[bytes]]:
        """The plaintext from its start. Its end means that it is what the entry says; before that it is unproven."""
        self._file.seek(0)
        with unseal(self._file, self._passphrases, self.record.compression) as plaintext:
            yield self._compared(plaintext)

    def _compared(self, plaintext: Unsealing) -> Iterator[bytes]:
        yield from plaintext
        _compare(self.record, plaintext.sealed)


@contextmanager
def opened(store: Store, entry: Entry, keys: Keys) -> Iterator[tuple[StoredArtifact, ...]]:
    """The artifacts of a run, in the entry's order. Raises: StoreError, VerificationFailed when a file is gone."""
    with ExitStack() as stack:
        yield tuple(
            StoredArtifact(record, stack.enter_context(_open(store, record)), keys.candidates)
            for record in entry.artifacts
        )


def _open(store: Store, record: ArtifactRecord) -> BinaryIO:
    try:
        file = store.open_file(record.name)
    except FileNotFoundError as exc:
        raise VerificationFailed(f"{record.name} is missing from {store.directory}") from exc
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return file


def _compare(record: ArtifactRecord, found: Sealed) -> None:
    written = Sealed(record.plain_bytes, record.plain_sha256, record.stored_bytes, record.stored_sha256)
    if found != written:
        error = VerificationFailed(
            f"{record.name} is not the file that its entry describes",
            detail=f"entry: SHA-256 {written.stored_sha256}; found: SHA-256 {found.stored_sha256}",
            hint="Take another backup of the list.",
        )
        error.retryable = False
        raise error

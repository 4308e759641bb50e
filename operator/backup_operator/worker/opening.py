"""Room `worker`: opens a chosen backup, proves it, and yields its plaintext; called by `worker.restore` and by_hand.

A file stays open from its verification to its last use, so that what is used is what was verified; and a run is held
against deletion as long as it is open.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO, Protocol

from backup_operator.contract.restore import Selection
from backup_operator.rules.naming import SAFETY_DIRECTORY, StoredForm
from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.choosing import Choice, choose
from backup_operator.worker.errors import KeyInvalid, TargetError, VerificationFailed, WorkerError
from backup_operator.worker.inspection import inspector_of
from backup_operator.worker.keys import Candidate, Keys
from backup_operator.worker.old_files import OldRdbInspector, without_last
from backup_operator.worker.progress import Progress
from backup_operator.worker.sources.base import Contents, Inspector
from backup_operator.worker.stages.base import BLOCK_BYTES
from backup_operator.worker.stages.chain import Sealed, Tally, unseal
from backup_operator.worker.stages.compress import decoder
from backup_operator.worker.store.catalog import read_entry
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry
from backup_operator.worker.store.hold import held
from backup_operator.worker.store.layout import open_inside

_OF_REDIS = frozenset({ArtifactKind.REDIS_RDB, ArtifactKind.REDIS_AOF})


class _Plaintext(Protocol):
    """The plaintext of a stored file; `sealed` tells at its end what was read."""

    @property
    def sealed(self) -> Sealed: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


@dataclass
class StoredArtifact:
    """A stored file, held open. Without a record it is one of the old scripts'."""

    name: str
    kind: ArtifactKind
    compression: Compression
    _file: BinaryIO
    _keys: tuple[Candidate, ...] | None = field(repr=False)
    """What may open it; None for a file that is not encrypted."""
    record: ArtifactRecord | None = None
    proven: Sealed | None = None
    """What its plaintext must be: what the entry says, else what its verification has found."""
    contents: Contents | None = None
    """What it holds, once it was verified."""
    surplus_bytes: int = 0
    """What lies behind the dump, and does not belong to it."""
    outline: bytes | None = field(default=None, repr=False)
    """A plain dump without its rows, where its verification was asked to keep it and it is small."""
    _is_verified: bool = field(default=False, init=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether a passphrase opens it."""
        return self._keys is not None

    @property
    def plain_bytes(self) -> int:
        """Size of the dump; 0 when it is neither recorded nor verified."""
        return self.proven.plain_bytes - self.surplus_bytes if self.proven else 0

    def verify(self, progress: Progress, *, keeps_outline: bool = False) -> Contents:
        """Read all of it and compare with its entry; without one, with nothing but its own end.

        Raises: VerificationFailed, KeyInvalid, DumpIncomplete, SourceError.
        """
        with inspector_of(self.kind) as inspector:
            if self.record is None and self.kind is ArtifactKind.REDIS_RDB:
                old = OldRdbInspector(inspector)
                self.contents = self._inspect(old, progress)
                self.surplus_bytes = old.surplus_bytes
            elif keeps_outline and self.kind is ArtifactKind.POSTGRES_PLAIN:
                self.contents = self._outlined(inspector, progress)
            else:
                self.contents = self._inspect(inspector, progress)
        return self.contents

    def _outlined(self, inspector: Inspector, progress: Progress) -> Contents:
        from backup_operator.worker.outline import Outline

        outline = Outline()
        contents = self._inspect(inspector, progress, outline.update)
        self.outline = outline.finish()
        return contents

    def _inspect(
        self, inspector: Inspector, progress: Progress, also: Callable[[bytes], None] = lambda _: None
    ) -> Contents:
        word = "keys" if self.kind in _OF_REDIS else "rows"
        progress.counted = lambda: {word: inspector.counted}
        with self.plaintext() as blocks:
            for block in progress.watch(blocks):
                inspector.update(block)
                also(block)
            contents = inspector.finish()
        self._is_verified = True
        return contents

    @contextmanager
    def plaintext(self) -> Iterator[Iterator[bytes]]:
        """The dump from its start; unproven before its end, which says that it is what was recorded or verified."""
        self._file.seek(0)
        with closing(self._unpacked()) as plaintext:
            yield without_last(self._compared(plaintext), self.surplus_bytes)

    def _unpacked(self) -> _Plaintext:
        if self._keys is None:
            return _Unencrypted(self._file, self.compression)
        passphrases = [key.passphrase for key in self._keys]
        # what is stored is hashed each time: the same bytes are the same plaintext
        return unseal(self._file, passphrases, self.compression, hashes_plaintext=not self._is_verified)

    def _compared(self, plaintext: _Plaintext) -> Iterator[bytes]:
        try:
            yield from plaintext
        except KeyInvalid as error:
            raise self._locked(error) from error
        if self.proven is None:
            self.proven = plaintext.sealed
        _compare(self.name, self.proven, plaintext.sealed, is_recorded=self.record is not None)

    def _locked(self, error: KeyInvalid) -> WorkerError:
        """Of a recorded file the key is known by its entry's fingerprint, so that it is the file that is wrong."""
        if self.record is not None:
            return _damaged(self.name, f"its first block does not open with the key of its entry: {error.message}")
        tried = ", ".join(dict.fromkeys(key.described for key in self._keys or ()))
        return KeyInvalid(
            f"no passphrase opens {self.name}; nothing was changed",
            detail=f"tried: {tried}. A damaged first block looks the same.",
            hint="Give the passphrase of before too: encryption.previousPassphraseSecretRefs (by hand: "
            "--passphrase-file once more).",
        )


class _Unencrypted:
    """The plaintext of a file that is packed at most."""

    def __init__(self, file: BinaryIO, compression: Compression) -> None:
        self._stored, self._plain = Tally(), Tally()
        self._blocks = self._run(file, compression)

    @property
    def sealed(self) -> Sealed:
        plain, stored = self._plain, self._stored
        return Sealed(plain.size_bytes, plain.sha256(), stored.size_bytes, stored.sha256())

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self._blocks.close()

    def _run(self, file: BinaryIO, compression: Compression) -> Generator[bytes]:
        yield from self._plain.watch(decoder(compression).decode(self._stored.watch(_blocks(file))))


def _blocks(file: BinaryIO) -> Iterable[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


@dataclass(frozen=True)
class OpenBackup:
    """A chosen backup, held open and held against deletion."""

    name: str
    """As people call it: a run, a safety backup, or a file."""
    began_at: datetime
    entry: Entry | None
    """None for a file that no entry tells of."""
    artifacts: tuple[StoredArtifact, ...]
    """The entry's order: the main one first."""
    key: Candidate | None
    """What it opens with; None where that is not known before, or not needed."""
    notes: tuple[str, ...] = ()


@contextmanager
def opened(store: Store, keys: Keys, selection: Selection) -> Iterator[OpenBackup]:
    """The selected backup.

    Raises: TargetError (BackupNotFound), KeyInvalid, StoreError, VerificationFailed when a file of it is gone.
    """
    with ExitStack() as stack:
        safety = open_inside(store, SAFETY_DIRECTORY)
        if safety is not None:
            stack.enter_context(safety)
        choice = choose(store, safety, keys, selection)
        if choice.form is not None:
            yield _open_file(stack, store, keys, choice, choice.form)
            return
        shelf = store if choice.name == choice.run or safety is None else safety
        yield _open_run(stack, shelf, keys, choice)


def _open_run(stack: ExitStack, shelf: Store, keys: Keys, choice: Choice) -> OpenBackup:
    try:
        stack.enter_context(held(shelf, choice.run))
        entry = read_entry(shelf, choice.run, keys.entries)
    except FileNotFoundError as exc:
        raise TargetError(
            Reason.BACKUP_NOT_FOUND,
            f"{choice.name} is being deleted at this moment; nothing was changed",
            hint="Take another backup of the list.",
        ) from exc
    key = keys.of_entry(entry.key_fingerprint)
    fitting = keys.readings if key is None else (key,)
    artifacts = tuple(_recorded(stack, shelf, record, fitting) for record in entry.artifacts)
    return OpenBackup(choice.name, entry.started_at, entry, artifacts, key, choice.notes)


def _recorded(stack: ExitStack, shelf: Store, record: ArtifactRecord, keys: tuple[Candidate, ...]) -> StoredArtifact:
    return StoredArtifact(
        name=record.name,
        kind=record.kind,
        compression=record.compression,
        _file=stack.enter_context(_open(shelf, record.name)),
        _keys=keys,
        record=record,
        proven=Sealed(record.plain_bytes, record.plain_sha256, record.stored_bytes, record.stored_sha256),
    )


def _open_file(stack: ExitStack, store: Store, keys: Keys, choice: Choice, form: StoredForm) -> OpenBackup:
    if form.encrypted and not keys.readings:
        raise KeyInvalid(f"{choice.name} is encrypted, and the passphrase is empty")
    artifact = StoredArtifact(
        name=choice.name,
        kind=form.kind,
        compression=form.compression,
        _file=stack.enter_context(_open(store, choice.name)),
        _keys=keys.readings if form.encrypted else None,
    )
    return OpenBackup(choice.name, form.at, None, (artifact,), None, choice.notes)


def _open(store: Store, name: str) -> BinaryIO:
    try:
        file = store.open_file(name)
    except FileNotFoundError as exc:
        raise VerificationFailed(f"{name} is missing from {store.directory}") from exc
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return file


def _compare(name: str, proven: Sealed, found: Sealed, *, is_recorded: bool) -> None:
    if found != (proven if found.plain_sha256 else replace(proven, plain_sha256="")):
        told = "its entry describes" if is_recorded else "was verified a moment ago"
        what = f"expected: SHA-256 {proven.stored_sha256}; found: SHA-256 {found.stored_sha256}"
        raise _damaged(name, f"it is not the file that {told}; {what}")


def _damaged(name: str, why: str) -> VerificationFailed:
    error = VerificationFailed(
        f"{name} is not what was stored once",
        detail=why,
        hint="Take another backup of the list, and check the volume and its node for disk errors.",
    )
    error.retryable = False
    return error

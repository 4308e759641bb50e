"""Room `worker.store`: writes the files of one run, and removes those of runs that died; called by `worker.backup`.

Every step leaves the store in one of three states: nothing of the run, an intent that names its files, or its entry.

    begin_run       <run>.json.started            the intent, before any other file
    create_partial  <artifact>.partial            named in the intent first
    seal_partial    fsync; the caller reads it back and verifies it
    publish         <artifact>                    its size noted in the intent first; never over another file
    commit          <run>.json                    the commit point; then the intent goes
    abandon, sweep_dead_runs                      the files that the intent names, then the intent

All of it happens under the store's lock.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from types import TracebackType
from typing import Any, BinaryIO, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from backup_operator.rules.naming import (
    ENTRY_SUFFIX,
    INTENT_SUFFIX,
    PARTIAL_SUFFIX,
    TOMBSTONE_SUFFIX,
    FileRole,
    artifact_name,
    parse_artifact_name,
    recognise,
    run_name,
    second_after,
    time_stamp,
)
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import StoreError
from backup_operator.worker.store.catalog import ENTRY_LIMIT_BYTES
from backup_operator.worker.store.directory import Store, write_all
from backup_operator.worker.store.entry import Entry, EntryKeys, new_salt, salt_of, seal_entry
from backup_operator.worker.store.faults import kubectl_beside

_INTENT_LIMIT_BYTES = 1 << 20


class _Intent(BaseModel):
    """What a run is about to leave: its files, and the stored size of those that have got their final name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format_version: int = 1
    run: str
    begun_at: AwareDatetime
    files: dict[str, int | None] = {}

    def encoded(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), indent=1).encode() + b"\n"


class PartialFile(FileIO):
    """An artifact while it is written, unbuffered; every write is whole or raises StoreError."""

    def __init__(self, store: Store, artifact: str, descriptor: int) -> None:
        super().__init__(descriptor, "wb")
        self.artifact = artifact
        """The name it will have."""
        self.size_bytes = 0
        self._store = store

    @property
    def partial_name(self) -> str:
        """The name it has until then."""
        return self.artifact + PARTIAL_SUFFIX

    def write(self, content: Any, /) -> int:
        """Write all of `content`. Returns: its length in bytes. Raises: StoreError."""
        view = memoryview(content).cast("B")
        with self._store.faults(f"writing {self.artifact}"):
            self._store.before_step(f"write {self.artifact}")
            write_all(self.fileno(), view)
        self.size_bytes += len(view)
        return len(view)


@dataclass(frozen=True)
class Swept:
    """A dead run whose files were removed."""

    run: str
    removed: tuple[str, ...]
    freed_bytes: int


class RunWriter:
    """Writes one run. A context manager: what is not committed when it is left is abandoned."""

    def __init__(self, store: Store, intent: _Intent, kind: SourceKind) -> None:
        self.run = intent.run
        self._store = store
        self._intent = intent
        self._kind = kind
        self._entry_may_be_there = False
        self._committed = False
        self._open_files: list[PartialFile] = []

    def create_partial(self, kind: ArtifactKind, compression: Compression) -> PartialFile:
        """A new file for an artifact of this run. Raises: StoreError."""
        name = artifact_name(self.run, kind, compression)
        if name in self._intent.files:
            raise ValueError(f"{name} is made twice in one run")
        self._note(name, None)
        try:
            descriptor = self._store.create(name + PARTIAL_SUFFIX)
        except FileExistsError as exc:
            raise _taken(self._store, name + PARTIAL_SUFFIX) from exc
        partial = PartialFile(self._store, name, descriptor)
        self._open_files.append(partial)
        return partial

    def seal_partial(self, partial: PartialFile) -> int:
        """Have the whole file on the volume, and close it. Returns: its size in bytes. Raises: StoreError."""
        self._store.sync_file(partial.fileno(), partial.partial_name)
        partial.close()
        return partial.size_bytes

    def open_sealed(self, partial: PartialFile) -> BinaryIO:
        """The sealed file for reading it back, from the volume and not from the page cache. Raises: StoreError."""
        try:
            return self._store.open_file(partial.partial_name)
        except FileNotFoundError as exc:
            raise StoreError(
                Reason.STORAGE_FAILED,
                f"{partial.partial_name} has vanished from {self._store.described} while the run was going on",
                hint=(
                    "See who else writes to or cleans up that volume: "
                    f"`{kubectl_beside(self._store.described)} get pods`."
                ),
            ) from exc

    def publish(self, partial: PartialFile) -> str:
        """Give a verified file its final name. Returns: that name. Raises: StoreError, also when the name is taken."""
        self._note(partial.artifact, partial.size_bytes)
        try:
            self._store.publish(partial.partial_name, partial.artifact)
        except FileExistsError as exc:
            self._note(partial.artifact, None)
            raise _taken(self._store, partial.artifact) from exc
        return partial.artifact

    def commit(self, entry: Entry, keys: EntryKeys) -> None:
        """Make the run a backup. Raises: StoreError; ValueError when the entry does not tell what was published."""
        told = {artifact.name: artifact.stored_bytes for artifact in entry.artifacts}
        if entry.run != self.run or entry.kind != self._kind or told != self._intent.files:
            raise ValueError(f"the entry of {entry.run} tells {told}, the run {self.run} left {self._intent.files}")
        name = self.run + ENTRY_SUFFIX
        self._store.create_whole(name + PARTIAL_SUFFIX, seal_entry(entry, keys, _salt_of_store(self._store)))
        self._entry_may_be_there = True
        try:
            self._store.publish(name + PARTIAL_SUFFIX, name)
        except FileExistsError as exc:
            self._entry_may_be_there = False
            raise _taken(self._store, name) from exc
        self._committed = True
        with suppress(StoreError):  # the backup is there; the next sweep removes its intent
            self._store.remove(self.run + INTENT_SUFFIX)
            self._store.sync_directory()

    def abandon(self) -> None:
        """Remove the files of a run that failed; after the commit, nothing. Raises: StoreError."""
        for file in self._open_files:
            with suppress(OSError):
                file.close()
        if self._committed:
            return
        if self._entry_may_be_there:
            # its commit failed half way: the entry has to go before the files that it lists
            self._store.remove(self.run + ENTRY_SUFFIX)
            self._store.sync_directory()
        _remove_run(self._store, self.run, self._intent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.abandon()
        except StoreError as exc:
            if error is None:
                raise
            error.add_note(f"its files could not be removed, the next run will: {exc.message}")

    def _note(self, artifact: str, stored_bytes: int | None) -> None:
        files = {**self._intent.files, artifact: stored_bytes}
        self._intent = self._intent.model_copy(update={"files": files})
        self._store.replace_whole(self.run + INTENT_SUFFIX, self._intent.encoded())


def begin_run(store: Store, kind: SourceKind, now: datetime) -> RunWriter:
    """A writer for a run of its own name: of this second, or the next one of which the store holds no file."""
    at = now
    while True:
        if not _second_is_taken(store, at):
            intent = _Intent(run=run_name(kind, at), begun_at=now)
            with suppress(FileExistsError):
                store.create_whole(intent.run + INTENT_SUFFIX, intent.encoded())
                return RunWriter(store, intent, kind)
        at = second_after(at)


def sweep_dead_runs(store: Store) -> tuple[Swept, ...]:
    """Remove the files of runs that died between intent and entry; needs the lock. Raises: StoreError.

    A file that no intent names is never touched, nor one that has another size than the run has noted.
    """
    intents = sorted(name for name in store.names() if recognise(name).role is FileRole.INTENT)
    return tuple(_sweep(store, str(recognise(name).run)) for name in intents)


def _sweep(store: Store, run: str) -> Swept:
    intent = _read_intent(store, run)
    if store.exists(run + ENTRY_SUFFIX) or store.exists(run + TOMBSTONE_SUFFIX):
        # it died after its commit: the published files are the backup's
        intent = intent and intent.model_copy(update={"files": dict.fromkeys(intent.files)})
    return _remove_run(store, run, intent)


def _read_intent(store: Store, run: str) -> _Intent | None:
    """The intent, or None when the run died while it wrote it: then it has no other file."""
    try:
        intent = _Intent.model_validate_json(store.read_file(run + INTENT_SUFFIX, _INTENT_LIMIT_BYTES))
    except (FileNotFoundError, ValidationError):
        return None
    return intent if intent.run == run else None


def _remove_run(store: Store, run: str, intent: _Intent | None) -> Swept:
    removed: list[str] = []
    freed_bytes = 0
    for name in _own_files(store, run, intent):
        size_bytes = store.size_of(name) or 0
        if store.remove(name):
            removed.append(name)
            freed_bytes += size_bytes
    store.sync_directory()
    store.remove(run + INTENT_SUFFIX)
    store.sync_directory()
    return Swept(run, tuple(removed), freed_bytes)


def _own_files(store: Store, run: str, intent: _Intent | None) -> list[str]:
    """The files that a run has left: those of its intent, of its own second, of the size that was noted."""
    own: list[str] = []
    for name, stored_bytes in (intent.files if intent else {}).items():
        parsed = parse_artifact_name(name)
        if parsed is None or str(parsed.run) != run:
            continue
        own.append(name + PARTIAL_SUFFIX)
        if stored_bytes is not None and store.size_of(name) == stored_bytes:
            own.append(name)
    return [*own, run + ENTRY_SUFFIX + PARTIAL_SUFFIX, run + INTENT_SUFFIX + PARTIAL_SUFFIX]


def _second_is_taken(store: Store, at: datetime) -> bool:
    stamp = time_stamp(at)
    return any(stamp in name for name in store.names())


def _salt_of_store(store: Store) -> bytes:
    """The salt of the newest entry, so that reading a whole catalog costs one derivation; a new one for a new store."""
    names = (name for name in sorted(store.names(), reverse=True) if recognise(name).role is FileRole.ENTRY)
    for name in names:
        with suppress(FileNotFoundError, StoreError):
            salt = salt_of(store.read_file(name, ENTRY_LIMIT_BYTES))
            if salt is not None:
                return salt
    return new_salt()


def _taken(store: Store, name: str) -> StoreError:
    error = StoreError(
        Reason.STORAGE_FAILED,
        f"{name} was made on {store.described} by somebody else while the run was going on",
        detail="nothing of theirs was changed, and the run's own files were removed",
        hint="Stop the old script or the other writer of that directory; the next run takes another name.",
    )
    error.retryable = True
    return error

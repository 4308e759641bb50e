"""Room `worker.sources`: what every source can do; called by `worker.backup` and `worker.verify`.

postgres and redis are twins: the same methods in the same order.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from backup_operator.vocabulary.choices import ArtifactKind


@dataclass(frozen=True)
class SourceFacts:
    """What preflight found: recorded in the entry, JSON-ready."""

    server: Mapping[str, object]
    """For example `version`, `database`, `encoding`, `extensions`, `roles`; Redis: `version`, `mode`, …"""
    client: Mapping[str, object]
    """Tool and version that dump, for example `{"tool": "pg_dump", "version": "17.12"}`."""
    encrypted_connection: bool
    estimated_bytes: int | None = None
    """An upper guess of the raw dump, for the check of free space."""
    warnings: tuple[str, ...] = ()
    """Things a person should know though the run goes on, for example quotes that were taken off the URL."""


@dataclass(frozen=True)
class Contents:
    """What an inspected dump holds, recorded in the entry."""

    rows_per_table: Mapping[str, int] | None = None
    """PostgreSQL: rows by `schema.table`, quoted as in SQL where needed; a table without rows counts 0."""
    keys_per_database: Mapping[int, "KeyCount"] | None = None
    """Redis: keys by database number."""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def rows(self) -> int | None:
        """All rows, or None where rows are not counted."""
        return None if self.rows_per_table is None else sum(self.rows_per_table.values())

    @property
    def keys(self) -> int | None:
        """All keys, or None where keys are not counted."""
        return None if self.keys_per_database is None else sum(count.keys for count in self.keys_per_database.values())


@dataclass(frozen=True)
class KeyCount:
    """Keys of one Redis database, and how many of them have a time to live."""

    keys: int
    expiring: int


class Inspector(Protocol):
    """Reads a plaintext once, from start to end, and says whether it is complete and what it holds; constant memory."""

    @property
    def counted(self) -> int:
        """Rows or keys so far, for the log of a long run."""
        ...

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete or SourceError when the stream is broken already."""
        ...

    def finish(self) -> Contents:
        """The stream has ended here. Raises: DumpIncomplete when it is not whole; SourceError when unreadable."""
        ...


class Dump(Protocol):
    """One artifact to make: its kind, its stream, and the inspector of its plaintext."""

    @property
    def kind(self) -> ArtifactKind:
        """What the plaintext is; decides the file name."""
        ...

    def stream(self) -> AbstractContextManager[Iterator[bytes]]:
        """The raw dump. The iterator's normal end means that the tool ended well and the stream is whole.

        Raises: SourceError, DumpIncomplete; leaving early ends the tool or connection.
        """
        ...

    def inspector(self) -> AbstractContextManager[Inspector]:
        """A fresh inspector for the plaintext of this artifact, used over the stored file when it is read back."""
        ...


class Source(Protocol):
    """A database that can be dumped. A context manager where it holds a connection or a snapshot over the run."""

    def preflight(self) -> SourceFacts:
        """Connect, look at versions, permissions and filters. Raises: SourceError, SecretMissing."""
        ...

    def dumps(self) -> Sequence[Dump]:
        """The artifacts of this run, in order; the first is the main one. Called after preflight."""
        ...

    def close(self) -> None:
        """Let go of connections and temporary files; may be called twice."""
        ...

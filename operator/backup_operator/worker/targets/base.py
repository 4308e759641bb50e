"""Room `worker.targets`: what every target can do; called by `worker.restore`.

postgres and redis are twins: the same methods in the same order. Nothing reaches a target that was not verified:
`worker.restore` reads the whole stored file to its right end first, and opens it again for `apply`. A target is made
with the `Checks` of the restore and runs those of its kind in `apply`, where a failing one can still be undone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from backup_operator.vocabulary.choices import ArtifactKind

PlaintextStream = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens the verified plaintext of an artifact from its start; its iterator's end is the verified end."""


@dataclass(frozen=True)
class RestoredArtifact:
    """A verified artifact to restore, and what its entry says of it; without an entry the counts are None."""

    kind: ArtifactKind
    name: str
    plain_bytes: int
    open: PlaintextStream
    rows_per_table: Mapping[str, int] | None = None
    keys_per_database: Mapping[int, int] | None = None
    server: Mapping[str, object] = field(default_factory=dict)
    """The source's facts as recorded: version, encoding, extensions, roles, …"""
    outline: bytes | None = field(default=None, repr=False)
    """A plain dump without its rows; None where the artifact itself has to be read for them."""


@dataclass(frozen=True)
class TargetPlan:
    """What a restore into this target would do, found without writing."""

    lines: tuple[str, ...]
    """Sentences for a person, in the order in which things happen."""
    pinned: Mapping[str, object]
    """What an approval pins, JSON-ready: identity, emptiness, lists of what is dropped, kept or in the way."""
    obstacles: tuple[str, ...] = ()
    """Why it cannot be done as things are; a restore with an obstacle is not begun."""
    overwritten: str = ""
    """What `confirm` must say; empty when nothing can be lost."""
    into: str = ""
    """The database, or `<host>/<N>` of a Redis, as a person calls it."""


@dataclass(frozen=True)
class Applied:
    """What was written: counts compared with those of the backup, and what a person should know."""

    counts: Mapping[str, int]
    """Rows by table, or keys by `db<N>`, as found in the target afterwards."""
    notes: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    """Commands that take it back, or clean up what was kept, one a line."""
    state: str = "The backup is in the target."
    """In one sentence, what the target holds now."""


class Target(Protocol):
    """A server that is restored into."""

    def survey(self, artifacts: Sequence[RestoredArtifact]) -> TargetPlan:
        """Connect and look; writes nothing. Raises: TargetError, SecretMissing."""
        ...

    def apply(self, artifacts: Sequence[RestoredArtifact], step: Callable[[str], None]) -> Applied:
        """Write; `step` is told the name of each step as it begins. Called once, after `survey`.

        Raises: TargetError whose message says in one sentence in what state the target is now.
        """
        ...

    def close(self) -> None:
        """Let go of connections, programs and temporary files; may be called twice."""
        ...

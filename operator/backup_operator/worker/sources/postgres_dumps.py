"""Room `worker.sources`: the artifacts of a PostgreSQL run, streamed from pg_dump; made by `sources.postgres`."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.process import Finished, Program
from backup_operator.worker.sources.base import Inspector
from backup_operator.worker.sources.postgres_archive import CustomInspector, whole_archive_reader
from backup_operator.worker.sources.postgres_clients import Client
from backup_operator.worker.sources.postgres_copy import CLUSTER_END, PlainInspector
from backup_operator.worker.sources.postgres_statements import without_statements


@dataclass(frozen=True)
class ProgramDump:
    """One artifact: what a client program writes to its stdout, behind `preamble`."""

    kind: ArtifactKind
    argv: Sequence[str]
    scratch: Path
    client: Client
    explain: Callable[[Finished], WorkerError]
    """Turns the program's end with an error into its reason."""
    preamble: bytes = b""
    unwanted: re.Pattern[bytes] | None = None
    """Statements of a plain dump that are taken out of it."""
    codec: str = "utf-8"
    """The encoding of the dump, for the names of tables in it."""

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        """The dump. Leaving early ends the program. Raises: SourceError, DumpIncomplete."""
        with Program(self.argv, environment=self._environment(), working_directory=self.scratch) as program:
            yield self._chunks(program)

    def inspector(self) -> AbstractContextManager[Inspector]:
        """A fresh reader of this artifact."""
        if self.kind is ArtifactKind.POSTGRES_CUSTOM:
            return self._custom_inspector()
        if self.kind is ArtifactKind.POSTGRES_GLOBALS:
            return nullcontext(PlainInspector(end_mark=CLUSTER_END))
        return nullcontext(PlainInspector(codec=self.codec))

    @contextmanager
    def _custom_inspector(self) -> Iterator[Inspector]:
        with whole_archive_reader(self.client) as pg_restore:
            yield CustomInspector(pg_restore, codec=self.codec)

    def _chunks(self, program: Program) -> Iterator[bytes]:
        if self.preamble:
            yield self.preamble
        chunks = program.chunks()
        yield from chunks if self.unwanted is None else without_statements(chunks, self.unwanted)
        finished = program.wait()
        if not finished.succeeded:
            raise self.explain(finished)

    def _environment(self) -> dict[str, str]:
        """No variable of this process goes on to the program; HOME keeps it from reading files of a person."""
        return {"LC_ALL": "C", "HOME": str(self.scratch)}

"""Room `worker.targets`: pg_restore, which turns an archive into SQL; called by `targets.postgres_*`.

The archive comes as a stream of verified plaintext and leaves as SQL, so that every statement is judged whatever the
format, and nothing is written to a disk on the way.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.process import Finished, Program
from backup_operator.worker.sources.postgres_clients import Client
from backup_operator.worker.targets.base import RestoredArtifact

_DETAIL_LIMIT = 600
_OLDEST_READERS = ((16, 17), (15, 16))
"""The minor version of an archive's format, and the oldest client that reads it. Source: pg_backup_archiver.h"""
_MINOR_OFFSET_BYTES = 6


class ArchiveRefused(TargetError):
    """pg_restore ended with an error; the message is completed with the state of the target by the caller."""


@contextmanager
def sql_of(
    artifact: RestoredArtifact, clients: Sequence[Client], scratch: Path, *, only_schema: bool = False
) -> Iterator[Iterator[bytes]]:
    """The artifact as SQL, whatever its format; `only_schema` leaves rows out where that saves reading them.

    Without it, the iterator's end is the verified end of the artifact. Raises: ArchiveRefused; what its reading raises.
    """
    if artifact.kind is not ArtifactKind.POSTGRES_CUSTOM:
        if only_schema and artifact.outline is not None:
            yield iter((artifact.outline,))
            return
        with artifact.open() as chunks:
            yield chunks
        return
    argv = [_reader_of(artifact, clients).pg_restore, "--file=-", *(["--schema-only"] if only_schema else [])]
    with (
        artifact.open() as chunks,
        ThreadPoolExecutor(1, thread_name_prefix="archive") as pool,
        Program(argv, environment=environment(scratch), feeds_stdin=True) as program,
    ):
        feeding = pool.submit(_feed, program, chunks, only_schema=only_schema)
        yield _converted(program, feeding)


def _reader_of(artifact: RestoredArtifact, clients: Sequence[Client]) -> Client:
    """The oldest client that reads this archive: a newer one would add settings that it did not hold."""
    head = b""
    with artifact.open() as chunks:
        for chunk in chunks:
            head += chunk
            if len(head) > _MINOR_OFFSET_BYTES:
                break
    minor = head[_MINOR_OFFSET_BYTES] if len(head) > _MINOR_OFFSET_BYTES else 0
    oldest = next((major for since, major in _OLDEST_READERS if minor >= since), 0)
    return next((each for each in clients if each.major >= oldest), clients[-1])


def _converted(program: Program, feeding: Future[None]) -> Iterator[bytes]:
    yield from program.chunks()
    finished = program.wait()
    # what reading the artifact raised comes first: pg_restore may have taken the cut for an end
    feeding.result()
    if not finished.succeeded:
        raise refused(finished)


def _feed(program: Program, chunks: Iterator[bytes], *, only_schema: bool) -> None:
    """Write the archive to the program. Where that stops early, its exit code says why; the end is still awaited."""
    try:
        for chunk in chunks:
            program.feed(chunk)
    except BrokenPipeError:
        if not only_schema:
            deque(chunks, maxlen=0)
    finally:
        program.end_of_input()


def environment(scratch: Path) -> dict[str, str]:
    """No variable of this process goes on to the program; HOME keeps it from reading files of a person."""
    return {"LC_ALL": "C", "HOME": str(scratch)}


def refused(finished: Finished) -> ArchiveRefused:
    """Why pg_restore failed, in its own words."""
    words = " | ".join(finished.stderr.strip().splitlines())[-_DETAIL_LIMIT:]
    return ArchiveRefused(
        Reason.RESTORE_FAILED,
        f"{finished.program} ended with exit code {finished.exit_code}.",
        detail=words or "It said nothing.",
        hint="Look at the server's log at that time.",
    )

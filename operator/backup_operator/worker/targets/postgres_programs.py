"""Room `worker.targets`: pg_restore, which turns an archive into SQL or restores it; called by `postgres_*`.

The archive comes as a stream of verified plaintext. Parallel jobs need it in a file, which is kept in the scratch
directory for as long as they run.
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
from backup_operator.worker.targets.scratch import free_bytes

_SPARE_BYTES = 64 << 20
"""What stays free in the scratch directory beside an archive: for the password file and pg_restore's own files."""
_DETAIL_LIMIT = 600


class ArchiveRefused(TargetError):
    """pg_restore ended with an error; the message is completed with the state of the target by the caller."""


@contextmanager
def sql_of(
    artifact: RestoredArtifact, client: Client, scratch: Path, *, only_schema: bool = False
) -> Iterator[Iterator[bytes]]:
    """The artifact as SQL, whatever its format; `only_schema` leaves rows out where that saves reading them.

    The iterator's end is the verified end of the artifact. Raises: ArchiveRefused; what its reading raises.
    """
    if artifact.kind is not ArtifactKind.POSTGRES_CUSTOM:
        with artifact.open() as chunks:
            yield chunks
        return
    argv = [client.pg_restore, "--file=-", *(["--schema-only"] if only_schema else [])]
    with (
        artifact.open() as chunks,
        ThreadPoolExecutor(1, thread_name_prefix="archive") as pool,
        Program(argv, environment=environment(scratch), feeds_stdin=True) as program,
    ):
        feeding = pool.submit(_feed, program, chunks, only_schema=only_schema)
        yield _converted(program, feeding)


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


def fits(artifact: RestoredArtifact, scratch: Path, limit_bytes: int | None) -> bool:
    """Whether the archive has room in the scratch directory, which takes no more than the limit where there is one."""
    return free_bytes(scratch, limit_bytes) > artifact.plain_bytes + _SPARE_BYTES


@contextmanager
def spooled(artifact: RestoredArtifact, scratch: Path) -> Iterator[Path]:
    """The archive in a file of mode 0600, gone afterwards. Raises: TargetError StorageFull; what reading it raises."""
    path = scratch / "restore.dump"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        with artifact.open() as chunks, path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def restore_in_parallel(
    client: Client, archive: Path, conninfo: str, *, jobs: int, sections: Sequence[str] = ()
) -> None:
    """Restore the archive, or these sections of it, into the database of the connection string.

    Raises: ArchiveRefused.
    """
    argv = [client.pg_restore, f"--dbname={conninfo}", "--no-password", "--exit-on-error", f"--jobs={jobs}"]
    argv += [*(f"--section={section}" for section in sections), str(archive)]
    with Program(argv, environment=environment(archive.parent), reads_stdout=False) as program:
        finished = program.wait()
    if not finished.succeeded:
        raise refused(finished)


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

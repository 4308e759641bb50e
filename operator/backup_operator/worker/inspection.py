"""Room `worker`: the inspector of a stored artifact, by its kind alone, when no database is at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.base import Inspector

CLIENTS_ROOT = Path("/usr/lib/postgresql")
REDIS_CHECK_RDB = "redis-check-rdb"


@contextmanager
def inspector_of(kind: ArtifactKind, *, clients_root: Path = CLIENTS_ROOT) -> Iterator[Inspector]:
    """A fresh inspector for the plaintext of this kind of artifact. Raises: SourceError without its tool."""
    match kind:
        case ArtifactKind.REDIS_RDB:
            from backup_operator.worker.sources.rdb_inspector import rdb_inspector

            with rdb_inspector(REDIS_CHECK_RDB) as inspector:
                yield inspector
        case ArtifactKind.REDIS_AOF:
            from backup_operator.worker.old_files import AofInspector

            yield AofInspector()
        case ArtifactKind.POSTGRES_CUSTOM:
            with _custom_inspector(clients_root) as inspector:
                yield inspector
        case _:
            from backup_operator.worker.sources.postgres_copy import CLUSTER_END, DATABASE_END, PlainInspector

            yield PlainInspector(end_mark=CLUSTER_END if kind is ArtifactKind.POSTGRES_GLOBALS else DATABASE_END)


@contextmanager
def _custom_inspector(clients_root: Path) -> Iterator[Inspector]:
    from backup_operator.worker.sources.postgres_archive import CustomInspector, whole_archive_reader
    from backup_operator.worker.sources.postgres_clients import installed_clients

    clients = installed_clients(clients_root)
    if not clients:
        raise SourceError(
            Reason.VERSION_MISMATCH,
            "an archive needs pg_restore, and no PostgreSQL client is installed",
            detail=f"looked below {clients_root}",
            hint="Use the backup image, or `apt-get install postgresql-client`.",
        )
    newest = max(clients, key=lambda client: client.major)
    with whole_archive_reader(newest) as pg_restore:
        yield CustomInspector(pg_restore)

"""Room `tests.support`: entries, keys and whole runs for the tests of the store, without any database."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial

from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry, EntryKeys, KeyTally, PolicyRecord
from backup_operator.worker.store.run import RunWriter, begin_run

NIGHT = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)
CONTENT = b"stored bytes " * 100


def derive_quickly(passphrase: bytes, salt: bytes) -> bytes:
    """Stands for the slow derivation of the stages, which the store does not know."""
    return hashlib.sha256(salt + passphrase).digest()


def keys_of(*passphrases: bytes) -> EntryKeys:
    """Entry keys of these passphrases, the one to write with first."""
    return EntryKeys([partial(derive_quickly, passphrase) for passphrase in passphrases])


KEYS = keys_of(b"the right passphrase")


def artifact(name: str = "backup_20231201_020000.sql.gz.gpg", content: bytes = CONTENT, **changes) -> ArtifactRecord:
    """The record of a stored file with this content."""
    facts = {
        "name": name,
        "kind": ArtifactKind.POSTGRES_PLAIN,
        "compression": Compression.GZIP,
        "stored_bytes": len(content),
        "stored_sha256": hashlib.sha256(content).hexdigest(),
        "plain_bytes": 5000,
        "plain_sha256": hashlib.sha256(b"plain").hexdigest(),
        "rows_per_table": {"public.users": 3, 'public."Größe"': 0},
    }
    return ArtifactRecord(**(facts | changes))


def entry(run: str = "backup_20231201_020000", **changes) -> Entry:
    """The entry of a PostgreSQL run with one artifact."""
    facts = {
        "run": run,
        "kind": SourceKind.POSTGRES,
        "policy": PolicyRecord(namespace="prod", name="app-db", spec_digest="0123abcd"),
        "started_at": NIGHT,
        "completed_at": NIGHT + timedelta(seconds=90),
        "verified": True,
        "artifacts": (artifact(f"{run}.sql.gz.gpg"),),
        "server": {"version": "17.12", "database": "app", "encoding": "UTF8", "roles": ["app", "app_owner"]},
        "client": {"tool": "pg_dump", "version": "17.12"},
        "encrypted_connection": True,
        "worker_version": "0.1.0",
    }
    return Entry(**(facts | changes))


def redis_entry(run: str = "redis_20231201_020000", **changes) -> Entry:
    """The entry of a Redis run."""
    record = artifact(
        f"{run}.rdb.gz.gpg",
        kind=ArtifactKind.REDIS_RDB,
        rows_per_table=None,
        keys_per_database={0: KeyTally(keys=5, expiring=2), 3: KeyTally(keys=1, expiring=0)},
    )
    facts = {"kind": SourceKind.REDIS, "artifacts": (record,), "server": {"version": "7.0.15"}}
    return entry(run, **(facts | changes))


def write_run(
    store: Store, at: datetime = NIGHT, content: bytes = CONTENT, keys: EntryKeys = KEYS, *, with_globals: bool = False
) -> str:
    """Make a whole good backup as the engine does. Returns: the run's name."""
    with begin_run(store, SourceKind.POSTGRES, at) as writer:
        kinds = [ArtifactKind.POSTGRES_PLAIN, *([ArtifactKind.POSTGRES_GLOBALS] if with_globals else [])]
        records = tuple(_write_artifact(writer, kind, content) for kind in kinds)
        writer.commit(entry(writer.run, started_at=at, artifacts=records), keys)
        return writer.run


def _write_artifact(writer: RunWriter, kind: ArtifactKind, content: bytes) -> ArtifactRecord:
    file = writer.create_partial(kind, Compression.GZIP)
    half = len(content) // 2
    file.write(content[:half])
    file.write(content[half:])
    writer.seal_partial(file)
    with writer.open_sealed(file) as stored:
        assert stored.read() == content
    return artifact(writer.publish(file), content, kind=kind)

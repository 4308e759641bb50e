"""Room `worker.sources`: a Redis (or Valkey) server as a source; called by `worker.backup` and `worker.verify`.

One artifact: the RDB that SYNC sends, of every database or, with `/N` in the URL, of database N.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import backup_operator
from backup_operator.contract.order import RedisOrder
from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.sources.base import Dump, Inspector, SourceFacts
from backup_operator.worker.sources.rdb_filter import RdbFilter
from backup_operator.worker.sources.rdb_inspector import rdb_inspector, reader_version, require_readable_version
from backup_operator.worker.sources.rdb_seal import RdbSeal
from backup_operator.worker.sources.redis_door import RedisDoor, snapshot_has_failed
from backup_operator.worker.sources.redis_faults import told_apart
from backup_operator.worker.sources.redis_preflight import (
    estimated_bytes,
    keys_by_database,
    require_dumpable,
    server_facts,
    warnings_of,
)
from backup_operator.worker.sources.redis_restores import require_no_restore
from backup_operator.worker.sources.redis_sync import request_snapshot, snapshot_chunks
from backup_operator.worker.sources.redis_tls import tls_context
from backup_operator.worker.sources.redis_url import parse_redis_url
from backup_operator.worker.sources.redis_wire import RedisWire

_VALKEY_HINT = (
    "Valkey cannot send hash fields with a time to live in a form that redis-server reads: "
    "its log says then `Can't store key … in RDB version 11`"
)


class RedisSource:
    """One Redis server, dumped over its replication protocol; `scratch` stays empty and no connection is kept."""

    def __init__(self, order: RedisOrder, *, scratch: Path, redis_check_rdb: str = "redis-check-rdb") -> None:
        self._order = order
        self._scratch = scratch
        self._redis_check_rdb = redis_check_rdb
        self._dumps: tuple[Dump, ...] = ()

    def preflight(self) -> SourceFacts:
        """Connect, look at the server's state and the user's permissions. Raises: SourceError, SecretMissing."""
        text, warnings = read_secret(self._order.url)
        url = parse_redis_url(text, self._order.url.described)
        door = RedisDoor(url, self._order.url, tls_context(url, self._order.tls))
        reader = reader_version(self._redis_check_rdb)
        with door.enter() as wire:
            info = door.read_info(wire)
            require_dumpable(info, url)
            _require_database(door, wire)
        others_are_empty = not set(keys_by_database(info)) - {url.database}
        server = server_facts(info, url)
        is_valkey = server["product"] == "Valkey"
        self._dumps = (RdbDump(door, self._redis_check_rdb, others_are_empty=others_are_empty, is_valkey=is_valkey),)
        return SourceFacts(
            server=server,
            client={"tool": "SYNC", "version": backup_operator.__version__, "reader": f"redis-check-rdb {reader}"},
            encrypted_connection=url.uses_tls,
            estimated_bytes=estimated_bytes(info),
            warnings=(*warnings, *url.warnings, *warnings_of(info, url)),
        )

    def dumps(self) -> Sequence[Dump]:
        """The RDB. Called after preflight."""
        if not self._dumps:
            raise ValueError("dumps() is called before preflight()")
        return self._dumps

    def close(self) -> None:
        """Nothing is held between the calls."""


class RdbDump:
    """The RDB of one server."""

    kind = ArtifactKind.REDIS_RDB

    def __init__(
        self, door: RedisDoor, redis_check_rdb: str, *, others_are_empty: bool, is_valkey: bool = False
    ) -> None:
        self._door = door
        self._redis_check_rdb = redis_check_rdb
        self._is_valkey = is_valkey
        self._others_are_empty = others_are_empty

    @contextmanager
    def stream(self) -> Iterator[Iterator[bytes]]:
        """The RDB as it is stored; its normal end means that it is whole. Raises: SourceError, DumpIncomplete."""
        with self._door.enter() as wire:
            require_no_restore(self._door, wire)
            yield self._kept_chunks(wire)

    def inspector(self) -> AbstractContextManager[Inspector]:
        """A fresh inspector for the RDB."""
        return rdb_inspector(self._redis_check_rdb)

    def _kept_chunks(self, wire: RedisWire) -> Iterator[bytes]:
        chunks = self._sealed_chunks(wire)
        if self._door.url.database is None:
            yield from chunks
            return
        keeping = RdbFilter(self._door.url.database, others_are_empty=self._others_are_empty)
        for chunk in chunks:
            yield from keeping.update(chunk)
        yield from keeping.finish()

    def _sealed_chunks(self, wire: RedisWire) -> Iterator[bytes]:
        """What the server sends; at the end its checksum is right."""
        seal = RdbSeal()
        is_readable = False
        for chunk in self._server_chunks(wire):
            seal.update(chunk)
            if not is_readable and seal.version is not None:
                require_readable_version(seal.version, self._redis_check_rdb)
                is_readable = True
            yield chunk
        seal.verify()

    def _server_chunks(self, wire: RedisWire) -> Iterator[bytes]:
        try:
            with told_apart(self._door.url, self._door.secret, "SYNC"):
                request_snapshot(wire)
                yield from snapshot_chunks(wire)
        except SourceError as exc:
            if exc.reason is Reason.CONNECTION_LOST and snapshot_has_failed(self._door):
                raise _snapshot_failed(exc, self._door) from exc
            if exc.reason is Reason.CONNECTION_LOST and self._is_valkey:
                exc.hint = f"{exc.hint} ({_VALKEY_HINT})"
            raise


def _snapshot_failed(lost: SourceError, door: RedisDoor) -> SourceError:
    return SourceError(
        Reason.SNAPSHOT_FAILED,
        f"{door.url.place} could not make its snapshot",
        detail="It closed the connection, and INFO says rdb_last_bgsave_status:err.",
        hint=lost.hint,
    )


def _require_database(door: RedisDoor, wire: RedisWire) -> None:
    if door.url.database is None:
        return
    with told_apart(door.url, door.secret, "SELECT"):
        if door.database_exists(wire):
            return
    raise SourceError(
        Reason.DATABASE_MISSING,
        f"{door.url.place} has no database {door.url.database}",
        hint=f"redis-cli -h {door.url.host} -p {door.url.port} CONFIG GET databases",
    )

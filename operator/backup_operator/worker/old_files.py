"""Room `worker`: inspectors of files that the old scripts made, of which no entry tells; used by `worker.opening`.

They are judged by their own completeness alone: an RDB by its end and checksum, an append-only file by its beginning
and, later, by the throw-away server that loads all of it before anything is written.
"""

from collections.abc import Iterable, Iterator

from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.sources.base import Contents, Inspector
from backup_operator.worker.sources.rdb_seal import RdbSeal

SYNC_END_MARK_BYTES = 40
"""What `redis-cli --rdb -` of the old scripts left behind the RDB. Source: redis-cli.c, function getRDB."""
_AOF_BEGINNINGS = (b"*", b"#", b"REDIS", b"VALKEY")


class OldRdbInspector:
    """Reads an RDB that may have the end mark of SYNC behind it; `surplus_bytes` says so after `finish`."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._seal = RdbSeal()
        self._held = b""
        self.surplus_bytes = 0

    @property
    def counted(self) -> int:
        """Keys so far."""
        return self._inspector.counted

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete or SourceError when they do not begin like an RDB."""
        chunk = self._held + chunk
        sure, self._held = chunk[:-SYNC_END_MARK_BYTES], chunk[-SYNC_END_MARK_BYTES:]
        if sure:
            self._seal.update(sure)
            self._inspector.update(sure)

    def finish(self) -> Contents:
        """What the RDB holds. Raises: DumpIncomplete when it is not whole; SourceError, VerificationFailed."""
        if self._is_whole_already():
            self.surplus_bytes = len(self._held)
        else:
            self._inspector.update(self._held)
        return self._inspector.finish()

    def _is_whole_already(self) -> bool:
        try:
            self._seal.verify()
        except DumpIncomplete:
            return False
        return True


class AofInspector:
    """Reads an append-only file: whether it begins like one."""

    counted = 0

    def __init__(self) -> None:
        self._head = b""

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if len(self._head) < 16:
            self._head += chunk[:16]

    def finish(self) -> Contents:
        """What it holds is known only when a server has loaded it. Raises: DumpIncomplete when it is none."""
        if not self._head.startswith(_AOF_BEGINNINGS):
            found = f"it begins with {self._head!r}" if self._head else "it is empty"
            raise DumpIncomplete("the file does not begin like an append-only file", detail=found)
        return Contents()


def without_last(blocks: Iterable[bytes], count_bytes: int) -> Iterator[bytes]:
    """The same bytes but for the last ones."""
    if not count_bytes:
        yield from blocks
        return
    held = b""
    for block in blocks:
        held += block
        if len(held) > count_bytes:
            yield held[:-count_bytes]
            held = held[-count_bytes:]

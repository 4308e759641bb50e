"""Room `worker.sources`: the head and the end of an RDB, checked while it streams; called by redis_sync and rdb_*.

An RDB begins with `REDIS` and four digits, and ends with the opcode 0xFF and the CRC-64 of everything before it, eight
bytes with the lowest first (all zero where the server has `rdbchecksum no`).
Source: https://github.com/redis/redis/blob/7.0/src/rdb.c, function rdbSaveRio
"""

import re

import anycrc

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError

HEADER_BYTES = 9
CHECKSUM_BYTES = 8
EOF_OPCODE = 0xFF
_FIRST_VERSION_WITH_CHECKSUM = 5
_END_BYTES = 1 + CHECKSUM_BYTES
_SMALLEST_RDB_BYTES = HEADER_BYTES + _END_BYTES
_REDIS_HEADER = re.compile(rb"REDIS(\d{4})")
_VALKEY_HEADER = re.compile(rb"VALKEY(\d{3})")
_CRC64 = anycrc.Model("CRC64-REDIS")
_AGAIN = "The next attempt makes a new dump; if it ends alike, look at the network and at the server's log."


def crc64(chunk: bytes | memoryview, crc: int = 0) -> int:
    """Redis's CRC-64 (Jones) of the chunk, continuing from `crc`."""
    return int(_CRC64.calc(chunk, crc))


def rdb_version(header: bytes) -> int:
    """The format version of the nine bytes that an RDB begins with. Raises: DumpIncomplete, SourceError."""
    if found := _REDIS_HEADER.fullmatch(header):
        version = int(found[1])
        if version >= _FIRST_VERSION_WITH_CHECKSUM:
            return version
        raise _unreadable(f"RDB version {version} is older than every version with a checksum (5)")
    if found := _VALKEY_HEADER.fullmatch(header):
        raise _unreadable(f"the dump is in Valkey's own RDB version {int(found[1])}, which no redis-server reads")
    raise DumpIncomplete("the dump does not begin like an RDB", detail=f"It begins with {header!r}.", hint=_AGAIN)


class RdbSeal:
    """Follows a whole RDB, in chunks cut anywhere, and says at its end whether it is the whole RDB."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._head = b""
        self._tail = b""
        self._crc = 0

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete or SourceError when they do not begin like an RDB."""
        if self.size_bytes < HEADER_BYTES:
            self._take_head(chunk)
        self.size_bytes += len(chunk)
        if len(chunk) < _END_BYTES:
            chunk, self._tail = self._tail + chunk, b""
        self._crc = crc64(self._tail, self._crc)
        self._crc = crc64(memoryview(chunk)[:-_END_BYTES], self._crc)
        self._tail = chunk[-_END_BYTES:]

    @property
    def version(self) -> int | None:
        """The RDB's format version, once its header was seen."""
        return rdb_version(self._head) if len(self._head) == HEADER_BYTES else None

    def verify(self) -> bool:
        """Whether the RDB carries a checksum; it is right then. Raises: DumpIncomplete when the RDB is not whole."""
        if self.size_bytes < _SMALLEST_RDB_BYTES:
            raise DumpIncomplete(f"the RDB ends after {self.size_bytes} bytes", hint=_AGAIN)
        if self._tail[0] != EOF_OPCODE:
            raise DumpIncomplete("the RDB ends before its end mark", hint=_AGAIN)
        written, found = int.from_bytes(self._tail[1:], "little"), crc64(self._tail[:1], self._crc)
        if written not in (0, found):
            raise DumpIncomplete(
                "the RDB's checksum is wrong: bytes are missing or changed",
                detail=f"CRC-64 of {self.size_bytes} bytes is {found:016x}, the RDB says {written:016x}.",
                hint=_AGAIN,
            )
        return written != 0

    def _take_head(self, chunk: bytes) -> None:
        self._head = (self._head + chunk[:HEADER_BYTES])[:HEADER_BYTES]
        if len(self._head) == HEADER_BYTES:
            rdb_version(self._head)


def _unreadable(what: str) -> SourceError:
    return SourceError(
        Reason.MODULE_DATA_UNSUPPORTED,
        f"the dump cannot be read by the image's redis-server: {what}",
        hint="Take a backup image whose redis-server is at least as new as the server, and of its kind.",
    )

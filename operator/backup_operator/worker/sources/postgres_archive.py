"""Room `worker.sources`: reads pg_dump's custom archives as a stream, to count rows; called by `worker.verify`.

The archive is a header, a table of contents, and one block of data for each entry that has data. It has no end mark:
whole means that every entry's block came and that pg_restore, which reads the same bytes, agrees.

Source: PostgreSQL's pg_backup_archiver.c (ReadHead, ReadToc) and pg_backup_custom.c, archive versions 1.12 to 1.16.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.process import Finished, Program
from backup_operator.worker.sources.base import Contents
from backup_operator.worker.sources.postgres_clients import Client
from backup_operator.worker.sources.postgres_copy import PlainInspector
from backup_operator.worker.sources.postgres_names import quote_qualified

_MAGIC = b"PGDMP"
_CUSTOM_FORMAT = 1
_OLDEST, _NEWEST = (1, 12), (1, 16)
_BLOCK_DATA, _BLOCK_LARGE_OBJECTS = 1, 3
_TEXT_LIMIT_BYTES = 256 << 20
_COPY_END_NEWLINES = 3
"""pg_dump ends the data of a COPY with `\\.` and three newlines."""
_NO_COMPRESSION = 0

_Steps = Generator[None, None, None]


@dataclass(frozen=True)
class _Entry:
    """An entry of the table of contents that has a block of data."""

    kind: str
    table: str


class ArchiveReader:
    """Reads an archive that was written without compression: rows per table, and whether every block came."""

    def __init__(self, *, codec: str = "utf-8") -> None:
        self._codec = codec
        self._data = b""
        self._position = 0
        self._int_bytes = 4
        self._offset_bytes = 8
        self._version = (0, 0)
        self._awaited: dict[int, _Entry] = {}
        self._rows: dict[str, int] = {}
        self._large_objects = 0
        self._at_block_start = False
        self._steps = self._archive()

    @property
    def counted(self) -> int:
        """Rows so far."""
        return sum(self._rows.values())

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete when they are no archive; SourceError for an unknown version."""
        self._data = self._data[self._position :] + chunk
        self._position = 0
        next(self._steps)

    def finish(self) -> Contents:
        """What the archive holds. Raises: DumpIncomplete when blocks are missing."""
        if not self._at_block_start or self._position != len(self._data):
            raise _cut("It ends in the middle of its header or of a block of data.")
        if self._awaited:
            tables = sorted(entry.table or entry.kind for entry in self._awaited.values())
            raise _cut(f"The data of {len(tables)} entries is missing, first {tables[0]}.")
        details = {"largeObjects": self._large_objects} if self._large_objects else {}
        return Contents(rows_per_table=dict(self._rows), details=details)

    def _archive(self) -> Generator[None, None, None]:
        yield from self._header()
        yield from self._contents()
        while True:
            self._at_block_start = True
            while self._position == len(self._data):
                yield
            self._at_block_start = False
            yield from self._block()

    # Reading of single values: each waits (yields) until enough bytes came.

    def _need(self, count: int) -> _Steps:
        while len(self._data) - self._position < count:
            yield

    def _bytes(self, count: int) -> Generator[None, None, bytes]:
        yield from self._need(count)
        start = self._position
        self._position = start + count
        return self._data[start : start + count]

    def _byte(self) -> Generator[None, None, int]:
        return (yield from self._bytes(1))[0]

    def _int(self) -> Generator[None, None, int]:
        raw = yield from self._bytes(1 + self._int_bytes)
        magnitude = int.from_bytes(raw[1:], "little")
        return -magnitude if raw[0] else magnitude

    def _text(self) -> Generator[None, None, bytes]:
        length = yield from self._int()
        if length > _TEXT_LIMIT_BYTES:
            raise _cut(f"A text of its table of contents is {length} bytes long.")
        return b"" if length <= 0 else (yield from self._bytes(length))

    def _optional_text(self) -> Generator[None, None, bytes | None]:
        length = yield from self._int()
        return None if length < 0 else (yield from self._bytes(length))

    def _header(self) -> _Steps:
        if (yield from self._bytes(5)) != _MAGIC:
            raise _cut("It does not begin like an archive of pg_dump.")
        major, minor, _revision = yield from self._bytes(3)
        self._version = (major, minor)
        if not _OLDEST <= self._version <= _NEWEST:
            raise SourceError(
                Reason.VERSION_MISMATCH,
                f"The archive's format {major}.{minor} is not one that this worker reads.",
                hint="Set spec.source.postgres.format to Plain, or install a newer release of the operator.",
            )
        self._int_bytes = yield from self._byte()
        self._offset_bytes = yield from self._byte()
        if (yield from self._byte()) != _CUSTOM_FORMAT:
            raise _cut("It is not an archive of the custom format.")
        compression = yield from (self._byte() if self._version >= (1, 15) else self._int())
        if compression != _NO_COMPRESSION:
            raise _cut("It was written with compression of its own.")
        for _ in range(7):
            yield from self._int()
        for _ in range(3):
            yield from self._text()

    def _contents(self) -> _Steps:
        count = yield from self._int()
        for _ in range(count):
            yield from self._entry()

    def _entry(self) -> _Steps:
        number = yield from self._int()
        has_data = yield from self._int()
        yield from self._text()
        yield from self._text()
        tag = yield from self._text()
        kind = yield from self._text()
        yield from self._int()
        yield from self._text()
        yield from self._text()
        copy_statement = yield from self._text()
        namespace = yield from self._text()
        yield from self._text()
        if self._version >= (1, 14):
            yield from self._text()
        if self._version >= (1, 16):
            yield from self._int()
        yield from self._text()
        yield from self._text()
        while (yield from self._optional_text()) is not None:
            pass
        yield from self._bytes(1 + self._offset_bytes)
        if has_data:
            self._await(number, kind.decode(), self._table_name(namespace, tag, copy_statement))

    def _await(self, number: int, kind: str, table: str) -> None:
        self._awaited[number] = _Entry(kind, table if kind == "TABLE DATA" else "")
        if kind == "TABLE DATA":
            self._rows.setdefault(table, 0)

    def _table_name(self, namespace: bytes, tag: bytes, copy_statement: bytes) -> str:
        """`schema.table` as the COPY statement has it, or quoted by us where there is none."""
        if copy_statement:
            counter = PlainInspector(codec=self._codec)
            counter.update(copy_statement + b"\\.\n")
            names = list(counter.tables)
            if names:
                return names[0]
        schema, table = (text.decode(self._codec, "backslashreplace") for text in (namespace, tag))
        return quote_qualified(schema, table)

    def _block(self) -> _Steps:
        block = yield from self._byte()
        number = yield from self._int()
        entry = self._awaited.pop(number, None)
        if entry is None or block not in (_BLOCK_DATA, _BLOCK_LARGE_OBJECTS):
            raise _cut("A block of data belongs to no entry of its table of contents.")
        if block == _BLOCK_DATA:
            rows = yield from self._pieces()
            if entry.table:
                self._rows[entry.table] += rows - _COPY_END_NEWLINES
            return
        while (yield from self._int()):
            self._large_objects += 1
            yield from self._pieces()

    def _pieces(self) -> Generator[None, None, int]:
        """The newlines in the pieces of one block: COPY writes one at the end of every row and none inside."""
        head = 1 + self._int_bytes
        unpack = struct.Struct("<xI").unpack_from if self._int_bytes == 4 else None
        if unpack is None:
            raise _cut(f"Its integers have {self._int_bytes} bytes.")
        newlines = 0
        while True:
            data, position, end = self._data, self._position, len(self._data)
            # most pieces are single rows: this loop is the fast path
            while position + head <= end:
                (length,) = unpack(data, position)
                stop = position + head + length
                if stop > end or not length:
                    break
                newlines += data.count(b"\n", position + head, stop)
                position = stop
            self._position = position
            length = yield from self._int()
            if not length:
                return newlines
            newlines += yield from self._long_piece(length)

    def _long_piece(self, length: int) -> Generator[None, None, int]:
        """The newlines of a piece that may be longer than what came so far, without keeping it."""
        newlines = 0
        while length > 0:
            while self._position == len(self._data):
                yield
            taken = min(length, len(self._data) - self._position)
            newlines += self._data.count(b"\n", self._position, self._position + taken)
            self._position += taken
            length -= taken
        return newlines


class CustomInspector:
    """Feeds an archive to our reader and to pg_restore at the same time; both must find it whole."""

    def __init__(self, pg_restore: Program, *, codec: str = "utf-8") -> None:
        self._reader = ArchiveReader(codec=codec)
        self._pg_restore = pg_restore

    @property
    def counted(self) -> int:
        """Rows so far."""
        return self._reader.counted

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete when pg_restore has ended with an error."""
        self._reader.update(chunk)
        try:
            self._pg_restore.feed(chunk)
        except BrokenPipeError as exc:
            raise _refused(self._pg_restore.wait()) from exc

    def finish(self) -> Contents:
        """What the archive holds. Raises: DumpIncomplete."""
        contents = self._reader.finish()
        self._pg_restore.end_of_input()
        finished = self._pg_restore.wait()
        if not finished.succeeded:
            raise _refused(finished)
        return contents


def whole_archive_reader(client: Client) -> Program:
    """pg_restore that reads an archive from stdin to its end and throws the SQL away."""
    argv = [client.pg_restore, "--file=/dev/null"]
    return Program(argv, environment={"LC_ALL": "C"}, feeds_stdin=True, reads_stdout=False)


def _refused(finished: Finished) -> DumpIncomplete:
    return _cut(f"pg_restore says: {finished.stderr.strip()[-400:] or finished.exit_code}")


def _cut(detail: str) -> DumpIncomplete:
    return DumpIncomplete(
        "The archive is cut or broken: it does not come to its proper end.",
        detail=detail,
        hint="Run the backup again; look at the log of the failed run for the first error.",
    )

"""Room `worker.sources`: walks through the structure of an RDB of any size; called by rdb_filter and rdb_inspector.

It takes chunks cut anywhere, holds none of the values, and counts keys per database. Nothing is decoded: only lengths
are read. Sources: https://github.com/redis/redis/blob/8.0/src/rdb.h and rdb.c, functions rdbLoadObject and
rdbLoadRioWithLoadingCtx.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from backup_operator.worker.sources.rdb_encoding import (
    BrokenRdb,
    length_end,
    module_name,
    old_double_end,
    read_length,
    string_end,
    string_head,
)
from backup_operator.worker.sources.rdb_seal import CHECKSUM_BYTES, EOF_OPCODE, HEADER_BYTES, rdb_version

_SLOT_INFO, _FUNCTION2, _MODULE_AUX, _IDLE, _FREQ = 244, 245, 247, 248, 249
_AUX, _RESIZE_DB, _EXPIRE_MS, _EXPIRE_SECONDS, _SELECT_DB = 250, 251, 252, 253, 254
_EXPIRE_MS_BYTES = 8
_SMALL_COLLECTION = 128
"""Elements up to which a collection that does not lie whole in the buffer is read twice rather than slowly."""
_MODULE_2 = 7
_STREAMS = {15: 1, 19: 2, 21: 3}
"""Value types of streams, and the version of their layout."""
_ONE_STRING = frozenset({0, 9, 10, 11, 12, 13, 16, 17, 20, 23})
"""Value types that are one string: plain, or a whole zipmap, ziplist, intset or listpack."""

_Walk = Generator[None, None, None]
_Number = Generator[None, None, int]


THE_END = -1
"""What `on_part` is told instead of a database for the end opcode and the checksum."""


class UnknownRecord(Exception):
    """A value type or opcode that this reader does not know: nothing after it can be counted."""


@dataclass
class RdbStructure:
    """What was seen so far."""

    keys: dict[int, int] = field(default_factory=dict)
    """Keys by database number; databases that the RDB names without keys count 0."""
    expiring: dict[int, int] = field(default_factory=dict)
    """Keys with a time to live, by database number."""
    functions: int = 0
    modules: set[str] = field(default_factory=set)
    """Type names of modules that wrote values or data of their own."""
    whole: bool = False
    """Whether the end opcode and the checksum after it were seen."""


class RdbReader:
    """Reads one RDB. `on_part(offset, database)` hears where a part begins and whose: a database's, THE_END, or None.

    Everything before `consumed_bytes` was told to `on_part` already.
    """

    def __init__(self, on_part: Callable[[int, int | None], None] = lambda _offset, _database: None) -> None:
        self.structure = RdbStructure()
        self._on_part = on_part
        self._buffer = b""
        self._position = 0
        self._base = 0
        self._database = 0
        self._walk = self._whole_rdb()
        next(self._walk)

    @property
    def consumed_bytes(self) -> int:
        """How far the structure was read; at most some bytes less than what was fed."""
        return self._base + self._position

    def feed(self, chunk: bytes) -> None:
        """Read on. Raises: UnknownRecord, BrokenRdb; DumpIncomplete or SourceError for a header that is none."""
        self._base += self._position
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        try:
            next(self._walk)
        except StopIteration:
            self._walk = self._after_the_end()
            next(self._walk)

    def _whole_rdb(self) -> _Walk:
        yield
        start = yield from self._bytes(HEADER_BYTES)
        rdb_version(self._buffer[start : start + HEADER_BYTES])
        self._on_part(0, None)
        while (yield from self._keys()):
            pass
        yield from self._bytes(CHECKSUM_BYTES)
        self.structure.whole = True
        if self._position < len(self._buffer):
            raise BrokenRdb("bytes follow the end of the RDB")

    def _after_the_end(self) -> _Walk:
        yield
        while self._position == len(self._buffer):
            yield
        raise BrokenRdb("bytes follow the end of the RDB")

    def _keys(self) -> Generator[None, None, bool]:
        """Whether the RDB goes on: runs over the keys that lie whole in the buffer, then takes one record slowly."""
        self._run_over_simple_keys()
        return (yield from self._record())

    def _run_over_simple_keys(self) -> None:
        """Skip small keys while they lie whole in the buffer: what most keys are, so it is fast."""
        buffer, size, position = self._buffer, len(self._buffer), self._position
        keys = expiring = 0
        try:
            while True:
                at, expires = position, 0
                kind = buffer[at]
                if kind == _EXPIRE_MS:
                    at, expires = at + 1 + _EXPIRE_MS_BYTES, 1
                    kind = buffer[at]
                if kind in (_FREQ, _IDLE):
                    at = at + 2 if kind == _FREQ else length_end(buffer, at + 1)
                    kind = buffer[at]
                if kind not in _SIMPLE_KINDS:
                    break
                length = buffer[at + 1]
                at = at + 2 + length if length < 64 else string_end(buffer, at + 1)
                if kind in _ONE_STRING:
                    length = buffer[at]
                    at = at + 1 + length if length < 64 else string_end(buffer, at)
                else:
                    at = _small_collection_end(buffer, at, kind)
                if at > size:
                    break
                position = at
                keys += 1
                expiring += expires
        except IndexError:
            pass  # the key goes on in the next chunk, or is large: `_record` takes it
        self._position = position
        self._count(keys, expiring)

    def _count(self, keys: int, expiring: int) -> None:
        if keys:
            structure, database = self.structure, self._database
            structure.keys[database] = structure.keys.get(database, 0) + keys
            structure.expiring[database] = structure.expiring.get(database, 0) + expiring

    def _record(self) -> Generator[None, None, bool]:
        """Whether the RDB goes on after one opcode, or one key with what stands before it."""
        expiring = 0
        while True:
            kind = yield from self._peek_byte()
            if kind == _SELECT_DB:
                yield from self._select_database()
                return True
            self._begin_part(kind)
            self._position += 1
            if kind == EOF_OPCODE:
                return False
            if kind in (_EXPIRE_MS, _EXPIRE_SECONDS):
                expiring = 1
            if kind < _SLOT_INFO:
                yield from self._string()
                yield from self._value(kind)
                self._count(1, expiring)
                return True
            yield from self._opcode(kind)
            if kind not in (_EXPIRE_MS, _EXPIRE_SECONDS, _FREQ, _IDLE):
                return True

    def _begin_part(self, kind: int) -> None:
        if kind in (_AUX, _MODULE_AUX, _FUNCTION2):
            self._on_part(self.consumed_bytes, None)
        if kind == EOF_OPCODE:
            self._on_part(self.consumed_bytes, THE_END)

    def _select_database(self) -> _Walk:
        while True:
            try:
                database, end = read_length(self._buffer, self._position + 1)
            except IndexError:
                yield
                continue
            break
        self._on_part(self.consumed_bytes, database)
        self._position = end
        self._database = database
        self.structure.keys.setdefault(database, 0)
        self.structure.expiring.setdefault(database, 0)

    def _opcode(self, kind: int) -> _Walk:
        if kind == _FUNCTION2:
            self.structure.functions += 1
        if kind == _MODULE_AUX:
            yield from self._module_value()
        elif kind in _OPCODE_LAYOUTS:
            yield from self._elements(1, _OPCODE_LAYOUTS[kind])
        else:
            raise UnknownRecord(f"opcode {kind}")

    def _value(self, kind: int) -> _Walk:
        if kind in _ONE_STRING:
            yield from self._string()
        elif kind in _COUNTED_LAYOUTS:
            before_bytes, layout = _COUNTED_LAYOUTS[kind]
            yield from self._skip(before_bytes)
            count = yield from self._length()
            yield from self._elements(count, layout)
        elif kind == _HASH_LISTPACK_EX:
            yield from self._elements(1, _EIGHT_AND_STRING)
        elif kind in _STREAMS:
            yield from self._stream(_STREAMS[kind])
        elif kind == _MODULE_2:
            yield from self._module_value()
        else:
            raise UnknownRecord(f"value type {kind}")

    def _stream(self, version: int) -> _Walk:
        listpacks = yield from self._length()
        yield from self._elements(listpacks, _TWO_STRINGS)
        yield from self._elements(3 if version == 1 else 8, _ONE_LENGTH)
        for _group in range((yield from self._length())):
            yield from self._string()
            yield from self._elements(2 if version == 1 else 3, _ONE_LENGTH)
            pending = yield from self._length()
            yield from self._elements(pending, _PENDING_ENTRY)
            for _consumer in range((yield from self._length())):
                yield from self._string()
                yield from self._skip(8 if version < 3 else 16)
                pending = yield from self._length()
                yield from self._elements(pending, _STREAM_ID)

    def _module_value(self) -> _Walk:
        self.structure.modules.add(module_name((yield from self._length())))
        while operation := (yield from self._length()):
            if operation not in _MODULE_LAYOUTS:
                raise BrokenRdb(f"module value with the unknown operation {operation}")
            yield from self._elements(1, _MODULE_LAYOUTS[operation])

    def _elements(self, count: int, layout: "_Layout") -> _Walk:
        """Skip `count` elements of one layout: those that lie whole in the buffer fast, one that does not slowly."""
        while count:
            count -= self._run_over_elements(count, layout)
            if count:
                for part in layout:
                    yield from part.walk(self)
                count -= 1

    def _run_over_elements(self, count: int, layout: "_Layout") -> int:
        buffer, size, position = self._buffer, len(self._buffer), self._position
        done = 0
        try:
            while done < count:
                at = position
                for part in layout:
                    at = part.end(buffer, at)
                if at > size:
                    break
                position = at
                done += 1
        except IndexError:
            pass  # the element goes on in the next chunk
        self._position = position
        return done

    def _bytes(self, count: int) -> _Number:
        """The position of `count` bytes that lie whole in the buffer, now read."""
        while len(self._buffer) - self._position < count:
            yield
        self._position += count
        return self._position - count

    def _peek_byte(self) -> _Number:
        while self._position >= len(self._buffer):
            yield
        return self._buffer[self._position]

    def _skip(self, count: int) -> _Walk:
        """Pass over any number of bytes without holding them."""
        while (there := len(self._buffer) - self._position) < count:
            self._position += there
            count -= there
            yield
        self._position += count

    def _length(self) -> _Number:
        while True:
            try:
                length, self._position = read_length(self._buffer, self._position)
            except IndexError:
                yield
                continue
            return length

    def _string(self) -> _Walk:
        while True:
            try:
                head_end, rest_bytes = string_head(self._buffer, self._position)
            except IndexError:
                yield
                continue
            break
        self._position = head_end
        yield from self._skip(rest_bytes)

    def _old_double(self) -> _Walk:
        at = yield from self._bytes(1)
        length = self._buffer[at]
        yield from self._skip(length if length < 253 else 0)


def _small_collection_end(buffer: bytes, at: int, kind: int) -> int:
    """Where a collection ends. Raises: IndexError when it goes on behind the buffer, or is not small."""
    before_bytes, layout = _COUNTED_LAYOUTS[kind]
    count, at = read_length(buffer, at + before_bytes)
    if count > _SMALL_COLLECTION:
        raise IndexError
    for _element in range(count):
        for part in layout:
            at = part.end(buffer, at)
    return at


@dataclass(frozen=True)
class _Part:
    """One part of an element: where it ends when it lies whole in the buffer, and how to walk over it otherwise."""

    end: Callable[[bytes, int], int]
    walk: Callable[[RdbReader], _Walk]


_Layout = tuple[_Part, ...]


def _fixed(size_bytes: int) -> _Part:
    return _Part(lambda _buffer, at: at + size_bytes, lambda reader: reader._skip(size_bytes))


def _walk_length(reader: RdbReader) -> _Walk:
    yield from reader._length()


_STRING = _Part(string_end, RdbReader._string)
_LENGTH = _Part(length_end, _walk_length)
_OLD_DOUBLE = _Part(old_double_end, RdbReader._old_double)
_ONE_LENGTH: _Layout = (_LENGTH,)
_TWO_STRINGS: _Layout = (_STRING, _STRING)
_EIGHT_AND_STRING: _Layout = (_fixed(8), _STRING)
_PENDING_ENTRY: _Layout = (_fixed(16 + 8), _LENGTH)
_STREAM_ID: _Layout = (_fixed(16),)
_HASH_LISTPACK_EX = 25
_COUNTED_LAYOUTS: dict[int, tuple[int, _Layout]] = {
    1: (0, (_STRING,)),  # list
    2: (0, (_STRING,)),  # set
    3: (0, (_STRING, _OLD_DOUBLE)),  # sorted set with scores as text
    4: (0, _TWO_STRINGS),  # hash
    5: (0, (_STRING, _fixed(8))),  # sorted set
    14: (0, (_STRING,)),  # quicklist of ziplists
    18: (0, (_LENGTH, _STRING)),  # quicklist of listpacks and plain nodes
    22: (0, (_LENGTH, _STRING, _STRING)),  # hash with field TTLs, before 7.4's release
    24: (8, (_LENGTH, _STRING, _STRING)),  # hash with field TTLs
}
"""Value types that are a count and then elements: bytes before the count, and the layout of an element."""
_SIMPLE_KINDS = _ONE_STRING.union(_COUNTED_LAYOUTS)
_OPCODE_LAYOUTS: dict[int, _Layout] = {
    _SLOT_INFO: (_LENGTH, _LENGTH, _LENGTH),
    _FUNCTION2: (_STRING,),
    _IDLE: (_LENGTH,),
    _FREQ: (_fixed(1),),
    _AUX: _TWO_STRINGS,
    _RESIZE_DB: (_LENGTH, _LENGTH),
    _EXPIRE_MS: (_fixed(_EXPIRE_MS_BYTES),),
    _EXPIRE_SECONDS: (_fixed(4),),
}
_MODULE_LAYOUTS: dict[int, _Layout] = {
    1: (_LENGTH,),
    2: (_LENGTH,),
    3: (_fixed(4),),
    4: (_fixed(8),),
    5: (_STRING,),
}
"""Operations of a module's value: signed and unsigned integer, float, double, string."""

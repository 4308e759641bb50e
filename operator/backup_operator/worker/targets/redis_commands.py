"""Room `worker.targets`: reads the commands of an append-only file that redis-server wrote; called by redis*.

Such a file is a row of RESP arrays: function libraries first, then SELECT and the keys of each database, the commands
of one key next to each other.
Source: https://github.com/redis/redis/blob/7.0/src/aof.c, function rewriteAppendOnlyFileRio
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PIECE_BYTES: Final = 1 << 20
_KEPT_BYTES: Final = 16 * PIECE_BYTES
"""So much of the mapped file stays in memory behind the place that is read."""
_WORDS_PLACED: Final = 5
LARGE_KEY_BYTES: Final = 16 << 20
"""Of a key with more commands than this, only the first so many go into one transaction."""
_SINCE_7 = {b"XSETID": 3, b"XGROUP": 5}
"""Words of a command up to those that Redis 7.0 added behind them (ENTRIESADDED, MAXDELETEDID, ENTRIESREAD)."""


@dataclass(frozen=True)
class Command:
    """One command: where it is in the file, and where its first words are. A value can be as large as 512 MiB."""

    content: mmap.mmap | bytes
    places: tuple[tuple[int, int], ...]
    """Start and size of the first five words."""
    count: int
    """Words in it."""
    start: int
    end: int

    def word(self, number: int) -> bytes:
        """One of the first five words."""
        start, size = self.places[number]
        return self.content[start : start + size]

    @property
    def name(self) -> bytes:
        """The first word."""
        return self.word(0)


@dataclass(frozen=True)
class KeySpan:
    """A part of the file that belongs to one key, or a SELECT, which has no key."""

    key: bytes | None
    start: int
    end: int
    count: int
    """Commands in it."""
    goes_on: bool = False
    """Whether it continues a key that was too large for one span."""


class CommandFile:
    """An append-only file without an RDB at its start, mapped into memory; `mapped_command_file` opens it."""

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self._content = content
        self.body = self._after_functions()
        """Where the keys begin."""

    def functions(self) -> tuple[bytes, ...]:
        """The code of the function libraries that stand before the keys."""
        return tuple(command.word(2) for command in self.commands(0, self.body))

    def mentions(self, word: bytes) -> bool:
        """Whether the word is in the file, as a command, an option or a value; found at the speed of the disk."""
        wanted = b"$%d\r\n%b\r\n" % (len(word), word)
        for start in range(0, len(self._content), _KEPT_BYTES):
            found = self._content.find(wanted, start, start + _KEPT_BYTES + len(wanted))
            self._forget()
            if found >= 0:
                return True
        return False

    def uses(self, name: str) -> bool:
        """Whether a command of this name is in the file."""
        word = name.encode()
        return self.mentions(word) and any(command.name == word for command in self.commands(0))

    def pieces(self, start: int, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, or to the end, in pieces of at most 1 MiB."""
        stop = len(self._content) if end is None else end
        for offset in range(start, stop, PIECE_BYTES):
            yield self._content[offset : min(stop, offset + PIECE_BYTES)]
            if (offset - start) % _KEPT_BYTES == _KEPT_BYTES - PIECE_BYTES:
                self._forget()

    def __len__(self) -> int:
        return len(self._content)

    def commands(self, start: int, end: int | None = None) -> Iterator[Command]:
        """The commands from `start` on, in order. Raises: ValueError where the bytes are no commands."""
        content, position, stop = self._content, start, len(self._content) if end is None else end
        kept_from = start
        while position < stop:
            begin = position
            if begin - kept_from > _KEPT_BYTES:
                self._forget()
                kept_from = begin
            line = content.find(b"\r\n", position)
            places = []
            count, position = int(content[begin + 1 : line]), line + 2
            for number in range(count):
                line = content.find(b"\r\n", position)
                size = int(content[position + 1 : line])
                if number < _WORDS_PLACED:
                    places.append((line + 2, size))
                position = line + 4 + size
            yield Command(content, tuple(places), count, begin, position)

    def key_spans(self) -> Iterator[KeySpan]:
        """The body cut where the key changes; a key of more than 16 MiB of commands is cut more often."""
        key: bytes | None = None
        begin = end = self.body
        count, goes_on = 0, False
        for command in self.commands(self.body):
            named = key_of(command)
            if count and (named != key or command.start - begin >= LARGE_KEY_BYTES):
                yield KeySpan(key, begin, command.start, count, goes_on)
                goes_on = named == key and key is not None
                begin, count = command.start, 0
            key, end = named, command.end
            count += 1
        if count:
            yield KeySpan(key, begin, end, count, goes_on)

    def _forget(self) -> None:
        """Let go of the file's pages that are in memory; they are read again when they are needed."""
        if isinstance(self._content, mmap.mmap):
            self._content.madvise(mmap.MADV_DONTNEED)

    def _after_functions(self) -> int:
        for command in self.commands(0):
            if command.name.upper() != b"FUNCTION":
                return command.start
        return len(self._content)


def key_of(command: Command) -> bytes | None:
    """The key that a command of an append-only file writes; None for SELECT."""
    name = command.name
    if name == b"SELECT":
        return None
    return command.word(2 if name == b"XGROUP" else 1)


@contextmanager
def mapped_command_file(path: Path) -> Iterator[CommandFile]:
    """The file, mapped for reading. Raises: OSError."""
    if not path.stat().st_size:
        yield CommandFile(b"")
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield CommandFile(content)


def write_for_servers_before_7(commands: CommandFile, path: Path) -> None:
    """The same commands in a file of their own, without what Redis 7.0 added to the commands of streams."""
    with path.open("wb", buffering=PIECE_BYTES) as file:
        for command in commands.commands(0):
            kept = _SINCE_7.get(command.name, command.count)
            if kept >= command.count:
                file.writelines(commands.pieces(command.start, command.end))
            else:
                words = [command.word(number) for number in range(kept)]
                file.write(b"*%d\r\n" % kept + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def library_name(code: bytes) -> str:
    """The name in a function library's first line (`#!lua name=mine`); empty where it has none."""
    first = code.split(b"\n", 1)[0].decode(errors="replace")
    return next((word.partition("=")[2] for word in first.split() if word.startswith("name=")), "")

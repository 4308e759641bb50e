"""Room `worker.targets`: cuts a plain dump into statements, rows and psql's commands; called by `targets.postgres_*`.

Rows of COPY go on in large pieces, and everything else one statement at a time, so that each can be judged before it is
sent. What psql would do with a backslash command is never done here: it is only handed on as what it is.

Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html, and psql's psqlscan.l for `BEGIN ATOMIC`
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from backup_operator.worker.errors import DumpIncomplete

_COPY_END = b"\n\\.\n"
_COPY_END_SEARCHED = re.compile(re.escape(_COPY_END))
"""A search of `re` is twice as fast as `bytes.find` for more than one byte."""
_STATEMENT_LIMIT_BYTES = 1 << 30
"""PostgreSQL takes no longer message. Source: MaxAllocSize"""
_LONGEST_TOKEN_BYTES = 80
"""The longest token that may stand cut at the end of the bytes so far: a dollar quote's tag of 63 bytes."""
_BLANK = re.compile(rb"[\s;]*+")
_ALONE = rb"(?<![A-Za-z0-9_$\x80-\xff])"
_TOKENS = _ALONE + rb"[Ee]'|['\";()]|--|/\*|" + _ALONE + rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$"
_TOKEN = re.compile(_TOKENS)
_TOKEN_OR_WORD = re.compile(_TOKENS + rb"|" + _ALONE + rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+")
_FUNCTION = re.compile(rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\s", re.IGNORECASE)
_FUNCTION_START_BYTES = 64
_ESCAPE_OR_QUOTE = re.compile(rb"['\\]")
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_NAME = rb'(?:"(?:[^"]|"")*+"|[^\s"().;,]++)'
_COPY_IN = re.compile(rb"COPY\s+(?:ONLY\s+)?(" + _NAME + rb"(?:\." + _NAME + rb")?)[\s(].*\bFROM\s+stdin;\Z", re.DOTALL)
_ESCAPED_STRINGS = re.compile(rb"SET\s+standard_conforming_strings\s*(?:=|TO)\s*'?(on|off)'?;\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One SQL statement, its semicolon included."""

    text: bytes


@dataclass(frozen=True)
class CopyBegin:
    """`COPY … FROM stdin;` and the table that it names, as written; rows follow."""

    text: bytes
    table: bytes


@dataclass(frozen=True)
class CopyRows:
    """Whole or cut lines of the rows."""

    rows: bytes


@dataclass(frozen=True)
class CopyEnd:
    """The rows have ended with their end mark."""


@dataclass(frozen=True)
class PsqlCommand:
    """A line that begins with a backslash."""

    line: bytes


Part = Statement | CopyBegin | CopyRows | CopyEnd | PsqlCommand


class StatementReader:
    """Takes the bytes of a plain dump and yields its parts in order."""

    def __init__(self) -> None:
        self._data = b""
        self._start = 0
        self._scan = 0
        self._depth = 0
        self._blocks = 0
        self._in_function: bool | None = None
        self._closing = b""
        self._escapes = False
        self._comment_depth = 0
        self._in_rows = False
        self._strings_have_escapes = False

    def update(self, chunk: bytes) -> Iterator[Part]:
        """The parts that are whole with these bytes. Raises: DumpIncomplete for a statement without end."""
        self._data = self._data[self._start :] + chunk
        self._scan -= self._start
        self._start = 0
        if not self._in_rows and len(self._data) > _STATEMENT_LIMIT_BYTES:
            raise _cut("A statement of the dump is longer than 1 GiB.")
        while (part := self._rows() if self._in_rows else self._next()) is not None:
            yield part

    def finish(self) -> None:
        """The dump has ended here. Raises: DumpIncomplete when that is in the middle of something."""
        if self._in_rows:
            raise _cut("It ends in the middle of a table's rows.")
        if self._data[self._start :].strip():
            raise _cut("It ends in the middle of a statement.")

    def _rows(self) -> Part | None:
        """Rows up to the end mark; the newline behind the COPY line is where an end mark can begin."""
        end = _rows_end(self._data, self._scan)
        if end >= 0:
            if end > self._start:
                return self._cut_rows(end)
            self._start = self._scan = end + len(_COPY_END)
            self._in_rows = False
            return CopyEnd()
        cut = len(self._data) - len(_COPY_END)
        if cut <= self._start:
            return None
        return self._cut_rows(cut)

    def _cut_rows(self, newline: int) -> Part:
        """The rows behind the position up to and with this byte, which the next search begins at."""
        rows = CopyRows(self._data[self._start + 1 : newline + 1])
        self._start = self._scan = newline
        return rows

    def _next(self) -> Part | None:
        if self._scan == self._start and not self._skip_blank():
            return None
        if self._data[self._start : self._start + 1] == b"\\":
            return self._psql_command()
        end = self._statement_end()
        return None if end is None else self._statement(end)

    def _skip_blank(self) -> bool:
        """Move to the next statement, past blanks and comments; False when more bytes are needed."""
        while True:
            blank = _BLANK.match(self._data, self._start)
            self._start = self._scan = blank.end() if blank else self._start
            head = self._data[self._start : self._start + 2]
            if head == b"--":
                end = self._data.find(b"\n", self._start)
            elif head == b"/*":
                end = self._comment_end(self._start)
            else:
                return len(head) > 0 and head not in (b"-", b"/")
            if end < 0:
                return False
            self._start = end

    def _comment_end(self, start: int) -> int:
        depth = 0
        for edge in _COMMENT_EDGE.finditer(self._data, start):
            depth += 1 if edge[0] == b"/*" else -1
            if not depth:
                return edge.end()
        return -1

    def _psql_command(self) -> Part | None:
        end = self._data.find(b"\n", self._start)
        if end < 0:
            return None
        line = self._data[self._start : end]
        self._start = self._scan = end
        return PsqlCommand(line)

    def _statement(self, end: int) -> Part:
        text = self._data[self._start : end]
        self._start = self._scan = end
        self._depth = self._blocks = 0
        self._in_function = None
        found = _COPY_IN.match(text) if text[:4].upper() == b"COPY" else None
        if found is not None:
            self._in_rows = True
            return CopyBegin(text, found[1])
        escaped = _ESCAPED_STRINGS.match(text)
        if escaped is not None:
            self._strings_have_escapes = escaped[1].lower() == b"off"
        return Statement(text)

    def _statement_end(self) -> int | None:
        """Where the statement ends, or None while more bytes are needed."""
        if self._in_function is None:
            if len(self._data) - self._start < _FUNCTION_START_BYTES and b";" not in self._data[self._start :]:
                return None
            self._in_function = _FUNCTION.match(self._data, self._start) is not None
        while True:
            if self._closing and not self._close():
                return None
            token = (_TOKEN_OR_WORD if self._in_function else _TOKEN).search(self._data, self._scan)
            if token is None:
                self._scan = max(self._scan, len(self._data) - _LONGEST_TOKEN_BYTES)
                return None
            if token.end() == len(self._data) and token[0][:1].isalpha():
                self._scan = token.start()
                return None
            self._scan = token.end()
            if self._take(token[0]):
                return self._scan

    def _take(self, token: bytes) -> bool:
        """Whether this token ends the statement."""
        if token == b";":
            return self._depth <= 0 and self._blocks <= 0
        if token in (b"(", b")"):
            self._depth += 1 if token == b"(" else -1
        elif token[-1:] == b"'":
            self._closing = b"'"
            self._escapes = self._strings_have_escapes or len(token) == 2
        elif token == b'"' or token[:1] == b"$":
            self._closing, self._escapes = token, False
        elif token == b"--":
            self._closing, self._escapes = b"\n", False
        elif token == b"/*":
            self._closing, self._comment_depth = b"*/", 1
        else:
            self._word(token.lower())
        return False

    def _word(self, word: bytes) -> None:
        """Bodies written as `BEGIN ATOMIC … END` hold semicolons; counted as psql does."""
        if word == b"begin" or (word == b"case" and self._blocks):
            self._blocks += 1
        elif word == b"end" and self._blocks:
            self._blocks -= 1

    def _close(self) -> bool:
        """Move behind what closes the quotes or the comment; False when it is not here yet."""
        if self._closing == b"*/":
            return self._close_comment()
        if self._escapes:
            return self._close_escaped()
        end = self._data.find(self._closing, self._scan)
        if end < 0:
            self._scan = max(self._scan, len(self._data) - len(self._closing) + 1)
            return False
        self._scan = end + len(self._closing)
        self._closing = b""
        return True

    def _close_comment(self) -> bool:
        while (edge := _COMMENT_EDGE.search(self._data, self._scan)) is not None:
            self._scan = edge.end()
            self._comment_depth += 1 if edge[0] == b"/*" else -1
            if not self._comment_depth:
                self._closing = b""
                return True
        self._scan = max(self._scan, len(self._data) - 1)
        return False

    def _close_escaped(self) -> bool:
        while (found := _ESCAPE_OR_QUOTE.search(self._data, self._scan)) is not None:
            self._scan = found.start()
            if found.end() == len(self._data):
                return False
            doubled = found[0] == b"\\" or self._data[found.end() : found.end() + 1] == b"'"
            self._scan = found.end() + doubled
            if not doubled:
                self._closing = b""
                return True
        self._scan = len(self._data)
        return False


def _rows_end(data: bytes, start: int) -> int:
    """Where the end mark of rows begins, or -1. Most tables have hardly a backslash, and one byte is found at once."""
    backslash = data.find(b"\\", start)
    if backslash < 0:
        return -1
    found = _COPY_END_SEARCHED.search(data, max(start, backslash - 1))
    return found.start() if found else -1


def parts_of(chunks: Iterator[bytes]) -> Iterator[Part]:
    """The parts of a whole dump; its end is the proper end. Raises: DumpIncomplete."""
    reader = StatementReader()
    for chunk in chunks:
        yield from reader.update(chunk)
    reader.finish()


def _cut(detail: str) -> DumpIncomplete:
    return DumpIncomplete("The dump is cut: it does not come to its proper end.", detail=detail)

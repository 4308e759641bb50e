"""Room `worker.sources`: reads a plain dump as psql would, to count rows and see its end; called by `worker.verify`.

Most bytes of a dump are COPY data, where only the end mark at the start of a line matters: there whole chunks are
searched and counted. Outside, quotes, dollar quotes, comments and psql's own commands are followed, so that nothing
inside a name, a string or a function body is taken for the end of the dump or for a COPY line.

Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html, https://www.postgresql.org/docs/current/sql-copy.html
"""

import re
from collections.abc import Callable

from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.sources.base import Contents

DATABASE_END = b"-- PostgreSQL database dump complete"
CLUSTER_END = b"-- PostgreSQL database cluster dump complete"

_COPY_END = b"\n\\.\n"
_HEADER_LIMIT_BYTES = 1 << 20
"""A COPY line with 1600 columns of 63 bytes, all doubled quotes, has 210 KB."""
_NAME = rb'(?:"(?:[^"]|"")*+"|[^\s"().;]++)'
_COPY_HEADER = re.compile(
    rb"COPY (" + _NAME + rb"(?:\." + _NAME + rb')?) (?:\((?:[^"()]|"(?:[^"]|"")*+")*+\))? ?FROM stdin;(?=\n)'
)
_BETWEEN = re.compile(rb"[\s;]*")
_SPECIAL = re.compile(rb"['\";$]|--|/\*|-\Z|/\Z")
_DOLLAR_TAG = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_DOLLAR_TAG_START = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\Z")
_STRING_WITH_ESCAPES_END = re.compile(rb"'|\\")
_COMMENT_EDGE = re.compile(rb"/\*|\*/|[/*]\Z")
_IDENTIFIER_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$") | frozenset(
    range(0x80, 0x100)
)
_NO_STANDARD_STRINGS = b"SET standard_conforming_strings = off"


class PlainInspector:
    """Reads a plain SQL dump: rows per table, and whether it is whole. `end_mark` is the comment that ends it."""

    def __init__(self, *, end_mark: bytes = DATABASE_END, codec: str = "utf-8") -> None:
        self._end_mark = end_mark
        self._codec = codec
        self._rows: dict[str, int] = {}
        self._rest = b""
        self._position = 0
        self._state: Callable[[bytes], bool] = self._between
        self._table = ""
        self._closing = b""
        self._comment_depth = 0
        self._previous = 0
        self._strings_have_escapes = False
        self._escapes_announced = False
        self._end_seen = False
        self._restrict_key: bytes | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables whose rows have come so far."""
        return tuple(self._rows)

    @property
    def counted(self) -> int:
        """Rows so far."""
        return sum(self._rows.values())

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        data = self._rest + chunk if self._rest else chunk
        self._position = 0
        while self._state(data):
            pass
        self._rest = data[self._position :]

    def finish(self) -> Contents:
        """What the dump holds. Raises: DumpIncomplete when it is not whole."""
        if self._state != self._between or self._rest.strip():
            raise _incomplete(f"It ends {self._where()}.")
        if not self._end_seen:
            raise _incomplete(f"The line {self._end_mark.decode()!r} is missing at its end.")
        if self._restrict_key is not None:
            raise _incomplete("The \\unrestrict line is missing at its end.")
        return Contents(rows_per_table=dict(self._rows))

    # Every state takes the data from self._position on, moves it, and answers whether to go on with the next state;
    # False means that more bytes are needed.

    def _between(self, data: bytes) -> bool:
        """Between two statements."""
        blank = _BETWEEN.match(data, self._position)
        self._position = blank.end() if blank else self._position
        start = data[self._position : self._position + 5]
        if not start or (len(start) < 5 and (start in b"COPY " or start in b"--" or start in b"/*")):
            return self._position < len(data) and start[:2] in (b"--", b"/*") and self._enter(data, start)
        return self._enter(data, start)

    def _enter(self, data: bytes, start: bytes) -> bool:
        if start[:2] == b"--":
            return self._line(data, self._end_comment)
        if start[:1] == b"\\":
            return self._line(data, self._meta_command)
        if start[:2] == b"/*":
            self._position += 2
            self._comment_depth = 1
            self._state = self._comment
            return True
        if start == b"COPY ":
            return self._copy_header(data)
        self._end_seen = False
        self._previous = 0
        self._state = self._statement
        return True

    def _line(self, data: bytes, take: Callable[[bytes], None]) -> bool:
        end = data.find(b"\n", self._position)
        if end < 0:
            return False
        take(data[self._position : end])
        self._position = end
        return True

    def _end_comment(self, line: bytes) -> None:
        if line == self._end_mark:
            self._end_seen = True

    def _meta_command(self, line: bytes) -> None:
        command, _, argument = line.partition(b" ")
        if command == b"\\restrict":
            self._restrict_key = argument
        elif command == b"\\unrestrict" and argument == self._restrict_key:
            self._restrict_key = None

    def _copy_header(self, data: bytes) -> bool:
        header = _COPY_HEADER.match(data, self._position)
        if header is None:
            if len(data) - self._position < _HEADER_LIMIT_BYTES:
                return False
            self._state = self._statement
            return True
        self._end_seen = False
        self._table = header[1].decode(self._codec, "backslashreplace")
        # the newline behind the header is consumed as data and is no row
        self._rows[self._table] = self._rows.get(self._table, 0) - 1
        self._position = header.end()
        self._state = self._copy_data
        return True

    def _copy_data(self, data: bytes) -> bool:
        end = data.find(_COPY_END, self._position)
        if end < 0:
            cut = max(self._position, len(data) - len(_COPY_END) + 1)
            self._rows[self._table] += data.count(b"\n", self._position, cut)
            self._position = cut
            return False
        self._rows[self._table] += data.count(b"\n", self._position, end + 1)
        self._position = end + len(_COPY_END)
        self._state = self._between
        return True

    def _statement(self, data: bytes) -> bool:
        """Inside a statement, outside quotes."""
        found = _SPECIAL.search(data, self._position)
        if found is None:
            return self._all_taken(data)
        token, start = found[0], found.start()
        if start > self._position:
            self._note_standard_strings(data, start)
            before = data[start - 2] if start - 2 >= self._position else self._previous
            self._previous = data[start - 1]
            self._escapes_announced = self._previous in b"Ee" and before not in _IDENTIFIER_BYTES
        else:
            self._escapes_announced = False
        self._position = start
        if token in (b"-", b"/"):
            return False
        return self._token(data, token, found.end())

    def _token(self, data: bytes, token: bytes, end: int) -> bool:
        if token == b"$":
            return self._dollar(data)
        if token == b";":
            self._state = self._between
        elif token == b'"':
            self._quoted(b'"')
        elif token == b"'":
            self._string()
        elif token == b"--":
            self._state = self._comment_line
        else:
            self._comment_depth = 1
            self._state = self._comment_in_statement
        self._previous = token[-1]
        self._position = end
        return True

    def _note_standard_strings(self, data: bytes, end: int) -> None:
        if data[end : end + 1] == b";" and data.endswith(_NO_STANDARD_STRINGS, self._position, end):
            self._strings_have_escapes = True

    def _all_taken(self, data: bytes) -> bool:
        """Take the rest, but for what may be the start of a setting that is looked for."""
        kept = max(self._position, len(data) - len(_NO_STANDARD_STRINGS))
        if kept > self._position:
            self._previous = data[kept - 1]
        self._position = kept
        return False

    def _dollar(self, data: bytes) -> bool:
        start = self._position
        if self._previous not in _IDENTIFIER_BYTES:
            tag = _DOLLAR_TAG.match(data, start)
            if tag is not None:
                self._quoted(tag[0])
                self._position = tag.end()
                return True
            if _DOLLAR_TAG_START.match(data, start):
                return False
        self._previous = ord("$")
        self._position = start + 1
        return True

    def _string(self) -> None:
        if self._strings_have_escapes or self._escapes_announced:
            self._state = self._string_with_escapes
        else:
            self._quoted(b"'")

    def _quoted(self, closing: bytes) -> None:
        self._closing = closing
        self._state = self._inside_quotes

    def _inside_quotes(self, data: bytes) -> bool:
        """Inside quotes without escapes; a doubled quote closes and opens again."""
        end = data.find(self._closing, self._position)
        if end < 0:
            self._position = max(self._position, len(data) - len(self._closing) + 1)
            return False
        self._position = end + len(self._closing)
        self._previous = self._closing[-1]
        # behind a dollar quote no identifier goes on
        self._previous = 0 if self._closing[:1] == b"$" else self._previous
        self._state = self._statement
        return True

    def _string_with_escapes(self, data: bytes) -> bool:
        found = _STRING_WITH_ESCAPES_END.search(data, self._position)
        if found is None:
            self._position = len(data)
            return False
        if found[0] == b"'":
            # a doubled quote goes on as a string with escapes
            if found.end() == len(data):
                self._position = found.start()
                return False
            doubled = data[found.end() : found.end() + 1] == b"'"
            self._position = found.end() + doubled
            self._state = self._string_with_escapes if doubled else self._statement
            self._previous = ord("'")
            return True
        if found.end() == len(data):
            self._position = found.start()
            return False
        self._position = found.end() + 1
        return True

    def _comment_line(self, data: bytes) -> bool:
        """A line comment inside a statement."""
        end = data.find(b"\n", self._position)
        self._position = len(data) if end < 0 else end
        if end >= 0:
            self._state = self._statement
        return end >= 0

    def _comment_in_statement(self, data: bytes) -> bool:
        return self._comment_up_to(data, self._statement)

    def _comment(self, data: bytes) -> bool:
        return self._comment_up_to(data, self._between)

    def _comment_up_to(self, data: bytes, then: Callable[[bytes], bool]) -> bool:
        """Inside a block comment, which nests."""
        found = _COMMENT_EDGE.search(data, self._position)
        if found is None:
            self._position = len(data)
            return False
        self._position = found.start()
        if len(found[0]) == 1:
            return False
        self._position = found.end()
        self._comment_depth += 1 if found[0] == b"/*" else -1
        self._state = self._state if self._comment_depth else then
        return True

    def _where(self) -> str:
        if self._state == self._copy_data:
            return f"in the middle of the rows of {self._table}"
        if self._state == self._between:
            return "in the middle of a line"
        return "in the middle of a statement"


def _incomplete(detail: str) -> DumpIncomplete:
    return DumpIncomplete(
        "The dump is cut: it does not come to its proper end.",
        detail=detail,
        hint="Run the backup again; look at the log of the failed run for the first error.",
    )

"""Room `worker.targets`: sends a dump over a connection up to the first error; called by `targets.postgres_*`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.postgres_lanes import Block, Lanes, dealt
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_statements import (
    CopyBegin,
    CopyEnd,
    CopyRows,
    Part,
    PsqlCommand,
    Statement,
    parts_of,
)

_SHOWN_CHARACTERS = 200
_NAME = rb'(?:"(?:[^"]|"")*+"|[^\s"().;,]++)'
_BUILD = re.compile(
    rb"CREATE (?:UNIQUE )?INDEX |ALTER TABLE (?:ONLY )?"
    + (_NAME + rb"(?:\." + _NAME + rb")?\s+ADD CONSTRAINT " + _NAME + rb" (?:PRIMARY KEY|UNIQUE) ")
)
"""What is built from the rows of one table, locks no other one, and can go on beside others of its kind."""
_OF_THE_SESSION = re.compile(rb"(?:RE)?SET |SELECT pg_catalog\.set_config\(")


@dataclass
class Feeder:
    """Sends statements and rows; a statement that fails is named in the error.

    With lanes, rows and index builds are spread over them; without, all is sent over the one connection, in order.
    """

    connection: psycopg.Connection
    rewriter: Rewriter
    codec: str = "utf-8"
    """The encoding of the dump, for the names of tables in it."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows that the server took, by table as the dump writes it."""
    lanes: Lanes | None = None

    def feed(self, chunks: Iterator[bytes]) -> None:
        """Send all of it. Raises: TargetError, psycopg.Error; and whatever the chunks raise."""
        parts = parts_of(chunks)
        for part in parts:
            match part:
                case Statement(text):
                    self._statement(text)
                case CopyBegin(text, table):
                    self._copy(text, table.decode(self.codec, "backslashreplace"), parts)
                case PsqlCommand(line):
                    self.rewriter.refuse_command(line)
        if self.lanes is not None:
            self.lanes.wait()

    def _statement(self, text: bytes) -> None:
        sent = self.rewriter.rewrite(text)
        if sent is None:
            return
        if self.lanes is not None and is_build(sent) and self._is_alone():
            self.lanes.start(sent)
            return
        self._execute(sent)
        if self.rewriter.in_one_transaction:
            self._refuse_a_lost_transaction(sent)

    def _execute(self, sent: bytes) -> None:
        if self.lanes is not None:
            self.lanes.wait()
        with naming(sent):
            self.connection.execute(sent)
            if self.lanes is not None and _OF_THE_SESSION.match(sent):
                self.lanes.set_alike(sent)

    def _copy(self, statement: bytes, table: str, parts: Iterator[Part]) -> None:
        rows = _rows(parts)
        with naming(statement):
            if self.lanes is None or not self._is_alone():
                count = self._copy_alone(statement, rows)
            else:
                count = self._copy_dealt(self.lanes, statement, dealt(rows))
        self.rows[table] = self.rows.get(table, 0) + count

    def _copy_dealt(self, lanes: Lanes, statement: bytes, blocks: Iterator[Block]) -> int:
        """A table of one block is not worth the dealing."""
        first = next(blocks, ())
        second = next(blocks, ())
        if not second:
            lanes.wait()
            return self._copy_alone(statement, iter(first))
        return lanes.copy(statement, chain([first, second], blocks))

    def _copy_alone(self, statement: bytes, rows: Iterator[bytes]) -> int:
        with self.connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for piece in rows:
                    copy.write(piece)
            return cursor.rowcount

    def _is_alone(self) -> bool:
        """Whether no transaction is open on the connection, so that others see what it made."""
        return self.connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE

    def _refuse_a_lost_transaction(self, statement: bytes) -> None:
        """Nothing in a dump may end the transaction that holds everything; asked of the protocol, at no cost."""
        if self.connection.info.transaction_status is not psycopg.pq.TransactionStatus.INTRANS:
            raise TargetError(Reason.RESTORE_FAILED, f"A statement ended the transaction: {_shown(statement)}.")


def is_build(statement: bytes) -> bool:
    """Whether it builds an index or a key from the rows of one table, which can go on beside others of its kind."""
    return _BUILD.match(statement) is not None


def _rows(parts: Iterator[Part]) -> Iterator[bytes]:
    """The rows up to their end mark; a dump's reader ends them or raises."""
    for part in parts:
        if isinstance(part, CopyEnd):
            return
        if isinstance(part, CopyRows):
            yield part.rows
    raise RuntimeError("a dump's reader ends rows or raises")


@contextmanager
def naming(statement: bytes) -> Iterator[None]:
    """Adds the statement to an error of the server, for the message of the restore."""
    try:
        yield
    except psycopg.Error as exc:
        exc.add_note(f"The statement begins: {_shown(statement)}")
        raise


def _shown(text: bytes) -> str:
    line = " ".join(text.decode(errors="replace").split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[:_SHOWN_CHARACTERS] + "…"

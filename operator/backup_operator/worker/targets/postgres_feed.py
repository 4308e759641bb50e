"""Room `worker.targets`: sends a dump over a connection up to the first error; called by `targets.postgres_*`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
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


@dataclass
class Feeder:
    """Sends statements and rows; a statement that fails is named in the error."""

    connection: psycopg.Connection
    rewriter: Rewriter
    codec: str = "utf-8"
    """The encoding of the dump, for the names of tables in it."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows that the server took, by table as the dump writes it."""

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

    def _statement(self, text: bytes) -> None:
        sent = self.rewriter.rewrite(text)
        if sent is None:
            return
        with naming(sent):
            self.connection.execute(sent)
        if self.rewriter.in_one_transaction:
            self._refuse_a_lost_transaction(sent)

    def _copy(self, statement: bytes, table: str, parts: Iterator[Part]) -> None:
        with naming(statement), self.connection.cursor() as cursor:
            ended = False
            with cursor.copy(statement) as copy:
                for part in parts:
                    if isinstance(part, CopyEnd):
                        ended = True
                        break
                    if isinstance(part, CopyRows):
                        copy.write(part.rows)
                if not ended:
                    raise RuntimeError("a dump's reader ends rows or raises")
            self.rows[table] = self.rows.get(table, 0) + cursor.rowcount

    def _refuse_a_lost_transaction(self, statement: bytes) -> None:
        """Nothing in a dump may end the transaction that holds everything; asked of the protocol, at no cost."""
        if self.connection.info.transaction_status is not psycopg.pq.TransactionStatus.INTRANS:
            raise TargetError(Reason.RESTORE_FAILED, f"A statement ended the transaction: {_shown(statement)}.")


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

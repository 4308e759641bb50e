"""Room `worker.targets`: what of a dump is sent to the target, by statement; called by `targets.postgres_feed`.

Left out are settings that an older server does not know, what belongs to roles that are not there, and, where one
transaction of ours holds everything, the dump's own BEGIN and COMMIT. Refused is what would reach beyond the database.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.postgres_roles import (
    is_session_end,
    is_session_start,
    roles_of,
    without_policy_roles,
)

SETTINGS_SINCE: Mapping[str, int] = {
    "transaction_timeout": 170000,
    "default_table_access_method": 120000,
    "idle_in_transaction_session_timeout": 90600,
    "row_security": 90500,
}
"""Settings at the head of dumps, and the server_version_num that first knew them; left out on older servers."""
_OURS_IN_A_TRANSACTION = frozenset({"lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"})
_SETTING = re.compile(rb"SET\s+(?:SESSION\s+|LOCAL\s+)?([a-z_]+)\s*(?:=|TO\s)", re.IGNORECASE)
_TRANSACTION = re.compile(
    rb"(BEGIN|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|(?:START|PREPARE|SET)\s+TRANSACTION|"
    rb"SET\s+SESSION\s+CHARACTERISTICS)\b",
    re.IGNORECASE,
)
_OF_LARGE_OBJECTS = frozenset({b"BEGIN;", b"COMMIT;"})
_REFUSED = re.compile(
    rb"((?:CREATE|ALTER|DROP)\s+(?:DATABASE|TABLESPACE)|ALTER\s+SYSTEM|COPY|LOAD|CHECKPOINT)\b", re.IGNORECASE
)
_HARMLESS_COMMANDS = (b"\\restrict", b"\\unrestrict")
_SHOWN_CHARACTERS = 80


class Judge(Protocol):
    """Another who judges statements."""

    def rewrite(self, statement: bytes) -> bytes | None:
        """What to send in its place, or None."""
        ...


@dataclass
class Rewriter:
    """Judges every statement; keeps count of what was left out."""

    server_number: int
    """server_version_num of the target."""
    left_out_roles: frozenset[str] = frozenset()
    unassignable_roles: frozenset[str] = frozenset()
    """Roles that are there, but that ours may not act for: their ownership is left out, grants to them are not."""
    in_one_transaction: bool = False
    standing: Judge | None = None
    """Where objects of the backup are there already: what their statements become."""
    skipped_settings: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    """Statements left out, by role."""
    _foreign_session: bool = False

    def rewrite(self, statement: bytes) -> bytes | None:
        """What to send in its place, or None. Raises: TargetError for what no dump of one database holds."""
        if _REFUSED.match(statement):
            raise _beyond(statement)
        if self._setting_is_left_out(statement) or self._transaction_is_left_out(statement):
            return None
        sent = self._for_roles(statement)
        return sent if sent is None or self.standing is None else self.standing.rewrite(sent)

    def refuse_command(self, line: bytes) -> None:
        """Nothing for the guards that pg_dump writes itself. Raises: TargetError for any other psql command."""
        if line.split(b" ", 1)[0] in _HARMLESS_COMMANDS:
            return
        raise TargetError(
            Reason.RESTORE_FAILED,
            f"The backup holds a command for psql, {_shown(line)}, which is never run.",
            detail="pg_dump writes none but \\restrict and \\unrestrict, except with --create (\\connect).",
            hint="Look at the backup with: backup-worker open; dump without --create.",
        )

    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        notes = []
        if self.skipped_settings:
            notes.append(
                f"Settings unknown to this older server were left out: {', '.join(sorted(self.skipped_settings))}."
            )
        if self.left_out:
            counted = ", ".join(f"{role} ({count})" for role, count in sorted(self.left_out.items()))
            notes.append(f"Ownership and grants were left out, by role: {counted}.")
        return tuple(notes)

    def _setting_is_left_out(self, statement: bytes) -> bool:
        found = _SETTING.match(statement) if statement[:3].upper() == b"SET" else None
        if found is None:
            return False
        name = found[1].decode().lower()
        if SETTINGS_SINCE.get(name, 0) > self.server_number:
            self.skipped_settings.add(name)
            return True
        return self.in_one_transaction and name in _OURS_IN_A_TRANSACTION

    def _transaction_is_left_out(self, statement: bytes) -> bool:
        if _TRANSACTION.match(statement) is None:
            return False
        if statement not in _OF_LARGE_OBJECTS:
            raise _beyond(statement)
        return self.in_one_transaction

    def _for_roles(self, statement: bytes) -> bytes | None:
        if self._foreign_session:
            self._foreign_session = not is_session_end(statement)
            return None
        roles = roles_of(statement)
        gone = (roles.all & self.left_out_roles) | (roles.owners & self.unassignable_roles)
        if not gone:
            return statement
        self.left_out.update(gone)
        if statement.startswith(b"CREATE POLICY"):
            return without_policy_roles(statement, gone)
        self._foreign_session = is_session_start(statement)
        return None


def _beyond(statement: bytes) -> TargetError:
    return TargetError(
        Reason.RESTORE_FAILED,
        f"The backup holds a statement that reaches beyond one database, {_shown(statement)}, which is never run.",
        hint="Look at the backup with: backup-worker open; dump with pg_dump and without --create.",
    )


def _shown(text: bytes) -> str:
    line = " ".join(text.decode(errors="replace").split())
    return repr(line if len(line) <= _SHOWN_CHARACTERS else line[:_SHOWN_CHARACTERS] + "…")

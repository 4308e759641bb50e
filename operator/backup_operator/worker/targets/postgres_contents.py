"""Room `worker.targets`: what a backup will make in the target, read from its SQL; called by `targets.postgres_survey`.

Names are kept as the dump writes them: the server that is asked about them later unquotes them by its own rules.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_roles import RolesOf, roles_of
from backup_operator.worker.targets.postgres_statements import CopyBegin, PsqlCommand, Statement, parts_of

_NAME = rb'(?:"(?:[^"]|"")*+"|[^\s"().;,]++)'
_KINDS = (
    rb"MATERIALIZED VIEW|FOREIGN TABLE|FOREIGN DATA WRAPPER|EVENT TRIGGER|TEXT SEARCH [A-Z]+|OPERATOR CLASS|"
    rb"OPERATOR FAMILY|TABLE|SEQUENCE|VIEW|INDEX|TYPE|DOMAIN|FUNCTION|PROCEDURE|AGGREGATE|OPERATOR|COLLATION|"
    rb"CONVERSION|SCHEMA|EXTENSION|PUBLICATION|SUBSCRIPTION|SERVER|LANGUAGE|STATISTICS|ROLE"
)
_CREATE = re.compile(
    rb"CREATE (?:OR REPLACE )?(?:UNLOGGED |UNIQUE |RECURSIVE |TRUSTED |PROCEDURAL )*(" + _KINDS + rb")\s+"
    rb"(?:IF NOT EXISTS )?(" + _NAME + rb"(?:\s*\." + _NAME + rb")?)"
)
_SIGNATURE = re.compile(
    rb"ALTER (FUNCTION|PROCEDURE|AGGREGATE|OPERATOR) (?!CLASS |FAMILY )(.*) OWNER TO " + _NAME + rb";\Z", re.DOTALL
)
_CONSTRAINT = re.compile(rb"ALTER TABLE .* ADD CONSTRAINT .* (?:PRIMARY KEY|UNIQUE|EXCLUDE)\b", re.DOTALL)
_LARGE_OBJECT = re.compile(rb"SELECT pg_catalog\.lo_create\('\d+'\);\Z")
ABOUT = re.compile(
    rb"(CREATE|ALTER|COMMENT ON|(?:GRANT|REVOKE) [A-Z, ]+? ON) (?:TRUSTED |PROCEDURAL )*"
    rb"(SCHEMA|EXTENSION|LANGUAGE|FOREIGN DATA WRAPPER|SERVER|PUBLICATION|EVENT TRIGGER) (?:IF NOT EXISTS )?("
    + _NAME
    + rb")"
)
"""Statements about objects that stand by themselves, which a restore may leave alone: verb, kind, name."""
_LOCKS_OF_A_TABLE = 3
"""A table, its TOAST table and that one's index."""
_ENOUGH_OF_A_STATEMENT_BYTES = 4096


Standalone = tuple[str, str]
"""Kind and name, unquoted."""


@dataclass(frozen=True)
class Created:
    """An object that the dump makes: its kind in capitals and its name, qualified and quoted, or its signature."""

    kind: str
    name: str


@dataclass
class BackupContents:
    """What a dump makes, without the rows."""

    created: list[Created] = field(default_factory=list)
    signatures: list[Created] = field(default_factory=list)
    """Functions, procedures, aggregates and operators with their arguments."""
    roles: list[tuple[Standalone | None, RolesOf]] = field(default_factory=list)
    """The roles of its statements, and what these are about where that may be left alone; each once."""
    tables_with_rows: list[str] = field(default_factory=list)
    locks: int = 0
    """Locks that making it takes within one transaction."""
    large_objects: int = 0
    seen_roles: set[tuple[Standalone | None, RolesOf]] = field(default_factory=set)
    beyond: str = ""
    """Why it cannot be restored at all: a psql command, or a statement that reaches beyond one database."""

    def roles_without(self, left_alone: Collection[Standalone]) -> RolesOf:
        """The roles that it needs when these objects are left alone."""
        needed = [roles for about, roles in self.roles if about not in left_alone]
        owners = frozenset[str]().union(*(each.owners for each in needed))
        return RolesOf(owners, frozenset[str]().union(*(each.grantees for each in needed)))

    def names_of(self, *kinds: str) -> list[str]:
        """The names of the objects of these kinds, in order, each once."""
        return list(dict.fromkeys(each.name for each in self.created if each.kind in kinds))


def read_contents(chunks: Iterator[bytes], codec: str = "utf-8") -> BackupContents:
    """What this dump makes. Raises: DumpIncomplete, and what the chunks raise."""
    contents = BackupContents()
    judge = Rewriter(server_number=0)
    for part in parts_of(chunks):
        match part:
            case Statement(text):
                _judge(contents, judge, text)
                _note(contents, text, codec)
            case CopyBegin(_, table):
                contents.tables_with_rows.append(table.decode(codec, "backslashreplace"))
            case PsqlCommand(line):
                try:
                    judge.refuse_command(line)
                except TargetError as exc:
                    contents.beyond = contents.beyond or exc.message
    return contents


def _judge(contents: BackupContents, judge: Rewriter, text: bytes) -> None:
    try:
        judge.rewrite(text)
    except TargetError as exc:
        contents.beyond = contents.beyond or exc.message


def _note(contents: BackupContents, text: bytes, codec: str) -> None:
    _note_roles(contents, text, codec)
    head = text[:_ENOUGH_OF_A_STATEMENT_BYTES]
    created = _CREATE.match(head)
    if created is not None:
        _note_created(contents, created[1].decode(), created[2].decode(codec, "backslashreplace"))
    elif (signature := _SIGNATURE.match(text)) is not None:
        name = signature[2].decode(codec, "backslashreplace")
        contents.signatures.append(Created(signature[1].decode(), name))
    elif _CONSTRAINT.match(head):
        contents.locks += 1
    elif _LARGE_OBJECT.match(head):
        contents.large_objects += 1
        contents.locks += 1


def _note_roles(contents: BackupContents, text: bytes, codec: str) -> None:
    roles = roles_of(text)
    if roles.all:
        noted = (standalone_of(text, codec), roles)
        if noted not in contents.seen_roles:
            contents.seen_roles.add(noted)
            contents.roles.append(noted)


def standalone_of(statement: bytes, codec: str) -> Standalone | None:
    """The object that a statement is about, where it is one that a restore may leave alone."""
    found = ABOUT.match(statement)
    if found is None:
        return None
    name = found[3].decode(codec, "backslashreplace")
    return found[2].decode(), name[1:-1].replace('""', '"') if name.startswith('"') else name


def _note_created(contents: BackupContents, kind: str, name: str) -> None:
    contents.locks += _LOCKS_OF_A_TABLE if kind in ("TABLE", "MATERIALIZED VIEW") else 1
    if kind != "INDEX":
        contents.created.append(Created(kind, name))

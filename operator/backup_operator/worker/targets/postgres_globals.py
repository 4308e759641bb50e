"""Room `worker.targets`: makes the roles of a backup that the target lacks; called by the PostgreSQL strategies.

A role that is there is left as it is: its password, its attributes, its memberships. Tablespaces are never made.
Source: PostgreSQL's pg_dumpall.c (dumpRoles, dumpRoleMembership, dumpUserConfig)
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.postgres_feed import naming
from backup_operator.worker.targets.postgres_inventory import unquoted
from backup_operator.worker.targets.postgres_site import Site
from backup_operator.worker.targets.postgres_statements import Statement, parts_of

_ROLE = rb'(?:"(?:[^"]|"")*+"|[^\s"();,]++)'
_OF_A_ROLE = re.compile(
    rb"(?:CREATE ROLE|ALTER ROLE|COMMENT ON ROLE) (" + _ROLE + rb")(;| WITH | SET | IS | IN DATABASE )"
)
_MEMBERSHIP = re.compile(
    rb"GRANT (" + _ROLE + rb") TO (" + _ROLE + rb")(.*?)(?: GRANTED BY " + _ROLE + rb")?;\Z", re.DOTALL
)
_NEEDS_SUPERUSER = re.compile(rb" NO(?:SUPERUSER|REPLICATION|BYPASSRLS)\b")
_OPTIONS_SINCE = 160000
_ADMIN = re.compile(rb"ADMIN (?:OPTION|TRUE)")


@dataclass(frozen=True)
class RoleStatement:
    """A statement of the globals and the role whom it makes, changes or makes a member."""

    role: str
    text: bytes


def role_statements(chunks: Iterator[bytes], server_number: int, *, as_superuser: bool) -> Iterator[RoleStatement]:
    """The statements about roles, as this server and our role can take them. Raises: DumpIncomplete."""
    for part in parts_of(chunks):
        if not isinstance(part, Statement):
            continue
        about = _OF_A_ROLE.match(part.text)
        member = _MEMBERSHIP.match(part.text)
        if about is not None and about[2] != b" IN DATABASE ":
            limited = about[2] == b" WITH " and not as_superuser
            yield RoleStatement(_name(about[1]), _without_superusers_words(part.text) if limited else part.text)
        elif member is not None:
            yield RoleStatement(_name(member[2]), _membership(member, server_number))


def make_roles(
    connection: psycopg.Connection, site: Site, artifacts: Sequence[RestoredArtifact], roles: Sequence[str]
) -> tuple[str, ...]:
    """Make these roles from the globals, in the transaction that is open or one of its own; answers what was made.

    Raises: psycopg.Error, and what reading the artifacts raises.
    """
    made = frozenset(roles)
    if not made:
        return ()
    for artifact in artifacts:
        if artifact.kind is ArtifactKind.POSTGRES_GLOBALS:
            with connection.transaction(), artifact.open() as chunks:
                _run(
                    connection, role_statements(chunks, site.server.number, as_superuser=site.server.is_superuser), made
                )
    return (f"Roles were made, with the passwords of the backup: {', '.join(sorted(made))}.",)


def _run(connection: psycopg.Connection, statements: Iterator[RoleStatement], made: frozenset[str]) -> None:
    for statement in statements:
        if statement.role in made:
            # the text of such a statement may hold a password's hash, which is never shown
            with naming(b"a statement about the role " + statement.role.encode()):
                connection.execute(statement.text)


def _without_superusers_words(text: bytes) -> bytes:
    """Without the words that say what is so anyway, but that only a superuser may say."""
    words, password, rest = text.partition(b" PASSWORD ")
    return _NEEDS_SUPERUSER.sub(b"", words) + password + rest


def _membership(found: re.Match[bytes], server_number: int) -> bytes:
    """Without the grantor, who need not be there, and without options that the server does not know."""
    options = found[3]
    if server_number < _OPTIONS_SINCE:
        options = b" WITH ADMIN OPTION" if _ADMIN.search(options) else b""
    return b"GRANT " + found[1] + b" TO " + found[2] + options + b";"


def _name(written: bytes) -> str:
    return unquoted(written.decode("utf-8", "surrogateescape"))

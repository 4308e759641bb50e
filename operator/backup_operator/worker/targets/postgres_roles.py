"""Room `worker.targets`: which roles a statement of a dump needs; called by `targets.postgres_*`.

pg_dump writes ownership and privileges as statements of their own, in few forms, so that they can be read, and left out
one by one. Source: PostgreSQL's pg_backup_archiver.c (_printTocEntry) and dumputils.c (buildACLCommands)
"""

import re
from dataclasses import dataclass

_ROLE = rb'(?:"(?:[^"]|"")*+"|[^\s"();,]++)'
_RELATION = rb'(?:"(?:[^"]|"")*+"|[^\s"();,.]++)'
_OWNER = re.compile(rb"ALTER\s.*\sOWNER TO (" + _ROLE + rb");\Z", re.DOTALL)
_DEFAULTS = re.compile(rb"ALTER DEFAULT PRIVILEGES FOR ROLE (" + _ROLE + rb")[ \n]")
_GRANT = re.compile(
    rb"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES)\s.*\s(?:TO|FROM) (" + _ROLE + rb")"
    rb"(?: WITH GRANT OPTION| WITH [A-Z]+ (?:OPTION|TRUE|FALSE)(?:, [A-Z]+ (?:TRUE|FALSE))*)?"
    rb"(?: GRANTED BY (" + _ROLE + rb"))?;\Z",
    re.DOTALL,
)
_POLICY = re.compile(
    rb"(CREATE POLICY "
    + _RELATION
    + rb" ON "
    + _RELATION
    + rb"(?:\."
    + _RELATION
    + rb")?(?: AS [A-Z]+)?(?: FOR [A-Z]+)?"
    rb" TO )(" + _ROLE + rb"(?:, " + _ROLE + rb")*)",
    re.DOTALL,
)
_MAPPING = re.compile(rb"CREATE USER MAPPING FOR (" + _ROLE + rb") ")
_SESSION = re.compile(rb"SET SESSION AUTHORIZATION (?:'((?:[^']|'')*)'|(" + _ROLE + rb"));\Z")
_SESSION_END = re.compile(rb"RESET SESSION AUTHORIZATION;\Z")
_EVERYBODY = frozenset({"public", "current_user", "current_role", "session_user"})


@dataclass(frozen=True)
class RolesOf:
    """The roles that a statement names, by what they are needed for."""

    owners: frozenset[str] = frozenset()
    """Roles in whose name something is done: owners, `FOR ROLE`, grantors."""
    grantees: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Every role that must be there."""
        return self.owners | self.grantees


NO_ROLES = RolesOf()


def roles_of(statement: bytes) -> RolesOf:
    """The roles that this statement needs; none for statements of other kinds."""
    match statement[:5]:
        case b"ALTER":
            owner = _OWNER.match(statement)
            if owner is not None:
                return RolesOf(owners=_names(owner[1]))
            defaults = _DEFAULTS.match(statement)
            return _granted(statement, owners=_names(defaults[1])) if defaults else NO_ROLES
        case b"GRANT" | b"REVOK":
            return _granted(statement)
        case b"CREAT":
            found = _MAPPING.match(statement)
            return RolesOf(grantees=_names(found[1])) if found else RolesOf(grantees=policy_roles(statement))
        case b"SET S":
            return _of_session(statement)
    return NO_ROLES


def _of_session(statement: bytes) -> RolesOf:
    found = _SESSION.match(statement)
    if found is None:
        return NO_ROLES
    literal = found[1].replace(b"''", b"'").replace(b'"', b'""') if found[1] is not None else b""
    return RolesOf(owners=_names(found[2] or b'"' + literal + b'"'))


def is_session_end(statement: bytes) -> bool:
    """Whether it ends what `SET SESSION AUTHORIZATION` began."""
    return _SESSION_END.match(statement) is not None


def is_session_start(statement: bytes) -> bool:
    """Whether what follows runs in the name of another role."""
    return _SESSION.match(statement) is not None


def policy_roles(statement: bytes) -> frozenset[str]:
    """The roles that a `CREATE POLICY` is for."""
    found = _POLICY.match(statement)
    return frozenset().union(*map(_names, _split(found[2]))) if found else frozenset()


def without_policy_roles(statement: bytes, left_out: frozenset[str]) -> bytes | None:
    """The `CREATE POLICY` without these roles, or None when no role is left."""
    found = _POLICY.match(statement)
    if found is None:
        return statement
    kept = [name for name in _split(found[2]) if not _names(name) & left_out]
    return found[1] + b", ".join(kept) + statement[found.end() :] if kept else None


def _granted(statement: bytes, owners: frozenset[str] = frozenset()) -> RolesOf:
    found = _GRANT.match(statement)
    if found is None:
        return RolesOf(owners=owners)
    return RolesOf(owners=owners | (_names(found[2]) if found[2] else frozenset()), grantees=_names(found[1]))


def _split(listed: bytes) -> list[bytes]:
    return re.findall(_ROLE, listed)


def _names(written: bytes) -> frozenset[str]:
    """The role's own name; nothing for the words that stand for everybody or for ourselves."""
    text = written.decode("utf-8", "surrogateescape")
    if text.startswith('"'):
        return frozenset({text[1:-1].replace('""', '"')})
    return frozenset() if text.lower() in _EVERYBODY else frozenset({text})

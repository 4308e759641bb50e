"""Room `worker.targets`: gives a new database what the entry recorded beside its content; called by the strategies.

Owner, grants, comment and connection limit come back where the server has the roles and ours may give them; what does
not is told. Settings are given when the database is made, since they can change how its content is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from backup_operator.worker.targets.postgres_survey import Draft, listed

_PRIVILEGES: Mapping[str, sql.SQL] = {
    "CONNECT": sql.SQL("connect"),
    "CREATE": sql.SQL("create"),
    "TEMPORARY": sql.SQL("temporary"),
}
"""Source: https://www.postgresql.org/docs/current/ddl-priv.html"""
_PUBLIC = frozenset({"CONNECT", "TEMPORARY"})
"""What everybody has on a new database."""
_ROLES: LiteralString = "select rolname::text from pg_roles"


@dataclass(frozen=True)
class Grant:
    """A privilege on the database; an empty grantee is everybody."""

    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Properties:
    """What is kept with a database, as its entry recorded it."""

    owner: str = ""
    connection_limit: int = -1
    comment: str | None = None
    grants: tuple[Grant, ...] | None = None
    """None: the default ones."""

    @property
    def roles(self) -> list[str]:
        """The roles that they name, sorted."""
        named = {self.owner, *(each.grantee for each in self.grants or ())}
        return sorted(named - {""})


def recorded_properties(server: Mapping[str, object]) -> Properties:
    """The properties in an entry; the defaults where it has none."""
    found = server.get("databaseProperties")
    if not isinstance(found, Mapping):
        return Properties()
    limit, comment = found.get("connectionLimit"), found.get("comment")
    return Properties(
        owner=str(found.get("owner") or ""),
        connection_limit=limit if isinstance(limit, int) else -1,
        comment=comment if isinstance(comment, str) else None,
        grants=_grants(found["grants"]) if "grants" in found else None,
    )


def _grants(recorded: object) -> tuple[Grant, ...]:
    listed_grants = recorded if isinstance(recorded, Sequence) and not isinstance(recorded, str) else ()
    return tuple(
        Grant(str(each.get("grantee", "")), str(each["privilege"]), bool(each.get("grantable")))
        for each in listed_grants
        if isinstance(each, Mapping) and each.get("privilege") in _PRIVILEGES
    )


def withheld_settings(server: Mapping[str, object]) -> list[str]:
    """Names of settings whose values the entry does not hold, since they may be secrets."""
    found = server.get("settingsWithheld")
    names = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    return sorted({str(each["name"]) for each in names if isinstance(each, Mapping) and "name" in each})


def tell_properties(draft: Draft, connection: psycopg.Connection, server: Mapping[str, object]) -> None:
    """Say what a new database gets, and what not. Raises: psycopg.Error."""
    properties = recorded_properties(server)
    said = [f"owner {properties.owner}"] if properties.owner else []
    said += [f"connection limit {properties.connection_limit}"] if properties.connection_limit >= 0 else []
    said += ["comment"] if properties.comment is not None else []
    said += [f"{len(properties.grants)} grants"] if properties.grants is not None else []
    if said:
        draft.say(f"It gets, as recorded: {', '.join(said)}.")
    missing = _missing(connection, properties)
    if missing:
        draft.say(f"The server lacks {listed(missing)}: what the database itself gives to them is left out.")
    withheld = withheld_settings(server)
    if withheld:
        draft.say(
            "Values of these settings are in no backup, since they may be secrets; set them by hand: "
            f"{listed(withheld)}."
        )


def _missing(connection: psycopg.Connection, properties: Properties) -> list[str]:
    there = {row[0] for row in connection.execute(_ROLES).fetchall()}
    return [role for role in properties.roles if role not in there]


def give_properties(connection: psycopg.Connection, name: str, properties: Properties) -> tuple[str, ...]:
    """Give them to the database; answers what was left out, in words. Raises: psycopg.Error: the connection is lost."""
    missing = _missing(connection, properties)
    refused = [f"The role {role} is missing: what the database gives to it was left out." for role in missing]
    for what, statement in _statements(sql.Identifier(name), properties, frozenset(missing)):
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.DatabaseError as exc:
            if connection.closed:
                raise
            refused.append(f"The {what} of the database was left out: {exc.diag.message_primary}.")
    return tuple(refused)


def _statements(
    name: sql.Identifier, properties: Properties, missing: frozenset[str]
) -> Iterator[tuple[str, sql.Composed]]:
    """The owner last: afterwards ours may not be allowed any more."""
    if properties.connection_limit >= 0:
        limit = sql.Literal(properties.connection_limit)
        yield "connection limit", sql.SQL("alter database {} connection limit {}").format(name, limit)
    if properties.comment is not None:
        comment = sql.Literal(properties.comment)
        yield "comment", sql.SQL("comment on database {} is {}").format(name, comment)
    everybody = _granted_to("", properties) if properties.grants is not None else _PUBLIC
    for privilege in sorted(_PUBLIC - everybody):
        revoked = sql.SQL("revoke {} on database {} from public").format(_PRIVILEGES[privilege], name)
        yield "default grants", revoked
    for grant in properties.grants or ():
        if grant.grantee not in missing and grant.grantee != properties.owner:
            yield f"grant to {grant.grantee or 'PUBLIC'}", _grant(name, grant)
    if properties.owner and properties.owner not in missing:
        yield "owner", sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(properties.owner))


def _granted_to(grantee: str, properties: Properties) -> set[str]:
    return {each.privilege for each in properties.grants or () if each.grantee == grantee}


def _grant(name: sql.Identifier, grant: Grant) -> sql.Composed:
    grantee = sql.Identifier(grant.grantee) if grant.grantee else sql.SQL("public")
    option = sql.SQL(" with grant option" if grant.grantable and grant.grantee else "")
    return sql.SQL("grant {} on database {} to {}{}").format(_PRIVILEGES[grant.privilege], name, grantee, option)

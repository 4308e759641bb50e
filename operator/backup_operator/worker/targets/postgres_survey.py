"""Room `worker.targets`: looks at a target server and its databases, writing nothing; called by `targets.postgres`."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.log import fields
from backup_operator.worker.sources.postgres_lock import lock_holders
from backup_operator.worker.targets.postgres_contents import BackupContents
from backup_operator.worker.targets.postgres_roles_plan import RolesPlan
from backup_operator.worker.targets.postgres_site import APPLICATION, Site

_LOG = logging.getLogger(__name__)
_NAMED = 10
_SESSIONS: LiteralString = """
select a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.client_addr::text, 'local'),
       coalesce(a.state, ''), pg_has_role(current_user, a.usesysid, 'MEMBER')
from pg_stat_activity a
where a.datname = %s and a.pid <> pg_backend_pid() and a.backend_type in ('client backend', 'walsender') order by 1
"""
_PREPARED: LiteralString = "select gid::text from pg_prepared_xacts where database = %s order by 1"


@dataclass
class Draft:
    """A plan that is being written."""

    lines: list[str] = field(default_factory=list)
    pinned: dict[str, object] = field(default_factory=dict)
    obstacles: list[tuple[Reason, str]] = field(default_factory=list)
    overwritten: str = ""

    def say(self, line: str) -> None:
        """Add a sentence for a person."""
        self.lines.append(line)

    def stop(self, reason: Reason, why: str) -> None:
        """Add an obstacle."""
        self.obstacles.append((reason, why))


@dataclass(frozen=True)
class Session:
    """Somebody who is connected to a database."""

    pid: int
    user: str
    application: str
    address: str
    state: str
    may_be_ended: bool

    @property
    def is_ours(self) -> bool:
        """Whether it is a backup or a restore of ours at work; one that has just ended may still be seen, idle."""
        return self.application.startswith(APPLICATION) and self.state != "idle"

    def __str__(self) -> str:
        return f"process {self.pid} ({self.application or 'unnamed'}, role {self.user}, {self.address}, {self.state})"


def read_sessions(connection: psycopg.Connection, database: str) -> list[Session]:
    """Who else is connected to the database. Raises: psycopg.Error."""
    return [Session(*row) for row in connection.execute(_SESSIONS, [database]).fetchall()]


def read_prepared(connection: psycopg.Connection, database: str) -> list[str]:
    """Prepared transactions that hold the database. Raises: psycopg.Error."""
    return [str(row[0]) for row in connection.execute(_PREPARED, [database]).fetchall()]


def check_server(draft: Draft, site: Site) -> None:
    """What no restore can do without."""
    if site.server.in_recovery:
        draft.stop(Reason.TARGET_UNSUITABLE, "The target server is a standby, which takes no writes.")


def check_may_create(draft: Draft, site: Site) -> None:
    """Whether the role may make databases."""
    if not site.server.may_create_databases:
        draft.stop(
            Reason.TARGET_UNSUITABLE,
            f"The role {site.server.user!r} may not create databases: ALTER ROLE … CREATEDB, or use strategy InPlace.",
        )


def check_contents(draft: Draft, contents: BackupContents) -> None:
    """A backup that holds what is never run."""
    if contents.beyond:
        draft.stop(Reason.RESTORE_FAILED, contents.beyond)


def check_roles(draft: Draft, roles: RolesPlan, *, leave_out: bool) -> None:
    """Roles of the backup that the target lacks, or that ours may not act for."""
    draft.pinned["rolesMissing"] = list(roles.missing)
    if roles.needed and not (roles.missing or roles.made or roles.unassignable):
        draft.say(f"All {roles.needed} roles that the backup names are there.")
    if roles.made:
        draft.say(f"Roles made from the backup's globals first: {', '.join(roles.made)}.")
    if roles.reserved:
        draft.say(
            f"Reserved roles that ours may not act for; their ownership is left out: {', '.join(roles.reserved)}."
        )
    absent = [f"lacks the roles {', '.join(roles.missing)}"] if roles.missing else []
    if roles.refusing:
        absent.append(f"does not let ours give objects to the roles {', '.join(roles.refusing)}")
    for each in absent:
        if leave_out:
            draft.say(f"The target {each}; their ownership and grants are left out.")
        else:
            draft.stop(
                Reason.ROLES_MISSING,
                f"The target {each}: make or grant them, restore the globals too, or set missingRoles to LeaveOut.",
            )


def check_ours(draft: Draft, connection: psycopg.Connection, sessions: Iterable[Session], database: str) -> None:
    """A backup or a restore of ours that works on the database now. Raises: psycopg.Error."""
    ours = lock_holders(connection, database) or [str(each) for each in sessions if each.is_ours]
    if ours:
        draft.stop(Reason.TARGET_IN_USE, f"A backup or restore is working on {database!r} now: {listed(ours)}.")


def listed(items: Iterable[object], limit: int = _NAMED) -> str:
    """The items, the first few by name and the others counted; then the log has all of them."""
    texts = [str(each) for each in items]
    if len(texts) <= limit:
        return ", ".join(texts)
    _LOG.info("a list of the plan, in full", extra=fields(count=len(texts), items=texts))
    return f"{', '.join(texts[:limit])} and {len(texts) - limit} more (the log lists all {len(texts)})"

"""Room `worker.targets`: which roles of a backup the target lacks; called by `targets.postgres`."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import LiteralString

import psycopg

from backup_operator.worker.sources.supabase import supabase_lists

_ROLES: LiteralString = """
select rolname::text, pg_has_role(current_user, oid, 'MEMBER') from pg_roles
"""


@dataclass(frozen=True)
class RolesPlan:
    """Roles of the backup by what the target makes of them; sorted."""

    missing: tuple[str, ...] = ()
    """Not there, and not made by this restore."""
    made: tuple[str, ...] = ()
    """Not there, and made from the backup's globals first."""
    unassignable: tuple[str, ...] = ()
    """There, but our role may not give objects to them."""
    reserved: tuple[str, ...] = ()
    """Of the unassignable ones, those of a provider: their ownership is always left out."""
    needed: int = 0
    """How many roles the backup names."""

    @property
    def refusing(self) -> tuple[str, ...]:
        """Unassignable roles that a person can do something about."""
        return tuple(name for name in self.unassignable if name not in self.reserved)


def plan_roles(
    connection: psycopg.Connection, owners: Iterable[str], grantees: Iterable[str], in_globals: Iterable[str]
) -> RolesPlan:
    """Compare the roles that the backup needs with those of the server. Raises: psycopg.Error."""
    there: dict[str, bool] = dict(connection.execute(_ROLES).fetchall())
    owning, all_roles = set(owners), set(owners) | set(grantees)
    absent = all_roles - there.keys()
    made = absent & set(in_globals)
    unassignable = {name for name in owning if there.get(name) is False}
    return RolesPlan(
        missing=tuple(sorted(absent - made)),
        made=tuple(sorted(made)),
        unassignable=tuple(sorted(unassignable)),
        reserved=tuple(sorted(name for name in unassignable if is_reserved(name))),
        needed=len(all_roles),
    )


def is_reserved(role: str) -> bool:
    """Whether the role is one of PostgreSQL's or of a known provider's."""
    return role.startswith("pg_") or any(fnmatchcase(role, each) for each in supabase_lists().reserved_roles)

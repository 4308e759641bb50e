"""Room `worker.checks`: the checks of one restore and what they found; made by `worker.restore`, filled by targets.

sql     on the restored database: before its rename, or InPlace before COMMIT     checks.sql
redis   after the last key was written                                            checks.redis
http    last of all, when the application can see what was restored               checks.http
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid, TargetError

_NAMED = 5


@dataclass
class Checks:
    """What is asked, and what was found by now, whether or not the restore goes well."""

    orders: tuple[CheckOrder, ...] = ()
    backed_up_at: datetime | None = None
    """When the backup began; None where that is not known."""
    found: list[CheckFound] = field(default_factory=list)

    @property
    def sql(self) -> tuple[CheckOrder, ...]:
        """Those that ask a PostgreSQL database."""
        return tuple(each for each in self.orders if each.sql)

    @property
    def redis(self) -> tuple[CheckOrder, ...]:
        """Those that ask a Redis server."""
        return tuple(each for each in self.orders if each.redis_database is not None)

    @property
    def http(self) -> tuple[CheckOrder, ...]:
        """Those that ask the application."""
        return tuple(each for each in self.orders if each.http_url)

    def refuse_unfit(self, target: SourceKind) -> None:
        """Refuse a check that this kind of target cannot answer. Raises: OrderInvalid; nothing was changed then."""
        unfit = self.redis if target is SourceKind.POSTGRES else self.sql
        if unfit:
            asked = "a Redis server" if target is SourceKind.POSTGRES else "a PostgreSQL database"
            raise OrderInvalid(
                f"The check {unfit[0].name!r} asks {asked}, and the target is none. Nothing was changed.",
                hint="Take it out of spec.checks, or put it into the RestoreRequest of that target.",
            )

    def take(self, found: Iterable[CheckFound]) -> None:
        """Keep what was found. Raises: TargetError CheckFailed, naming the differences, when one did not pass."""
        taken = tuple(found)
        self.found += taken
        failed = [each for each in taken if not each.passed]
        if not failed:
            return
        more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise TargetError(
            Reason.CHECK_FAILED,
            f"{len(failed)} of {len(taken)} checks {'do' if len(failed) > 1 else 'does'} not hold.",
            detail="; ".join(map(described, failed[:_NAMED])) + more,
            hint="If the check is right, restore another backup.",
        )

    def lines(self) -> tuple[str, ...]:
        """Sentences for a plan."""
        if not self.orders:
            return ()
        return (f"Checked afterwards: {', '.join(each.name for each in self.orders)}.",)


def described(found: CheckFound) -> str:
    """One check in words: `users: expected at least 1, found 0`."""
    return f"{found.name}: expected {found.expected}, found {found.found}"

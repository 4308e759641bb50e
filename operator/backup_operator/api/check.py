"""Room `api`: `checks` of a BackupPolicy and of a RestoreRequest. Imported by both models."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from backup_operator.api.meta import Count, Duration
from backup_operator.api.parts import Format, Part, Rule, exactly_one_of

CheckName = Annotated[
    str,
    Format("[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?", "a short name of letters, digits, '-' and '_'", "users"),
]


class RedisCheck(Part):
    """What to count on a Redis server."""

    database: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    """Number of the database to look at. Default: 0."""
    key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A key to look for, counted 1 where it exists. Default: all keys of the database are counted (DBSIZE)."""


class HttpCheck(Part):
    """A health endpoint of the application."""

    url: Annotated[
        str, Format("https?://[^ ]+", "an http or https URL without a password in it", "http://app/health", 1024, "@")
    ]
    """The URL that is asked with GET."""
    status: Annotated[StrictInt, Field(ge=100, le=599)] = 200
    """The status code that means well. Default: 200."""


class Check(Part):
    """Something that must hold in restored data: exactly one of sql, redis and http."""

    rules: ClassVar = (
        exactly_one_of("sql", "redis", "http"),
        Rule(
            cel="(has(self.minimum) ? 1 : 0) + (has(self.equals) ? 1 : 0) + (has(self.newestWithin) ? 1 : 0)"
            " == (has(self.http) ? 0 : 1)",
            message="sql and redis are compared with exactly one of minimum, equals and newestWithin, http with none"
            " of them; write for example minimum: 1",
            holds=lambda part: part.comparisons == (0 if part.http is not None else 1),
        ),
        Rule(
            cel="!has(self.newestWithin) || has(self.sql)",
            message="newestWithin looks at a time that sql yields; write sql: select max(created_at) from a_table",
            holds=lambda part: part.newest_within is None or part.sql is not None,
        ),
    )
    name: CheckName
    """What the check is called in status and messages."""
    sql: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A query that yields one row with one column."""
    redis: RedisCheck | None = None
    """A count of keys."""
    http: HttpCheck | None = None
    """A health endpoint."""
    minimum: Count | None = None
    """The number found must be this or more."""
    equals: Annotated[str, Field(max_length=1024)] | None = None
    """The value found, written as text, must be this."""
    newest_within: Duration | None = None
    """The time found must be no further before the backup than this, for example 1h."""

    @property
    def comparisons(self) -> int:
        """How many of minimum, equals and newestWithin are set."""
        return sum(limit is not None for limit in (self.minimum, self.equals, self.newest_within))


Checks = Annotated[tuple[Check, ...], Field(max_length=50)]


def checks_fit(checks: Iterable[Check], *, is_postgres: bool) -> bool:
    """Whether a server of this kind can answer all of them; http asks an application."""
    return all(check.redis is None if is_postgres else check.sql is None for check in checks)

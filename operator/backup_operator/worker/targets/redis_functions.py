"""Room `worker.targets`: which function libraries a restore into Redis loads; called by redis. Pure.

Source: https://redis.io/docs/latest/commands/function-list/
"""

from collections.abc import Mapping, Sequence

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.targets.redis_commands import library_name
from backup_operator.worker.targets.redis_pipeline import Reply
from backup_operator.worker.targets.redis_survey import Obstacle, Surveyed, cli


def touches_functions(surveyed: Surveyed, order: RedisTargetOrder) -> bool:
    """Whether the restore has to do with libraries at all: they belong to no database and to no key."""
    return surveyed.url.database is None and not order.key_pattern


def libraries_to_load(wanted: Sequence[bytes], surveyed: Surveyed, order: RedisTargetOrder) -> tuple[bytes, ...]:
    """Code of the backup's libraries that the target does not keep its own of."""
    if not touches_functions(surveyed, order):
        return ()
    there = {} if _backup_wins(order) else surveyed.libraries or {}
    return tuple(code for code in wanted if library_name(code) not in there)


def of_libraries(wanted: Sequence[bytes], surveyed: Surveyed, order: RedisTargetOrder) -> Obstacle | None:
    """What is in the way of loading the backup's libraries."""
    place, there = surveyed.url.place, surveyed.libraries
    if not wanted or not touches_functions(surveyed, order):
        return None
    if there is None:
        return Obstacle(
            Reason.TARGET_UNSUITABLE,
            f"the backup holds function libraries, and {place} does not list its own",
            'Redis knows them from 7.0 on. A keyPattern of "*" restores the keys alone.',
        )
    different = [library_name(code) for code in wanted if there.get(library_name(code), code) != code]
    if not different or order.strategy is not RedisStrategy.FAIL_IF_NOT_EMPTY:
        return None
    return Obstacle(
        Reason.TARGET_NOT_EMPTY,
        f"{place} holds other function libraries of the same name: {', '.join(different)}",
        f"{cli(surveyed.url)} FUNCTION DELETE {different[0]}",
    )


def listed_libraries(reply: Reply) -> Mapping[str, bytes] | None:
    """Code by name, of a reply to FUNCTION LIST WITHCODE; None where the server refused it."""
    return dict(_library(entry) for entry in reply) if isinstance(reply, list) else None


def _backup_wins(order: RedisTargetOrder) -> bool:
    replaces = order.strategy is RedisStrategy.MERGE and order.existing is ExistingKeys.REPLACE
    return order.strategy is RedisStrategy.REPLACE or replaces


def _library(entry: Reply) -> tuple[str, bytes]:
    assert isinstance(entry, list)
    names = [word.decode(errors="replace") if isinstance(word, bytes) else "" for word in entry[::2]]
    fields = dict(zip(names, entry[1::2], strict=True))
    name, code = fields["library_name"], fields["library_code"]
    assert isinstance(name, bytes)
    assert isinstance(code, bytes)
    return name.decode(errors="replace"), code

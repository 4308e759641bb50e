"""Room `rules`: a RestoreRequest in words: its columns, and in what state its target may be.

Called by `rules.restoring`; pure.
"""

from enum import StrEnum

from backup_operator.api.meta import format_time
from backup_operator.api.restorerequest import BackupChoice, From, RestoreRequest
from backup_operator.api.restoretarget import Target
from backup_operator.vocabulary.choices import PostgresStrategy, RedisStrategy

NAMED_BY_TIME = f"PostgreSQL {PostgresStrategy.NEW_DATABASE.value}"
"""Of a request that leaves the new database's name to the worker, which makes it of the time."""
ANOTHER = "a request runs once: create another one"


class Began(StrEnum):
    """Whether the worker of a restore that told nothing has ever run."""

    NO = "No"
    YES = "Yes"
    UNKNOWN = "Unknown"


def columns(request: RestoreRequest) -> dict[str, str]:
    """`source`, `backup` and `target` of the status, as far as the spec tells."""
    spec = request.spec
    return {
        "source": origin_words(spec.origin),
        "backup": backup_words(spec.backup),
        "target": target_words(spec.target),
    }


def origin_words(origin: From) -> str:
    """The policy, or claim and path of the store."""
    if origin.policy_ref is not None:
        return origin.policy_ref.name
    assert origin.store is not None
    return f"{origin.store.claim_name}:{origin.store.path}"


def backup_words(backup: BackupChoice) -> str:
    """Which backup is wanted."""
    if backup.name is not None:
        return backup.name
    return f"before {format_time(backup.before)}" if backup.before else "latest"


def target_words(target: Target) -> str:
    """Where it goes, and how."""
    if target.postgres is not None:
        strategy = target.postgres.strategy or PostgresStrategy.NEW_DATABASE
        return f"PostgreSQL {strategy.value} {target.postgres.database or ''}".strip()
    if target.redis is not None:
        return f"Redis {(target.redis.strategy or RedisStrategy.FAIL_IF_NOT_EMPTY).value}"
    assert target.redis_volume is not None
    return f"claim {target.redis_volume.claim_name}"


def state_of_target(request: RestoreRequest | None, began: Began) -> str:
    """In what state the target is after a worker that died, or whose Job vanished, before it could say so."""
    if began is Began.NO:
        return "Nothing was touched: the worker never ran."
    doubt = "" if began is Began.YES else "Whether the worker ever ran is not known. "
    return doubt + _left_by(request)


def _left_by(request: RestoreRequest | None) -> str:
    """What a worker leaves that is killed in the middle."""
    target = request.spec.target if request is not None else None
    if target is not None and target.postgres is not None:
        return _POSTGRES_LEFT[target.postgres.strategy or PostgresStrategy.NEW_DATABASE]
    if target is not None and target.redis is not None:
        return _REDIS_LEFT[target.redis.strategy or RedisStrategy.FAIL_IF_NOT_EMPTY]
    return "In what state the target is cannot be told from here."


_POSTGRES_LEFT = {
    PostgresStrategy.NEW_DATABASE: "No database that was there is changed; a half-filled one may be left, named "
    "<database>_restoring_<time>: drop it.",
    PostgresStrategy.SWAP_DATABASE: "The database is as it was, or else swapped as a whole, never in between: swapped "
    "where <database>_before_<time> is there. A half-filled <database>_restoring_<time> may be left: drop it.",
    PostgresStrategy.IN_PLACE: "The target is as it was: everything is one transaction, which the server undoes. Only "
    "when the worker died after its COMMIT is the backup in it, as a whole.",
}
_REDIS_LEFT = {
    RedisStrategy.FAIL_IF_NOT_EMPTY: "The target was empty and may now hold a part of the keys: flush it before the "
    "next request.",
    RedisStrategy.MERGE: "A part of the backup's keys may be written; unless safetyBackup is false, what was there is "
    "in the store's directory safety.",
    RedisStrategy.REPLACE: "The target may hold a part of the backup only; unless safetyBackup is false, what was "
    "there is in the store's directory safety.",
}


def where_to_look(uid: str, store: str) -> str:
    """What to look at in the store when nobody could tell how a restore ended."""
    place = f"the store ({store})" if store else "the store"
    return (
        f"look into {place}: without {uid}.started nothing was touched; the last lines of audit.jsonl tell of an end; "
        f"{ANOTHER}"
    )


_UNDO_LINES = """{range .status.undo[*]}{@}{"\\n"}{end}"""


def take_back_hint(namespace: str, name: str) -> str:
    """What to type to read the commands that take a restore back; a person types those, once they are sure."""
    return f"to take it back, type what this lists: kubectl -n {namespace} get rr {name} -o jsonpath='{_UNDO_LINES}'"


def undo_hint(namespace: str, name: str) -> str:
    """What to type to bring back what a safety backup holds."""
    get = f"kubectl -n {namespace} get rr {name} -o jsonpath='{_UNDO_LINES}'"
    return f"to bring back what was there: {get} | kubectl apply -f -"

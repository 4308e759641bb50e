"""Room `rules`: `status.retention` from what workers report of retention; pure.

Called by `rules.stored` and `rules.status`.
"""

from datetime import UTC, datetime
from typing import Any

from backup_operator.api.backuppolicy import NextToGo, RetentionPreview, RetentionStatus
from backup_operator.api.meta import to_the_second
from backup_operator.contract.report import RetentionResult

_NAMED = 5


def with_result(known: RetentionStatus | None, result: RetentionResult, *, of_run: bool = False) -> RetentionStatus:
    """What is known of retention after one more result; an older one than the last changes nothing.

    `of_run`: a good run says it, not an inventory.
    A dry run, and every inventory is one, says what is kept and what would go; what really went, and when, stays.
    """
    at = to_the_second(result.applied_at)
    if known is not None and at < _last_heard(known):
        is_news = not result.dry_run and (known.applied_at is None or at > known.applied_at)
        # an inventory that ended after the run foretells what is newer; what was done is the run's to say
        return known.model_copy(update=_done(result, at)) if is_news else known
    foretold = _foretold(result)
    if result.dry_run:
        done = known or RetentionStatus()
        if of_run:
            done = done.model_copy(update={"dry_run_at": at})
        if result.stopped:
            digest = foretold["rules_digest"]
            return done.model_copy(update={"stopped": result.stopped, "rules_digest": digest, "preview": None})
        # why the last real run was cut short stays true until the next one
        unsolved = done.stopped if done.applied_at is not None else None
        return done.model_copy(update={**foretold, "stopped": unsolved, "preview": _preview(result, at)})
    return RetentionStatus(**foretold, **_done(result, at))


def of_rules(known: RetentionStatus | None, digest: str) -> RetentionStatus | None:
    """What is known of retention without a preview of other rules than those with this digest.

    The digest goes with it: rules that are changed back are previewed anew.
    """
    if known is None or known.preview is None or not digest or known.rules_digest == digest:
        return known
    return known.model_copy(update={"preview": None, "rules_digest": None})


def _last_heard(known: RetentionStatus) -> datetime:
    """The moment of the newest result that is known."""
    heard = (known.applied_at, known.preview.at if known.preview else None)
    return max((one for one in heard if one is not None), default=datetime.min.replace(tzinfo=UTC))


def _done(result: RetentionResult, at: datetime) -> dict[str, Any]:
    """What only a good run says: what went, and whether all did."""
    return {
        "deleted": result.deleted_count,
        "deleted_names": result.deleted[:_NAMED] or None,
        "freed_bytes": result.freed_bytes,
        "applied_at": at,
        "stopped": result.stopped or None,
        "left": result.left or None,
    }


def _foretold(result: RetentionResult) -> dict[str, object]:
    """What every result says: the rules, what they keep, and what goes next."""
    following = result.next_to_go
    return {
        "rules": result.rules,
        "kept": result.kept,
        "held_back": result.held_back or None,
        "blocked": result.blocked or None,
        "next_to_go": following and NextToGo(name=following.run, at=to_the_second(following.at)),
        "rules_digest": result.rules_digest or None,
    }


def _preview(result: RetentionResult, at: datetime) -> RetentionPreview:
    return RetentionPreview(at=at, count=result.going_count, bytes=result.going_bytes, names=result.going[:_NAMED])

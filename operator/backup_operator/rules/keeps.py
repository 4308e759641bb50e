"""Room `rules`: retention in a few words, for a column of `kubectl get`; pure. Called by `controller.policies`."""

from backup_operator.api.meta import format_duration
from backup_operator.contract.order import RetentionOrder


def keeps(order: RetentionOrder) -> str:
    """The stated rules and the floor: `30d, at least 3`, or `last 5, 7 daily, 12 monthly, at least 3 (dry run)`."""
    counts = (
        (order.keep_daily, "daily"),
        (order.keep_weekly, "weekly"),
        (order.keep_monthly, "monthly"),
        (order.keep_yearly, "yearly"),
    )
    stated = [format_duration(order.max_age)] if order.max_age else []
    stated += [f"last {order.keep_last}"] if order.keep_last else []
    stated += [f"{count} {word}" for count, word in counts if count]
    # with no rule at all nothing ever goes
    words = ", ".join([*stated, f"at least {order.minimum}"]) if stated else "everything"
    return f"{words} (dry run)" if order.dry_run else words

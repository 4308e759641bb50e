"""Room `worker.checks`: questions to a restored Redis server; called by `worker.targets.redis`."""

from collections.abc import Callable, Sequence

from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.worker.checks.judge import found, judged
from backup_operator.worker.sources.redis_wire import ErrorReply

Ask = Callable[..., object]
"""The reply to one command, given as words. Raises: ErrorReply, and what a broken connection raises."""


def run_redis_checks(ask: Ask, checks: Sequence[CheckOrder]) -> tuple[CheckFound, ...]:
    """What each finds; the connection is in another database afterwards.

    A command that the server refuses is a check that does not pass, told in the server's words.
    """
    return tuple(_run(ask, check) for check in checks)


def _run(ask: Ask, check: CheckOrder) -> CheckFound:
    try:
        ask("SELECT", str(check.redis_database))
        keys = ask("EXISTS", check.redis_key) if check.redis_key else ask("DBSIZE")
    except ErrorReply as exc:
        return found(check, str(exc), passed=False)
    return judged(check, keys if isinstance(keys, int) else None, None)

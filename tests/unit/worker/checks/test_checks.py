"""The checks of a restore: which room asks which, and what a failing one becomes."""

import pytest

from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.checks.redis import run_redis_checks
from backup_operator.worker.errors import OrderInvalid, TargetError
from backup_operator.worker.sources.redis_wire import ErrorReply

ROWS = CheckOrder(name="users", sql="select count(*) from users", minimum=1)
KEYS = CheckOrder(name="keys", redis_database=0, minimum=1)
HEALTH = CheckOrder(name="health", http_url="http://app/health")


def _found(name: str, *, passed: bool) -> CheckFound:
    return CheckFound(name=name, expected="at least 1", found="1" if passed else "0", passed=passed)


def test_each_check_is_of_one_kind():
    checks = Checks((ROWS, KEYS, HEALTH))

    assert (checks.sql, checks.redis, checks.http) == ((ROWS,), (KEYS,), (HEALTH,))


def test_checks_that_pass_are_kept():
    checks = Checks((ROWS,))

    checks.take([_found("users", passed=True)])

    assert checks.found == [_found("users", passed=True)]


def test_a_check_that_fails_is_kept_and_raised_with_its_difference():
    checks = Checks((ROWS, KEYS))

    with pytest.raises(TargetError) as raised:
        checks.take([_found("users", passed=True), _found("orders", passed=False), _found("carts", passed=False)])

    assert raised.value.reason is Reason.CHECK_FAILED
    assert raised.value.message == "2 of 3 checks do not hold."
    assert raised.value.detail == "orders: expected at least 1, found 0; carts: expected at least 1, found 0"
    assert [each.passed for each in checks.found] == [True, False, False]


@pytest.mark.parametrize(
    ("target", "check"), [(SourceKind.POSTGRES, KEYS), (SourceKind.REDIS, ROWS)], ids=["a Redis check", "an SQL check"]
)
def test_a_check_that_the_target_cannot_answer_is_refused(target, check):
    with pytest.raises(OrderInvalid, match=f"The check '{check.name}' asks .* Nothing was changed"):
        Checks((HEALTH, check)).refuse_unfit(target)


@pytest.mark.parametrize("target", list(SourceKind))
def test_an_application_can_be_asked_after_every_restore(target):
    Checks((HEALTH,)).refuse_unfit(target)


def test_redis_is_asked_in_the_checks_database():
    said: list[tuple[str, ...]] = []
    replies: dict[str, object] = {"SELECT": b"OK", "EXISTS": 1, "DBSIZE": 41}

    def ask(*words: str) -> object:
        said.append(words)
        return replies[words[0]]

    found = run_redis_checks(
        ask,
        [
            CheckOrder(name="config", redis_database=3, redis_key="app:config"),
            CheckOrder(name="size", redis_database=0, minimum=42),
        ],
    )

    assert said == [("SELECT", "3"), ("EXISTS", "app:config"), ("SELECT", "0"), ("DBSIZE",)]
    assert [(each.found, each.passed) for each in found] == [("1", True), ("41", False)]


def test_a_command_that_redis_refuses_is_a_check_that_fails_in_its_words():
    def ask(*words: str) -> object:
        raise ErrorReply("NOPERM this user has no permissions to run the 'select' command")

    (found,) = run_redis_checks(ask, [KEYS])

    assert (found.passed, found.found) == (False, "NOPERM this user has no permissions to run the 'select' command")

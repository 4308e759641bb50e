"""Redis checks in a restore: asked over its own connection, after the last key."""

import pytest

from backup_operator.contract.restore import CheckOrder, RedisTargetOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.errors import TargetError
from backup_operator.worker.targets.redis import RedisTarget
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.restoring import backup_of
from tests.support.redis_server import RedisServer


def _restore(directory, server, backup, *orders, **order):
    scratch = directory / "scratch"
    scratch.mkdir(exist_ok=True)
    checks = Checks(orders)
    asked = RedisTargetOrder(url=secret(directory, "TARGET_URL", server.url()), **order)
    target = RedisTarget(asked, scratch=scratch, confirm="", memory_limit_bytes=None, checks=checks)
    try:
        target.survey([backup])
        return checks, target.apply([backup], lambda _: None)
    finally:
        target.close()


@pytest.fixture
def backup(tmp_path):
    with RedisServer() as source, source.client() as first, source.client(3) as third:
        first.mset({f"user:{number}": number for number in range(100)})
        third.set("config", "x")
        yield backup_of(tmp_path, source.url())


def test_keys_and_databases_are_asked_for(tmp_path, backup):
    with RedisServer() as server:
        checks, applied = _restore(
            tmp_path,
            server,
            backup,
            CheckOrder(name="users", redis_database=0, minimum=100),
            CheckOrder(name="config", redis_database=3, redis_key="config"),
            CheckOrder(name="empty", redis_database=1, equals="0"),
        )

    assert [(each.found, each.passed) for each in checks.found] == [("100", True), ("1", True), ("0", True)]
    assert applied.state == f"The keys of the backup are in 127.0.0.1:{server.port}."


def test_a_check_that_fails_says_what_was_written_and_how_to_undo_it(tmp_path, backup):
    with RedisServer() as server, server.client() as client:
        with pytest.raises(TargetError) as raised:
            _restore(
                tmp_path,
                server,
                backup,
                CheckOrder(name="users", redis_database=0, minimum=101),
                CheckOrder(name="orders", redis_database=0, redis_key="orders"),
                CheckOrder(name="beyond", redis_database=99, minimum=1),
            )
        assert client.dbsize() == 100

    assert raised.value.reason is Reason.CHECK_FAILED
    assert raised.value.message == (
        f"3 of 3 checks do not hold. 127.0.0.1:{server.port} was written to: "
        "101 of 101 keys were written (100 in database 0, 1 in database 3); it was empty before"
    )
    assert raised.value.detail == (
        "users: expected at least 101, found 100; orders: expected at least 1, found 0; "
        "beyond: expected at least 1, found ERR DB index is out of range"
    )
    assert raised.value.hint.startswith("It was empty before; this empties it again: redis-cli ")

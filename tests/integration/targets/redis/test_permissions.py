"""What the user of the target's URL may do, and over which connection."""

import pytest

from backup_operator.contract.order import RedisTls
from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.restoring import KEYS, backup_of, refused, restore, target
from tests.support.certificates import make_certificates
from tests.support.redis_server import RedisServer

EVERYTHING_BUT = "app on >secret ~* &* +@all"


@pytest.mark.parametrize(
    ("rules", "strategy", "missing"),
    [
        pytest.param("-rpush -xgroup", RedisStrategy.FAIL_IF_NOT_EMPTY, "+rpush +xgroup", id="types"),
        pytest.param("-flushall", RedisStrategy.REPLACE, "+flushall", id="flushing"),
        pytest.param("-unlink", RedisStrategy.MERGE, "+unlink", id="dropping"),
    ],
)
def test_a_missing_permission_is_named_before_anything_is_written(tmp_path, plain, rules, strategy, missing):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=[f"{EVERYTHING_BUT} {rules}"]) as server:
        url = server.url(user="app", password="secret")
        obstacles = target(tmp_path, url, strategy=strategy).survey([backup]).obstacles
        found = refused(tmp_path, url, backup, strategy=strategy, confirm="127.0.0.1/all")
        with server.client() as client:
            assert client.dbsize() == 0

    words = f"the user app lacks permissions at 127.0.0.1:{server.port} that a restore needs: {missing}"
    assert obstacles == (f"{words}. redis-cli ACL SETUSER app {missing}",)
    assert (found.reason, found.message) == (Reason.PERMISSION_DENIED, words)


def test_a_user_with_the_least_permissions_restores(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    least = "+ping +info +select +exists +multi +discard +set +rpush +sadd +zadd +hmset +pexpireat"
    streams = "+xadd +xsetid +xgroup +xclaim"
    with RedisServer(users=[f"app on >secret ~* {least} {streams}"]) as server:
        applied = restore(tmp_path, server.url(user="app", password="secret"), backup)

    assert applied.counts == {"db0": KEYS}


def test_a_user_of_some_keys_restores_those(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=["app on >secret ~key:1* +@all"]) as server:
        url = server.url(user="app", password="secret")
        obstacles = target(tmp_path, url).survey([backup]).obstacles
        applied = restore(tmp_path, url, backup, key_pattern="key:1*")

    assert len(obstacles) == 1
    assert obstacles[0].startswith("the user app may not write every key that a restore can hold")
    assert applied.counts == {"db0": 11_111}


def test_a_user_without_transactions_restores_where_nothing_is_merged(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=[f"{EVERYTHING_BUT} -multi"]) as server:
        url = server.url(user="app", password="secret")
        merge = target(tmp_path, url, strategy=RedisStrategy.MERGE).survey([backup]).obstacles
        applied = restore(tmp_path, url, backup, strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all")

    assert len(merge) == 1
    assert "refuses MULTI" in merge[0]
    assert applied.counts == {"db0": KEYS}


def test_a_server_with_tls_is_restored_into_and_the_plan_says_so(tmp_path, plain):
    certificates = make_certificates(tmp_path)
    backup = backup_of(tmp_path, plain.url())
    tls = RedisTls(ca=secret(tmp_path, "ca.crt", certificates.authority.read_text()))

    with RedisServer(tls=certificates.server) as server:
        with_tls = target(tmp_path, server.url(), tls=tls)
        plan = with_tls.survey([backup])
        applied = with_tls.apply([backup], lambda _: None)

    assert any("over TLS" in line for line in plan.lines)
    assert applied.counts == {"db0": KEYS}

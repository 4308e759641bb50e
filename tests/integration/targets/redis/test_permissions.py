"""What the user of the target's URL may do, and over which connection."""

import pytest

from backup_operator.contract.order import RedisTls
from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.sources.redis_faults import LEAST_COMMANDS
from backup_operator.worker.targets.redis_probe import RARE_COMMANDS, RESTORE_COMMANDS
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.restoring import KEYS, backup_of, refused, restore, target
from tests.support.certificates import make_certificates
from tests.support.redis_server import RedisServer
from tests.support.source_redis import fill

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


@pytest.mark.parametrize("pattern", ["", "*"])
@pytest.mark.parametrize("strategy", list(RedisStrategy))
def test_a_user_with_the_documented_permissions_restores_and_uses_no_others(tmp_path, strategy, pattern):
    granted = f"{RESTORE_COMMANDS[strategy]} {RARE_COMMANDS['7.0']}"
    with RedisServer() as source, source.client() as client:
        fill(client, users=10)
        backup = backup_of(tmp_path, source.url())

    with RedisServer(users=[f"app on >secret ~* {granted}"]) as server:
        url = server.url(user="app", password="secret")
        restore(tmp_path, url, backup, strategy=strategy, key_pattern=pattern, confirm="127.0.0.1/all")
        with server.client() as client:
            used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}

    ours = used - {"auth", "hello", "client|setinfo"}
    assert [name for name in ours if not {f"+{name}", f"+{name.partition('|')[0]}"} & set(granted.split())] == []


def test_a_backup_s_user_with_both_lists_makes_the_safety_backup_too(tmp_path, plain):
    rules = f"app on >secret ~* {LEAST_COMMANDS} {RESTORE_COMMANDS[RedisStrategy.REPLACE]}"
    with RedisServer(users=[rules]) as server, server.client() as client:
        client.set("mine", "1")
        url = server.url(user="app", password="secret")
        assert backup_of(tmp_path, url).keys_per_database == {0: 1}
        applied = restore(
            tmp_path, url, backup_of(tmp_path, plain.url()), strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all"
        )

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

"""Logins that a server refuses, and permissions that a user lacks."""

import traceback

import pytest

from backup_operator.vocabulary.reasons import Reason
from tests.integration.redis.dumping import dump, fault, inspect
from tests.support.redis_server import RedisServer

LEAST = "backup on >secret +ping +info +replconf +sync"


@pytest.mark.parametrize(
    ("login", "reason", "word"),
    [
        (":wrong@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user default"),
        ("nobody:wrong@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user nobody"),
        ("", Reason.AUTHENTICATION_FAILED, "asks for a password, and the URL holds none"),
        ("nobody@", Reason.AUTHENTICATION_FAILED, "refuses the password of the user nobody"),
    ],
    ids=["wrong password", "unknown user", "no password", "a user without a password"],
)
def test_a_refused_login_is_an_authentication_failure(tmp_path, login, reason, word):
    with RedisServer(settings={"requirepass": "right-password"}, password="right-password") as server:
        found = fault(tmp_path, f"redis://{login}127.0.0.1:{server.port}")

    assert found.reason is reason
    assert word in found.message
    assert "--askpass PING" in found.hint
    assert "wrong" not in found.message + found.detail.replace("WRONGPASS", "") + found.hint
    assert not found.retryable


def test_a_password_that_the_server_does_not_have_is_an_authentication_failure(tmp_path):
    with RedisServer() as server:
        found = fault(tmp_path, server.url(password="surplus-password"))

    assert found.reason is Reason.AUTHENTICATION_FAILED
    assert "has none for the user default" in found.message
    assert "surplus" not in found.message + found.detail + found.hint


def test_a_server_that_repeats_the_password_in_its_error_is_not_repeated(tmp_path):
    with RedisServer(settings={"rename-command": 'AUTH ""'}) as server:
        found = fault(tmp_path, server.url(user="backup", password="s3cret" * 40))

    assert "unknown command 'AUTH'" in found.detail
    cause: BaseException | None = found
    while cause is not None:
        assert "s3cret" not in "".join(traceback.format_exception_only(cause)) + repr(vars(cause))
        cause = cause.__cause__


@pytest.mark.parametrize("version", ["redis-6.2", "host"])
def test_percent_encoded_passwords_and_user_names_enter(tmp_path, version):
    with RedisServer(version=version, users=["bäckup@up on >s3cret:@/ü +ping +info +replconf +sync"]) as server:
        facts, rdb = dump(tmp_path, server.url(user="bäckup@up", password="s3cret:@/ü"))

    assert facts.server["role"] == "master"
    assert inspect(rdb).keys == 0


def test_the_least_permissions_are_enough_with_and_without_a_database(tmp_path):
    with RedisServer(users=[LEAST]) as server, server.client() as client:
        client.set("key", "value")
        for tail in ("", "/0"):
            _facts, rdb = dump(tmp_path, server.url(tail, user="backup", password="secret"))
            assert inspect(rdb).keys == 1


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("+ping", Reason.PERMISSION_DENIED),
        ("+info", Reason.PERMISSION_DENIED),
        ("+replconf", Reason.SYNC_FORBIDDEN),
        ("+sync", Reason.SYNC_FORBIDDEN),
    ],
)
def test_a_missing_permission_names_the_command_that_grants_it(tmp_path, missing, reason):
    with RedisServer(users=[LEAST.replace(f" {missing}", "")]) as server:
        found = fault(tmp_path, server.url(user="backup", password="secret"))

    assert found.reason is reason
    assert found.hint == "redis-cli ACL SETUSER backup +ping +info +replconf +sync"
    assert missing[1:] in found.detail


def test_a_renamed_sync_is_forbidden(tmp_path):
    with RedisServer(settings={"rename-command": 'SYNC ""'}) as server:
        found = fault(tmp_path, server.url())

    assert found.reason is Reason.SYNC_FORBIDDEN
    assert "rename-command" in found.hint
    assert not found.retryable

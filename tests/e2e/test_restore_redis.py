"""Keys come back over the network: into an empty server, merged, in place of others, and undone."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import yaml

from tests.support import objects, source_redis
from tests.support.compare import assert_redis_servers_are_equal, redis_contents
from tests.support.policies import Policy
from tests.support.readme import blocks
from tests.support.restores import Restore, into_redis, of_policy, restore_request, url_at
from tests.support.servers import Servers, forwarded_redis

PASSWORD = "keys and more"
USERS = 200


@pytest.fixture(scope="module")
def site(module_namespace) -> Servers:
    """Pods `redis`, which holds everything and is backed up by policy `cache`, and `target`, which holds nothing."""
    space, made = module_namespace, Servers(module_namespace, PASSWORD)
    made.start("redis")
    host = f"target.{space.name}.svc"
    urls = {
        "TARGET_URL": f"redis://:keys%20and%20more@{host}:6379",
        "TARGET_DB9_URL": f"redis://:keys%20and%20more@{host}:6379/9",
        "TARGET_USER_URL": f"redis://restorer:of%20restores@{host}:6379",
    }
    space.apply(made.app_secret(**urls), objects.claim("backups"), *objects.redis_server("target"))
    with made.redis_client() as client:
        source_redis.fill(client, users=USERS)
    space.apply(objects.backup_policy("cache", objects.redis_source()))
    Policy(space, "cache").back_up("cache-now")
    space.wait_for_pod("target")
    return made


@pytest.fixture
def source(site: Servers) -> Iterator[redis.Redis]:
    with site.redis_client() as client:
        yield client


@pytest.fixture
def target(site: Servers) -> Iterator[redis.Redis]:
    """The other server, empty; its user `restorer` may do what the README says, and what is newer than its list."""
    (block,) = blocks("acl")
    rights = [word for word in shlex.split(block.text) if word.startswith("+")]
    with forwarded_redis(site.namespace, "target", password=PASSWORD) as client:
        newer = ("+hpexpireat", "+vadd") if client.info()["redis_version"] >= "8" else ()
        client.execute_command("ACL", "SETUSER", "restorer", "reset", "on", ">of restores", "~*", *rights, *newer)
        client.flushall()
        client.execute_command("FUNCTION", "FLUSH")
        yield client


def restore(site: Servers, name: str, url_key: str, *, confirm: str = "", safety: bool = True, **target) -> Restore:
    spec: dict[str, Any] = ({"confirm": confirm} if confirm else {}) | ({} if safety else {"safetyBackup": False})
    wanted = into_redis(**url_at(url_key), **target)
    site.namespace.apply(restore_request(name, wanted, origin=of_policy("cache"), **spec))
    return Restore(site.namespace, name)


def test_an_empty_server_gets_every_key_type_time_to_live_database_and_function(site, source, target):
    status = restore(site, "into-empty", "TARGET_USER_URL").completed()

    assert_redis_servers_are_equal(source, target, replayed=True)
    assert status["keys"] == sum(found["keys"] for found in source.info("keyspace").values())
    assert "safetyBackup" not in status


def test_a_server_that_holds_keys_is_refused_and_keeps_them(site, target):
    target.set("mine", "precious")

    status = restore(site, "into-full", "TARGET_URL").failed("TargetNotEmpty")

    assert "1 key" in status["message"]
    assert redis_contents(target) == {"functions": [], "0:b'mine'": ("string", b"precious", -1, None)}


def test_replaced_keys_come_back_by_the_manifest_in_the_status(site, source, target):
    """The old content, function library included, is backed up first; the status holds the manifest that undoes it."""
    target.mset({f"old:{number}": number for number in range(50)})
    target.execute_command("SELECT", 3)
    target.set("old in 3", "yes", pxat=source_redis.FAR_AWAY_MS)
    target.execute_command("SELECT", 0)
    target.function_load("#!lua name=old\nredis.register_function('old', function() return 1 end)")
    old = redis_contents(target)

    done = restore(
        site, "replace", "TARGET_USER_URL", strategy="Replace", confirm=f"target.{site.namespace.name}.svc/all"
    )  # fmt: skip
    status = done.completed()

    assert_redis_servers_are_equal(source, target, replayed=True)
    assert status["safetyBackup"].startswith("safety_")
    name = yaml.safe_load(done.undo)["metadata"]["name"]
    site.namespace.kubectl("apply", "--filename=-", stdin=done.undo.encode())
    Restore(site.namespace, name).completed()
    assert redis_contents(target) == old


def test_a_wrong_confirm_touches_nothing(site, target):
    target.set("mine", "precious")

    status = restore(
        site, "wrong-confirm", "TARGET_URL", strategy="Replace", confirm="another.host/all"
    ).failed("ConfirmMissing")  # fmt: skip

    assert f"target.{site.namespace.name}.svc/all" in status["message"] + status["hint"]
    assert target.keys("*") == [b"mine"]


def test_a_merge_of_a_part_keeps_the_target_s_own_keys(site, target):
    target.execute_command("SELECT", 9)
    target.set("user:1", "mine")
    target.execute_command("SELECT", 0)
    target.set("other", "stays")

    host = f"target.{site.namespace.name}.svc"
    restore(
        site, "merge", "TARGET_USER_URL", strategy="Merge", existing="Keep", keyPattern="user:*", confirm=f"{host}/all"
    ).completed()  # fmt: skip

    found = redis_contents(target)
    assert found["9:b'user:1'"][:2] == ("string", b"mine")
    assert found["0:b'other'"][:2] == ("string", b"stays")
    assert len([key for key in found if key.startswith("9:b'user:")]) == USERS
    assert [key for key in found if "session" in key] == []


def test_a_number_in_the_url_limits_the_flush_too(site, source, target):
    target.set("in database 0", "stays")
    target.execute_command("SELECT", 9)
    target.set("in database 9", "goes")
    target.execute_command("SELECT", 0)

    restore(
        site, "one-database", "TARGET_DB9_URL", safety=False, strategy="Replace",
        confirm=f"target.{site.namespace.name}.svc/9",
    ).completed()  # fmt: skip

    found, wanted = redis_contents(target), redis_contents(source)
    assert {key for key in found if key[:2] == "0:"} == {"0:b'in database 0'"}
    assert {key: value for key, value in found.items() if key[:2] == "9:"} == {
        key: value for key, value in wanted.items() if key[:2] == "9:"
    }

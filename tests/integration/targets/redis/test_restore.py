"""Restores into real servers: every type, value, time to live and database, by each strategy."""

import pytest

from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.redis.restoring import backup_of, contents, left_behind, restore, target
from tests.support.redis_server import RedisServer
from tests.support.source_redis import FAR_AWAY_MS, fill


@pytest.fixture(scope="module")
def filled():
    with RedisServer() as server, server.client() as client:
        fill(client, users=200)
        yield server


@pytest.fixture
def empty():
    with RedisServer() as server:
        yield server


def test_every_type_value_database_time_to_live_and_function_comes_back(tmp_path, filled, empty):
    steps: list[str] = []
    backup = backup_of(tmp_path, filled.url())
    into = target(tmp_path, empty.url())

    plan = into.survey([backup])
    applied = into.apply([backup], steps.append)

    assert plan.obstacles == ()
    assert plan.overwritten == ""
    assert contents(empty) == contents(filled)
    with empty.client() as copy, filled.client() as original:
        assert copy.function_list(withcode=True) == original.function_list(withcode=True)
    assert applied.counts == {f"db{number}": keys for number, keys in (backup.keys_per_database or {}).items()}
    assert steps == ["look", "write", "count"]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("version", ["redis-6.2", "valkey-9.1"])
def test_other_servers_take_what_a_newer_redis_or_another_kind_wrote(tmp_path, filled, version):
    backup = backup_of(tmp_path, filled.url())
    # Redis 6.2 has no function libraries; the pattern leaves them out
    pattern = "*" if version == "redis-6.2" else ""

    with RedisServer(version=version) as server:
        restore(tmp_path, server.url(), backup, key_pattern=pattern)
        found, expected = contents(server), contents(filled)

    if version == "redis-6.2":
        expected = {place: (value, min(expires, 0)) for place, (value, expires) in expected.items()}
    assert found == expected


def test_a_backup_with_functions_is_refused_by_a_server_that_is_too_old_for_them(tmp_path, filled):
    backup = backup_of(tmp_path, filled.url())

    with RedisServer(version="redis-6.2") as server:
        into = target(tmp_path, server.url())
        obstacles = into.survey([backup]).obstacles
        with pytest.raises(TargetError) as caught:
            into.apply([backup], lambda _: None)
        left = contents(server)

    words = f"the backup needs FUNCTION, which Redis has from 7.0 on, and {place(server)} does not know it"
    assert obstacles == (f'{words}. Restore into a newer server. A keyPattern of "*" restores the keys alone.',)
    assert (caught.value.reason, caught.value.message) == (Reason.TARGET_UNSUITABLE, words)
    assert left == {}
    assert left_behind(tmp_path) == []


def test_a_server_that_is_not_empty_is_an_obstacle_and_refused(tmp_path, filled, empty):
    with empty.client(7) as client:
        client.set("mine", "1")
    backup = backup_of(tmp_path, filled.url())
    into = target(tmp_path, empty.url())

    obstacles = into.survey([backup]).obstacles
    with pytest.raises(TargetError) as caught:
        into.apply([backup], lambda _: None)

    words = f"{place(empty)} is not empty: it holds 1 key in database 7"
    hint = f"Ask for strategy Merge or Replace, or empty it: redis-cli -h 127.0.0.1 -p {empty.port} FLUSHALL"
    assert obstacles == (f"{words}. {hint}",)
    assert (caught.value.reason, caught.value.message) == (Reason.TARGET_NOT_EMPTY, words)
    assert list(contents(empty)) == [(7, b"mine")]
    assert left_behind(tmp_path) == []


def test_replace_drops_everything_and_restores_the_backup(tmp_path, filled, empty):
    with empty.client(3) as client:
        client.set("mine", "1")
        client.function_load("#!lua name=mine\nredis.register_function('mine', function(keys, args) return 1 end)")
    backup = backup_of(tmp_path, filled.url())

    restore(tmp_path, empty.url(), backup, strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all")

    assert contents(empty) == contents(filled)
    with empty.client() as client:
        assert [entry[1] for entry in client.function_list()] == [b"tested"]


@pytest.mark.parametrize("confirm", ["", "127.0.0.1", "127.0.0.1/0"])
@pytest.mark.parametrize("strategy", [RedisStrategy.REPLACE, RedisStrategy.MERGE])
def test_what_can_be_lost_must_be_confirmed_by_name(tmp_path, filled, empty, strategy, confirm):
    backup = backup_of(tmp_path, filled.url())
    into = target(tmp_path, empty.url(), strategy=strategy, confirm=confirm)

    plan = into.survey([backup])
    with pytest.raises(TargetError) as caught:
        into.apply([backup], lambda _: None)

    assert plan.overwritten == "127.0.0.1/all"
    assert caught.value.reason is Reason.CONFIRM_MISSING
    assert contents(empty) == {}


def test_a_number_in_the_url_limits_reading_flushing_and_counting_to_that_database(tmp_path, filled, empty):
    for database in (0, 1, 2):
        with empty.client(database) as client:
            client.set("mine", database)
    backup = backup_of(tmp_path, filled.url())

    applied = restore(tmp_path, empty.url("/1"), backup, strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/1")

    expected = {(1, key): value for (number, key), value in contents(filled).items() if number == 1}
    mine = {(number, b"mine"): ((b"string", b"%d" % number), -1) for number in (0, 2)}
    assert contents(empty) == expected | mine
    assert applied.counts == {"db1": len(expected)}
    assert "Function libraries of the backup that were not loaded: tested." in applied.notes


def test_the_backup_of_one_database_goes_to_the_number_of_the_target_s_url(tmp_path, filled, empty):
    backup = backup_of(tmp_path, filled.url("/2"))
    into = target(tmp_path, empty.url("/5"))

    plan = into.survey([backup])
    into.apply([backup], lambda _: None)

    moved = {(5, key): value for (number, key), value in contents(filled).items() if number == 2}
    assert contents(empty) == moved
    assert "The backup is of database 2 alone, and the URL says /5: its keys go to database 5." in plan.lines


def test_a_number_in_the_url_without_keys_in_the_backup_is_refused(tmp_path, filled, empty):
    backup = backup_of(tmp_path, filled.url())
    into = target(tmp_path, empty.url("/6"))

    obstacles = into.survey([backup]).obstacles

    assert len(obstacles) == 1
    assert obstacles[0].startswith(
        "the backup holds no keys in database 6, to which the URL's /6 limits the restore. It"
    )


def test_a_pattern_restores_the_keys_that_match_it(tmp_path, filled, empty):
    backup = backup_of(tmp_path, filled.url())

    applied = restore(tmp_path, empty.url(), backup, key_pattern="user:*")

    assert contents(empty) == {place: value for place, value in contents(filled).items() if place[1][:5] == b"user:"}
    assert applied.counts == {"db9": 200}


def test_replace_with_a_pattern_replaces_the_keys_that_match_it_alone(tmp_path, filled, empty):
    with empty.client(9) as client:
        client.mset({"user:old": "1", "other": "2"})
    backup = backup_of(tmp_path, filled.url())

    restore(
        tmp_path,
        empty.url(),
        backup,
        strategy=RedisStrategy.REPLACE,
        key_pattern="user:*",
        confirm="127.0.0.1/all",
    )

    users = {place: value for place, value in contents(filled).items() if place[1][:5] == b"user:"}
    assert contents(empty) == users | {(9, b"other"): ((b"string", b"2"), -1)}


@pytest.mark.parametrize("existing", list(ExistingKeys))
def test_a_merge_lets_the_named_side_win_with_value_and_time_to_live(tmp_path, filled, empty, existing):
    with empty.client(1) as client:
        client.set("list:long", "a string now", pxat=FAR_AWAY_MS + 77)
        client.set("mine", "stays")
    with empty.client(3) as client:
        client.xadd("stream", {"a": "b"}, id="9999-1")
    before = contents(empty)
    backup = backup_of(tmp_path, filled.url())

    applied = restore(
        tmp_path, empty.url(), backup, strategy=RedisStrategy.MERGE, existing=existing, confirm="127.0.0.1/all"
    )

    from_backup = contents(filled)
    keeps = existing is ExistingKeys.KEEP
    assert contents(empty) == (from_backup | before if keeps else before | from_backup)
    written = len(from_backup) - (2 if keeps else 0)
    last = "2 were there and kept." if keeps else "2 of them over others."
    assert f"{written:,} keys were written, {last}" in applied.notes
    assert left_behind(tmp_path) == []


def test_a_key_too_large_for_one_transaction_is_merged_whole(tmp_path, empty):
    large = [b"%09d" % number * 9 for number in range(250_000)]
    with RedisServer() as source, source.client() as client:
        client.set("a", "1")
        client.rpush("large", *large)
        client.set("z", "2")
        backup = backup_of(tmp_path, source.url())
    merge = {"strategy": RedisStrategy.MERGE, "confirm": "127.0.0.1/all"}

    first = restore(tmp_path, empty.url(), backup, **merge)
    second = restore(tmp_path, empty.url(), backup, **merge)
    third = restore(tmp_path, empty.url(), backup, existing=ExistingKeys.REPLACE, **merge)

    with empty.client() as client:
        assert client.lrange("large", 0, -1) == large
        assert client.mget("a", "z") == [b"1", b"2"]
    assert "3 keys were written, 0 were there and kept." in first.notes
    assert "0 keys were written, 3 were there and kept." in second.notes
    assert "3 keys were written, 3 of them over others." in third.notes


def place(server: RedisServer) -> str:
    return f"127.0.0.1:{server.port}"

"""Restores that stop in the middle say how far they came and what undoes it."""

import re

import pytest

from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import Interrupted
from tests.integration.targets.redis.restoring import KEYS, backup_of, left_behind, refused, target
from tests.support.redis_server import RedisServer
from tests.support.tcp_server import CuttingRelay


def test_a_connection_that_breaks_in_the_middle_says_how_many_keys_are_there(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server, CuttingRelay(server.port, 1_000_000) as relay:
        found = refused(tmp_path, relay.url, backup)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert found.reason is Reason.RESTORE_FAILED
    said = re.search(r": ([\d,]+) of 20,000 keys were written; it was empty before$", found.message)
    assert said is not None
    assert int(said[1].replace(",", "")) <= there
    assert found.hint.startswith("It was empty before; this empties it again: redis-cli -h 127.0.0.1 -p ")


def test_a_target_that_dies_in_the_middle_is_said_to_be_out_of_reach(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server, CuttingRelay(server.port, 1_000_000, at_the_cut=server.stop) as relay:
        found = refused(tmp_path, relay.url, backup)

    assert found.reason is Reason.RESTORE_FAILED
    assert re.search(r"at most \d+ % of 20,000 keys were written \(it was empty before\)", found.message)


def test_a_target_that_gets_full_stops_the_restore_with_counts(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def fill_up(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), backup, fill_up)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert found.message.endswith(f": {there:,} of 20,000 keys were written; it was empty before")
    assert "OOM command not allowed" in found.detail


@pytest.mark.parametrize("existing", list(ExistingKeys))
def test_a_merge_that_stops_counts_the_keys_that_were_acknowledged(tmp_path, plain, existing):
    backup = backup_of(tmp_path, plain.url())

    def fill_up(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_500_000)

    with RedisServer() as server:
        merge = {"strategy": RedisStrategy.MERGE, "existing": existing, "confirm": "127.0.0.1/all"}
        found = refused(tmp_path, server.url(), backup, fill_up, **merge)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert f"{there:,} of 20,000 keys were written for sure" in found.message
    assert "status.undo" in found.hint


def test_an_interrupted_restore_says_what_was_written(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def interrupt(step: str) -> None:
        if step == "count":
            raise Interrupted("the worker was asked to stop")

    with RedisServer() as server:
        into = target(tmp_path, server.url())
        with pytest.raises(Interrupted) as caught:
            into.apply([backup], interrupt)

    assert caught.value.detail == "20,000 of 20,000 keys were written; it was empty before"
    assert left_behind(tmp_path) == []


def test_keys_that_others_delete_meanwhile_are_found_missing(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def delete(step: str) -> None:
        if step == "count":
            with server.client() as client:
                client.delete("key:1", "key:2")

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), backup, delete)

    assert found.reason is Reason.RESTORE_FAILED
    assert "and then 2 keys in database 0 were missing there" in found.message

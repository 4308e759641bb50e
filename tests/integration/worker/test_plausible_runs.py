"""Runs and inventories of real databases that lose what they held, by workers with a moved clock."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.contract.report import Comparison, Report, decode, encode
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LAST_TWO = {"retention": {"keep_last": 2, "minimum": 1}}


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer(15) as server:
        yield server


@pytest.fixture
def shop(postgres, tmp_path):
    """A bench whose database holds three tables, and a connection to it."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("create table users as select n as id, 'user ' || n as name from generate_series(1, 1000) n")
        connection.execute("create table orders as select n as id from generate_series(1, 3000) n")
        connection.execute("create table notes (id int)")
        try:
            yield bench_in(tmp_path, postgres={"url": postgres.url()}), connection
        finally:
            connection.execute("drop schema public cascade")
            connection.execute("create schema public")


def run_on(place: Bench, night: int, **changes: Any) -> Report:
    scratch = place.directory / "scratch"
    scratch.mkdir(exist_ok=True)
    at = NIGHT + night * DAY
    order = BackupOrder.model_validate(place.order | changes)
    report = back_up(order, Workplace(now=lambda: at, scratch=scratch))
    assert report.fault is None, report.fault
    return report


def inventory_on(place: Bench, night: int, **changes: Any) -> Comparison | None:
    shared = {name: place.order[name] for name in ("policy", "passphrase", "store")}
    order = InventoryOrder.model_validate(shared | changes)
    report = take_inventory(order, Workplace(now=lambda: NIGHT + night * DAY))
    assert report.fault is None, report.fault
    return report.comparison


def name_of(night: int, kind: str = "backup") -> str:
    return f"{kind}_{NIGHT + night * DAY:%Y%m%d_%H%M%S}"


def told(report: Report) -> Comparison:
    assert report.comparison is not None
    assert decode(encode(report)) == report
    return report.comparison


def kept(place: Bench) -> list[str]:
    return [name.removesuffix(".json") for name in place.files() if name.endswith(".json")]


def test_rows_that_vanish_hold_the_runs_before_until_a_person_accepts_it(shop):
    place, connection = shop
    for night in range(3):
        good = run_on(place, night, **LAST_TWO)
    connection.execute("truncate users, orders")
    for night in range(3, 6):
        empty = run_on(place, night, **LAST_TWO)
    while_in_doubt = kept(place)
    again = inventory_on(place, 6)
    at_once = inventory_on(place, 6, accepted_run=name_of(5))
    accepted = run_on(place, 6, **LAST_TWO, accepted_run=name_of(5))

    assert told(good) == Comparison(run=name_of(2), compared_with=2)
    found = told(empty)
    assert (found.reason, found.since_run, found.run) == (Reason.ROWS_COLLAPSED, name_of(3), name_of(5))
    assert found.message == (
        f"{name_of(5)} holds 0 rows instead of about 4,000 (0 of 3,000 in public.orders, 0 of 1,000 in public.users); "
        f"compared with the 2 backups in line up to {name_of(2)}"
    )
    assert again == found
    # the two of before the collapse are held; of those that are out of line, the rules keep two
    assert while_in_doubt == [name_of(night) for night in (1, 2, 4, 5)]
    assert empty.retention is not None
    assert empty.retention.blocked == 2
    assert at_once == Comparison(run=name_of(5), compared_with=0, accepted=True)
    assert told(accepted) == Comparison(run=name_of(6), compared_with=1, accepted=True)
    assert kept(place) == [name_of(5), name_of(6)]
    # from here on it is the usual state, whoever makes the policy again
    assert inventory_on(place, 7) == Comparison(run=name_of(6), compared_with=1)


def test_data_that_is_back_ends_the_hold_with_the_next_run(shop):
    place, connection = shop
    for night in range(3):
        run_on(place, night, **LAST_TWO)
    connection.execute("alter table users rename to gone")
    vanished = run_on(place, 3, **LAST_TWO)
    connection.execute("alter table gone rename to users")
    back = run_on(place, 4, **LAST_TWO)

    found = told(vanished)
    assert (found.reason, found.since_run) == (Reason.TABLE_VANISHED, name_of(3))
    assert "lacks 1 table that held rows: public.users (1,000)" in found.message
    assert told(back).reason is None
    assert kept(place) == [name_of(3), name_of(4)]


def test_a_changed_spec_is_named_as_a_likely_cause(shop):
    place, _ = shop
    run_on(place, 0)
    policy = place.order["policy"] | {"spec_digest": "another"}

    found = told(run_on(place, 1, policy=policy, postgres=place.order["postgres"] | {"tables": {"exclude": ["users"]}}))

    assert found.reason is Reason.TABLE_VANISHED
    assert "the policy's spec has been changed since" in found.message


def test_a_run_made_while_the_clock_was_ahead_is_not_what_others_are_compared_with(shop):
    place, connection = shop
    run_on(place, 0)
    run_on(place, 400)
    connection.execute("truncate users, orders")

    empty = run_on(place, 1)

    assert told(empty).compared_with == 1
    assert told(empty).reason is Reason.ROWS_COLLAPSED
    assert inventory_on(place, 2) == empty.comparison


def test_what_another_passphrase_locks_is_not_compared_and_fails_nothing(shop):
    place, connection = shop
    run_on(place, 0)
    connection.execute("truncate users, orders")
    (place.directory / "key").write_text("a new passphrase, forgotten the old")

    report = run_on(place, 1)

    assert told(report) == Comparison(run=name_of(1), compared_with=0)


def test_a_store_without_a_backup_has_nothing_to_say(shop):
    place, _ = shop
    place.store.mkdir(parents=True, mode=0o700)

    assert inventory_on(place, 0) is None


def test_what_was_found_is_in_the_entry_and_authenticated(shop):
    place, connection = shop
    run_on(place, 0)
    run_on(place, 1)
    connection.execute("truncate users, orders")
    run_on(place, 2)

    recorded = [json.loads((place.store / f"{name_of(night)}.json").read_text())["plausibility"] for night in range(3)]

    assert [record["in_line"] for record in recorded] == [False, True, False]
    (place.store / f"{name_of(2)}.json").write_text(
        (place.store / f"{name_of(2)}.json").read_text().replace('"in_line": false', '"in_line": true')
    )
    newest = inventory_on(place, 3)
    assert newest is not None
    assert newest.run == name_of(1)


def test_keys_that_expire_are_no_loss_and_keys_that_stay_are(tmp_path):
    with RedisServer() as server, server.client() as client:
        place = bench_in(tmp_path, redis={"url": server.url()})
        client.mset({f"account:{number}": "x" * 50 for number in range(300)})
        for number in range(2000):
            client.set(f"session:{number}", "x" * 50, ex=3600)
        run_on(place, 0)
        for number in range(2000):
            client.delete(f"session:{number}")
        flushed = run_on(place, 1)
        client.delete(*(f"account:{number}" for number in range(290)))
        lost = run_on(place, 2)

    assert told(flushed).reason is None
    found = told(lost)
    assert (found.reason, found.since_run) == (Reason.KEYS_COLLAPSED, name_of(2, "redis"))
    assert "holds 10 keys that do not expire instead of about 300" in found.message

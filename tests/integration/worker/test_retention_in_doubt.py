"""A database that loses its content, night after night: retention keeps the good backups until a person accepts it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.contract.report import Report
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.support.redis_server import RedisServer

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP_THREE = {"keep_last": 3, "minimum": 3}


@pytest.fixture
def server():
    with RedisServer() as one, one.client() as client:
        client.mset({f"key{number}": number for number in range(500)})
        yield one


@pytest.fixture
def place(tmp_path, server):
    return bench_in(tmp_path, redis={"url": server.url()})


def run_at(place: Bench, night: int, **changes: Any) -> Report:
    order = BackupOrder.model_validate(place.order | {"retention": KEEP_THREE} | changes)
    at = NIGHT + night * DAY
    report = back_up(order, Workplace(now=lambda: at, scratch=place.directory))
    assert report.fault is None, report.fault
    return report


def preview_at(place: Bench, night: int, **changes: Any) -> Report:
    known = {name: place.order[name] for name in ("policy", "passphrase", "store")} | {"retention": KEEP_THREE}
    at = NIGHT + night * DAY
    return take_inventory(InventoryOrder.model_validate(known | changes), Workplace(now=lambda: at))


def stored(place: Bench) -> list[str]:
    return [name.removesuffix(".json") for name in place.files() if name.endswith(".json")]


def lose_nearly_everything(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()
        client.set("left", "1")


def test_the_good_backups_outlast_forty_nights_of_collapsed_ones_and_go_when_that_is_accepted(place, server):
    good = [run_at(place, night).run for night in range(5)]
    lose_nearly_everything(server)
    collapsed = [run_at(place, night) for night in range(5, 45)]
    foretold = preview_at(place, 45, accepted_run=collapsed[-1].run)
    held = stored(place)
    accepted = run_at(place, 45, accepted_run=collapsed[-1].run)
    last = run_at(place, 46, accepted_run=collapsed[-1].run)

    for report in collapsed:
        assert report.comparison is not None
        assert report.comparison.reason is Reason.KEYS_COLLAPSED
        assert report.comparison.since_run == collapsed[0].run
    blocked = [report.retention.blocked for report in collapsed if report.retention]
    # the floor and the rule have some of them at first; from the third night on all three wait for a person
    assert blocked == [1, 2, *[3] * 38]
    assert held == [*good[2:], *(report.run for report in collapsed[-3:])]
    assert foretold.retention is not None
    assert (foretold.retention.blocked, foretold.retention.going) == (0, tuple(good[2:]))
    assert accepted.retention is not None
    assert set(good[2:]) <= set(accepted.retention.deleted)
    assert accepted.retention.blocked == 0
    assert last.retention is not None
    assert (last.retention.kept, last.retention.deleted_count) == (3, 1)


def test_when_the_data_is_back_the_rules_go_on_by_themselves(place, server):
    good = [run_at(place, night).run for night in range(4)]
    lose_nearly_everything(server)
    lost = [run_at(place, 4).run]
    blocked = run_at(place, 5)
    lost.append(blocked.run)
    with server.client() as client:
        client.mset({f"key{number}": number for number in range(500)})
    back = run_at(place, 6)

    assert blocked.retention is not None
    assert blocked.retention.blocked == 2
    assert back.comparison is not None
    assert back.comparison.reason is None
    assert back.retention is not None
    assert (back.retention.blocked, back.retention.deleted) == (0, tuple(good[1:2]))
    # the two that nobody should restore from are no floor
    assert stored(place) == [*good[2:], *lost, back.run]

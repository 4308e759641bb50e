"""What inventories and runs say of days to come: what the rules let go, and when the volume is full."""

import json
import math
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backup_operator.contract.order import BackupOrder, InventoryOrder, RetentionOrder
from backup_operator.contract.report import Comparison, Report, StorageUse
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.storage import with_outlook
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.layout import LEAST_ROOM_BYTES, measure
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.integration.worker.ordering import back_up_at, tree
from tests.integration.worker.pruning import DAY, NIGHT, opened, pruning, written
from tests.support.redis_server import RedisServer
from tests.support.store_content import KEYS
from tests.support.volumes import mounted_tmpfs

KEEP_TWO = {"keep_last": 2, "minimum": 1, "digest": "4f2a"}
PIECE = b"x" * 100_000
OF_OTHERS = 300_000


@pytest.fixture
def place(tmp_path, server):
    return bench_in(tmp_path, redis={"url": server.url()})


def inventory(place: Bench, **changes: Any) -> Report:
    known = {name: place.order[name] for name in ("policy", "passphrase", "store")}
    order = InventoryOrder.model_validate(known | changes)
    return take_inventory(order, Workplace(now=lambda: NIGHT, scratch=place.directory))


def runs_of_four_nights(place: Bench) -> list[str]:
    return [back_up_at(place, NIGHT - number * DAY) for number in (3, 2, 1, 0)]


def test_an_inventory_says_what_changed_rules_would_let_go_and_changes_nothing(place):
    runs = runs_of_four_nights(place)
    before = tree(place)

    report = inventory(place, retention=KEEP_TWO)

    assert tree(place) == before
    assert report.fault is None
    assert report.retention is not None
    assert (report.retention.dry_run, report.retention.rules_digest) == (True, "4f2a")
    assert (report.retention.going, report.retention.kept) == (tuple(runs[:2]), 2)
    assert report.retention.going_bytes > 0
    assert report.retention.rules[0] == f"last 2: kept 2, next to go {runs[2]} on 2026-11-24"
    assert report.storage is not None
    assert report.storage.full_at is None


def test_what_an_inventory_foretells_the_next_good_run_does(place):
    runs = runs_of_four_nights(place)
    told = inventory(place, retention=KEEP_TWO).retention
    back_up_at(place, NIGHT + DAY, retention=KEEP_TWO)

    left = inventory(place).catalog

    assert told is not None
    assert left is not None
    gone = set(runs) - {line.name for line in left.backups}
    assert told.next_to_go is not None
    assert gone == {*told.going, told.next_to_go.run}


def test_an_inventory_without_rules_foretells_nothing(place):
    runs_of_four_nights(place)

    report = inventory(place)

    assert report.retention is None


def test_an_inventory_of_a_store_that_is_not_there_yet_has_a_preview_of_nothing(place):
    report = inventory(place, retention=KEEP_TWO | {"dry_run": True})

    assert report.retention is not None
    assert (report.retention.dry_run, report.retention.kept, report.retention.going) == (True, 0, ())
    assert report.retention.rules_digest == "4f2a"


def test_a_run_by_an_order_that_says_dry_run_deletes_nothing_until_it_no_longer_does(place):
    runs = runs_of_four_nights(place)

    dry = run_at(place, NIGHT + DAY, retention=KEEP_TWO | {"dry_run": True})
    there = [name.removesuffix(".json") for name in place.files() if name.endswith(".json")]
    real = run_at(place, NIGHT + 2 * DAY, retention=KEEP_TWO)

    assert dry.retention is not None
    assert (dry.retention.deleted, dry.retention.going, dry.retention.dry_run) == ((), tuple(runs[:3]), True)
    assert there == [*runs, dry.run]
    assert real.retention is not None
    assert (real.retention.deleted, real.retention.dry_run) == (tuple(runs), False)


def run_at(place: Bench, at: datetime, **changes: Any) -> Report:
    """A run by a worker whose clock says `at`."""
    order = BackupOrder.model_validate(place.order | changes)
    return back_up(order, Workplace(now=lambda: at, scratch=place.directory))


# when the volume is full


@pytest.fixture
def volume(tmp_path):
    with mounted_tmpfs(tmp_path / "volume", size_bytes=4 << 20) as mount:
        yield mount


def told_full_at(mount: Path, retention: RetentionOrder, **changes: Any):
    with opened(mount) as store:
        listed = read_catalog(store, KEYS).entries
        return measure(store), with_outlook(measure(store), listed, pruning(retention, **changes), NIGHT).full_at


def test_days_until_full_follow_from_the_recorded_sizes(volume):
    with opened(volume) as store:
        written(store, 5, content=PIECE)

    use, full_at = told_full_at(volume, RetentionOrder(keep_last=1000))

    fitting = math.floor((use.capacity_bytes - LEAST_ROOM_BYTES - use.used_bytes) / len(PIECE))
    assert full_at == NIGHT + (fitting + 1) * DAY


def test_another_policy_on_the_claim_fills_it_too(volume, server):
    place = bench_in(volume, redis={"url": server.url()})
    told: list[StorageUse] = []
    for night in range(6):
        (volume / f"other_{night}").write_bytes(b"x" * OF_OTHERS)
        told += filter(None, [run_at(place, NIGHT + night * DAY, retention=KEEP_TWO | {"keep_last": 4}).storage])

    entries = [json.loads((place.store / name).read_text()) for name in place.files() if name.endswith(".json")]
    assert entries[1]["others_bytes"] - entries[0]["others_bytes"] == pytest.approx(OF_OTHERS, abs=20_000)
    assert told[1].full_at is None, "its own backups alone never fill it"
    nights = (told[-1].capacity_bytes - LEAST_ROOM_BYTES - told[-1].used_bytes) / OF_OTHERS
    assert told[-1].full_at is not None
    assert (told[-1].full_at - NIGHT) / DAY == pytest.approx(5 + nights, abs=1)


def test_retention_that_deletes_as_much_as_comes_keeps_it_from_filling(volume):
    with opened(volume) as store:
        written(store, 5, content=PIECE)

    assert told_full_at(volume, RetentionOrder(keep_last=20))[1] is None


@pytest.mark.parametrize(
    ("retention", "comparison"),
    [
        (RetentionOrder(keep_last=5, dry_run=True), None),
        (RetentionOrder(keep_last=5, time_zone="Europe/Nowhere"), None),
    ],
    ids=["a dry run", "rules that cannot be applied"],
)
def test_what_deletes_nothing_does_not_keep_it_from_filling(volume, retention, comparison):
    with opened(volume) as store:
        written(store, 5, content=PIECE)

    assert told_full_at(volume, RetentionOrder(keep_last=5))[1] is None
    assert told_full_at(volume, retention, comparison=comparison)[1] is not None


def test_runs_that_are_held_while_in_doubt_take_their_room(volume):
    with opened(volume) as store:
        runs = written(store, 20, content=PIECE)
    doubt = Comparison(run=runs[-1], compared_with=9, reason=Reason.ROWS_COLLAPSED, since_run=runs[-1])

    assert told_full_at(volume, RetentionOrder(keep_last=22))[1] is None
    assert told_full_at(volume, RetentionOrder(keep_last=22), comparison=doubt)[1] is not None


def test_the_night_that_was_foretold_is_the_one_on_which_a_run_does_not_fit(tmp_path):
    with (
        RedisServer() as server,
        server.client() as client,
        mounted_tmpfs(tmp_path / "bench" / "disk", 6 << 20) as disk,
    ):
        client.set("noise", random.Random(0).randbytes(400_000))
        place = bench_in(tmp_path / "bench", redis={"url": server.url()})
        place.order["store"]["mount"] = str(disk)
        retention = {"keep_last": 100}
        reports = [run_at(place, NIGHT + number * DAY, retention=retention) for number in range(14)]

    failed = [number for number, report in enumerate(reports) if report.fault is not None]
    assert failed == list(range(failed[0], 14))
    assert 8 <= failed[0] <= 12
    for report in reports[failed[0] :]:
        assert report.fault is not None
        assert report.fault.reason is Reason.STORAGE_FULL
        assert "too full to begin" in report.fault.message
        assert report.storage is not None
        assert report.storage.used_bytes > 4 << 20
    told = [report.storage and report.storage.full_at for report in reports[: failed[0]]]
    night = NIGHT + failed[0] * DAY
    # entry and trail take a few KiB each night, which the sizes of the artifacts do not tell
    assert {full_at for full_at in told if full_at} <= {night, night + DAY}
    assert told[-1] == night

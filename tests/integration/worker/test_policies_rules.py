"""A policy's rules as the operator orders them, carried out on a real store: what goes, and what stays beside them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.contract.order import BackupOrder, InventoryOrder, RetentionOrder
from backup_operator.contract.report import Report
from backup_operator.manifests.order import backup_order, inventory_order
from backup_operator.worker.backup import back_up
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.store.hold import held
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.unit.manifests.policies import policy

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SOURCE = {"redis": {"urlSecretRef": {"name": "app", "key": "URL"}}}
LAST_TWO = {"keepLast": 2, "minimum": 1}


@pytest.fixture
def place(tmp_path, server):
    """A store with seven nights' backups."""
    bench = bench_in(tmp_path, redis={"url": server.url()})
    (bench.directory / "scratch").mkdir()
    for number in range(7):
        assert backed_up(bench, NIGHT + number * DAY, maxAge="300d").fault is None
    return bench


def workplace(place: Bench, at: datetime) -> Workplace:
    return Workplace(now=lambda: at, scratch=place.directory / "scratch")


def backed_up(place: Bench, at: datetime, **retention: Any) -> Report:
    """A run of a policy with this block, by a worker whose clock says `at`."""
    rules = backup_order(policy(source=SOURCE, retention=retention)).retention
    return back_up(BackupOrder.model_validate(place.order | {"retention": in_json(rules)}), workplace(place, at))


def foretold(place: Bench, at: datetime, **retention: Any) -> Report:
    """The inventory that the operator starts after such an edit."""
    rules = inventory_order(policy(source=SOURCE, retention=retention)).retention
    parts = {name: place.order[name] for name in ("policy", "passphrase", "store")}
    order = InventoryOrder.model_validate({"kind": "Inventory", **parts, "retention": in_json(rules)})
    return take_inventory(order, workplace(place, at))


def in_json(rules: RetentionOrder | None) -> dict[str, Any]:
    assert rules is not None
    return rules.model_dump(mode="json")


def runs(place: Bench) -> list[str]:
    return [name.removesuffix(".json") for name in place.files() if name.endswith(".json")]


def night(number: int) -> str:
    return f"redis_{NIGHT + number * DAY:%Y%m%d_%H%M%S}"


def test_a_policy_that_states_nothing_keeps_thirty_days_and_the_newest_three(place):
    first = backed_up(place, NIGHT + 80 * DAY)
    second = backed_up(place, NIGHT + 81 * DAY)

    assert first.retention is not None
    assert second.retention is not None
    assert runs(place) == [night(6), night(80), night(81)]


def test_what_an_edit_was_foretold_to_delete_is_what_the_next_run_deletes(place):
    preview = foretold(place, NIGHT + 6 * DAY, **LAST_TWO).retention
    untouched = runs(place)
    result = backed_up(place, NIGHT + 7 * DAY, **LAST_TWO).retention

    assert preview is not None
    assert result is not None
    assert (preview.dry_run, result.dry_run) == (True, False)
    assert (
        preview.rules_digest
        == result.rules_digest
        == in_json(backup_order(policy(retention=LAST_TWO)).retention)["digest"]
    )
    assert untouched == [night(number) for number in range(7)]
    assert set(preview.going) <= set(result.deleted)
    assert runs(place) == [night(6), night(7)]


def test_a_dry_run_deletes_nothing_and_says_what_would_go(place):
    result = backed_up(place, NIGHT + 7 * DAY, dryRun=True, **LAST_TWO).retention

    assert result is not None
    assert (result.dry_run, result.deleted_count, result.going_count) == (True, 0, 6)
    assert len(runs(place)) == 8


def test_a_run_that_a_restore_reads_stays_until_it_is_done_and_then_goes(place):
    with open_store(place.store.parent, place.store.name, described="claim", create=False) as store:
        with held(store, night(0)):
            first = backed_up(place, NIGHT + 7 * DAY, **LAST_TWO).retention
        while_held = runs(place)
    backed_up(place, NIGHT + 8 * DAY, **LAST_TWO)

    assert first is not None
    assert first.left == (f"{night(0)}: a restore reads it",)
    assert while_held == [night(0), night(6), night(7)]
    assert runs(place) == [night(7), night(8)]


def test_safety_backups_are_met_by_no_rule_of_the_policy(place):
    store = place.order["store"]
    below = {**store, "path": f"{store['path']}/safety"}
    safety = BackupOrder.model_validate(place.order | {"store": below})
    assert back_up(safety, workplace(place, NIGHT - 300 * DAY)).fault is None

    result = backed_up(place, NIGHT + 7 * DAY, **LAST_TWO).retention

    assert result is not None
    assert runs(place) == [night(6), night(7)]
    kept = sorted(path.name for path in (place.store / "safety").iterdir() if path.name.startswith("redis_"))
    assert kept == ["redis_20260127_020000.json", "redis_20260127_020000.rdb.gz.gpg"]

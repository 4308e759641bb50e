"""Orders with retention, carried out against a real Redis with a moved clock: only good runs ever delete anything."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.order import BackupOrder
from backup_operator.contract.report import REPORT_LIMIT_BYTES, Report, decode, encode
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.support.ports import free_port

NIGHT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
THIRTY_DAYS = {"max_age": "P30D", "minimum": 3}


@pytest.fixture
def place(tmp_path, server):
    return bench_in(tmp_path, redis={"url": server.url()})


def run_at(place: Bench, at: datetime, **changes: Any) -> Report:
    """A run by a worker whose clock says `at`."""
    scratch = place.directory / "scratch"
    scratch.mkdir(exist_ok=True)
    return back_up(BackupOrder.model_validate(place.order | changes), Workplace(now=lambda: at, scratch=scratch))


def broken(place: Bench) -> dict[str, Any]:
    """The order's source, at a port where nobody listens."""
    (place.directory / "broken").write_text(f"redis://127.0.0.1:{free_port()}")
    return {"redis": {"url": {"path": str(place.directory / "broken"), "described": "key URL of Secret ns/app"}}}


def nights(place: Bench) -> list[datetime]:
    """The starts of the backups in the store, by the names of their entries."""
    names = [name.removesuffix(".json") for name in place.files() if name.endswith(".json")]
    return [datetime.strptime(name, "redis_%Y%m%d_%H%M%S").replace(tzinfo=UTC) for name in names]


def trail(place: Bench) -> list[tuple[str, str]]:
    with open_store(place.store.parent, place.store.name, described="claim", create=False) as store:
        reading = verify_audit(store)
    assert reading.faults == ()
    return [(str(event["event"]), str(event["run"])) for event in reading.events]


def test_without_retention_in_its_order_a_run_deletes_nothing(place):
    for number in range(4):
        report = run_at(place, NIGHT + number * 400 * DAY)

    assert report.fault is None
    assert report.retention is None
    assert len(nights(place)) == 4


def test_forty_good_days_then_forty_failing_ones_then_good_ones_again(place):
    good = [NIGHT + number * DAY for number in range(40)]
    for night in good:
        report = run_at(place, night, retention=THIRTY_DAYS)
        assert report.fault is None, report.fault
    after_the_good = nights(place)

    failing = broken(place)
    for number in range(40):
        failed = run_at(place, good[-1] + (number + 1) * DAY, retention=THIRTY_DAYS, **failing)
        assert failed.fault is not None
        assert failed.fault.reason is Reason.CONNECTION_REFUSED
        assert failed.retention is None
    after_the_failing = nights(place)

    again = [good[-1] + number * DAY for number in (41, 42)]
    first = run_at(place, again[0], retention=THIRTY_DAYS)
    after_the_first = nights(place)
    second = run_at(place, again[1], retention=THIRTY_DAYS)

    assert report.retention is not None
    assert report.retention.kept == 30
    assert report.retention.deleted == ("redis_20261202_020000",)
    assert report.retention.next_to_go is not None
    assert (report.retention.next_to_go.run, report.retention.next_to_go.at) == (
        "redis_20261203_020000",
        good[-1] + DAY,
    )
    assert after_the_good == good[10:]
    assert after_the_failing == good[10:]
    # one good run alone is not believed in the date; two are, and the floor stays
    assert first.retention is not None
    assert after_the_first == [*good[-23:], again[0]]
    assert second.retention is not None
    assert nights(place) == [good[-1], *again]
    assert second.retention.held_back == 1
    assert second.catalog is not None
    assert second.catalog.count == 3
    events = trail(place)
    assert [run for event, run in events if event == "deletion"] == [
        f"redis_{night:%Y%m%d_%H%M%S}" for night in good[:39]
    ]
    assert len([event for event, _ in events if event == "backup"]) == 82


def test_a_failing_run_does_not_finish_a_deletion_that_was_cut_and_the_next_good_one_does(place):
    run_at(place, NIGHT)
    (place.store / "redis_20261123_020000.json").rename(place.store / "redis_20261123_020000.json.deleting")

    run_at(place, NIGHT + DAY, retention=THIRTY_DAYS, **broken(place))
    after_the_failing = place.files()
    report = run_at(place, NIGHT + 2 * DAY, retention=THIRTY_DAYS)

    assert after_the_failing == ["redis_20261123_020000.json.deleting", "redis_20261123_020000.rdb.gz.gpg"]
    assert report.retention is not None
    assert report.retention.deleted == ("redis_20261123_020000",)
    assert place.files() == ["redis_20261125_020000.json", "redis_20261125_020000.rdb.gz.gpg"]


def test_the_run_just_made_stays_though_the_clock_was_set_back(place):
    one = {"keep_last": 1, "minimum": 1}
    run_at(place, NIGHT, retention=one)
    report = run_at(place, NIGHT - DAY, retention=one)

    assert report.backup is not None
    assert report.backup.name == "redis_20261122_020000"
    assert nights(place) == [NIGHT - DAY, NIGHT]


def test_retention_that_cannot_be_applied_leaves_a_good_run_with_a_warning(place):
    report = run_at(place, NIGHT, retention={"keep_last": 1, "time_zone": "Europe/Nowhere"})

    assert report.fault is None
    assert report.warnings == (
        "the backup is good, but retention was not applied to its end: "
        "retention's time zone 'Europe/Nowhere' is unknown",
    )


def test_by_a_process_of_its_own_the_report_says_what_retention_did(place):
    run_at(place, NIGHT - 800 * DAY)
    retention = {"keep_daily": 1, "minimum": 1, "time_zone": "Europe/Berlin"}

    code, report, log = place.run(retention=retention)

    assert code == Exit.OK, log
    assert report.retention is not None
    assert report.retention.deleted == ("redis_20240914_020000",)
    assert report.retention.rules[0].startswith(f"daily 1: kept 1, next to go {report.run} on ")
    assert report.retention.freed_bytes > 0
    assert len((place.directory / "report.json").read_bytes()) <= REPORT_LIMIT_BYTES
    assert report.catalog is not None
    assert [line.name for line in report.catalog.backups] == [report.run]
    assert decode(encode(report)) == report


def test_a_wrong_rule_is_refused_before_anything_is_dumped(place):
    code, report, _ = place.run(retention={"keep_last": 1, "minimum": 0})

    assert code == Exit.FINAL
    assert report.fault is not None
    assert report.fault.reason is Reason.ORDER_INVALID
    assert "retention.minimum" in json.dumps(report.fault.model_dump(mode="json"))
    assert not place.store.exists()

"""A request runs at most once, its plan writes nothing at all, and the store's trail tells of every attempt."""

import json
import subprocess
from datetime import UTC, datetime

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import Interrupted
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.layout import open_store
from tests.integration.worker.ordering import UID, back_up_at, in_process, run_order, secret_file, tree
from tests.support.redis_server import RedisServer

NIGHT = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def source():
    with RedisServer() as server, server.client() as client:
        client.mset({f"key{number}": number for number in range(30)})
        yield server


@pytest.fixture
def target():
    with RedisServer() as server:
        yield server


@pytest.fixture
def place(bench, source):
    made = bench(redis={"url": source.url()})
    back_up_at(made, NIGHT)
    return made


def _into(place, server, **options):
    return {"url": secret_file(place, "TARGET_URL", server.url())} | options


def _trail(place):
    with open_store(place.directory / "volume", "ns/app", described="claim", create=False) as store:
        reading = verify_audit(store)
    assert reading.faults == ()
    return reading.events


def test_a_request_that_was_carried_out_is_never_carried_out_again(place, target):
    first = run_order(place, redis=_into(place, target))
    with target.client() as client:
        client.flushall()

    again = run_order(place, redis=_into(place, target))

    assert first.code == Exit.OK, first.said
    assert again.code == Exit.FINAL
    assert again.report.fault is not None
    assert again.report.fault.reason is Reason.ALREADY_STARTED
    assert "asked_by jane@example.com" in again.report.fault.detail
    with target.client() as client:
        assert client.dbsize() == 0
    assert (place.store / f"{UID}.started").exists()


def test_a_request_that_failed_is_not_carried_out_again_either(place, target):
    order = {"redis": _into(place, target, strategy="Replace"), "safety_backup": False}
    (place.store / f"{UID}.started").write_text("{}")

    report = in_process(place, **order, confirm="127.0.0.1/all")

    assert report.fault is not None
    assert report.fault.reason is Reason.ALREADY_STARTED
    assert "nothing was changed" in report.fault.message


def test_what_is_refused_before_the_first_write_leaves_no_marker(place, target):
    report = in_process(place, redis=_into(place, target, strategy="Replace"), confirm="wrong")

    assert report.fault is not None
    assert report.fault.reason is Reason.CONFIRM_MISSING
    assert not (place.store / f"{UID}.started").exists()


def test_a_plan_writes_nothing_at_all_on_the_volume(place, target):
    before = tree(place)

    report = in_process(place, dry_run=True, redis=_into(place, target))

    assert report.fault is None
    assert tree(place) == before


def test_on_a_read_only_volume_a_plan_works_and_a_restore_is_refused_before_anything(bench, source, target):
    place = bench(redis={"url": source.url()})
    volume = str(place.directory / "volume")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", volume], check=True)
    try:
        back_up_at(place, NIGHT)
        subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
        planned = in_process(place, dry_run=True, redis=_into(place, target))
        restored = in_process(place, redis=_into(place, target))
    finally:
        subprocess.run(["umount", volume], check=True)

    assert planned.fault is None
    assert restored.fault is not None
    assert restored.fault.reason is Reason.CLAIM_READ_ONLY
    assert [step.name for step in restored.steps] == []
    with target.client() as client:
        assert client.dbsize() == 0


def test_the_trail_tells_who_what_when_and_how_it_ended(place, target):
    report = in_process(place, redis=_into(place, target))

    backup, line = _trail(place)
    entry = json.loads((place.store / "redis_20231201_020000.json").read_text())
    assert report.fault is None
    assert backup["event"] == "backup"
    assert {name: line[name] for name in ("event", "outcome", "request", "uid", "asked_by", "run", "sha256")} == {
        "event": "restore",
        "outcome": "Succeeded",
        "request": "ns/back",
        "uid": UID,
        "asked_by": "jane@example.com",
        "run": "redis_20231201_020000",
        "sha256": entry["artifacts"][0]["stored_sha256"],
    }
    assert line["target"]["host"] == "127.0.0.1"
    assert line["target"]["port"] == target.port
    assert line["target_url"] == "key TARGET_URL of Secret ns/app"
    assert line["may_have_written"] is True


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selection": {"name": "redis_20200101_000000"}}, "BackupNotFound"),
        ({"passphrases": [{"path": "/nowhere", "described": "key NONE of Secret ns/app"}]}, "SecretMissing"),
        ({"approved": "0123456789abcdef"}, "PlanChanged"),
    ],
    ids=["no such backup", "no passphrase", "another plan was approved"],
)
def test_the_trail_tells_of_what_failed_before_it_began_too(place, target, changes, reason):
    in_process(place, redis=_into(place, target), **changes)

    line = _trail(place)[-1]
    assert (line["event"], line["outcome"], line["reason"]) == ("restore", "Failed", reason)
    assert line["asked_by"] == "jane@example.com"
    assert line["may_have_written"] is False


def test_no_secret_is_in_marker_or_trail(place, target):
    with RedisServer(password="p4ssw0rd-of-the-target") as guarded:
        report = in_process(place, redis=_into(place, guarded))

    assert report.fault is None
    written = (place.store / f"{UID}.started").read_text() + (place.store / "audit.jsonl").read_text()
    assert "p4ssw0rd" not in written


def test_what_was_approved_is_the_file_and_the_target_and_no_figure_that_drifts(place, source, target):
    planned = in_process(place, dry_run=True, redis=_into(place, target))
    again = in_process(place, datetime(2030, 1, 1, tzinfo=UTC), dry_run=True, redis=_into(place, target))
    with target.client() as client:
        client.set("new", "1")
    filled = in_process(place, dry_run=True, redis=_into(place, target))

    assert planned.pin == again.pin
    assert filled.pin != planned.pin

    other = back_up_at(place, NIGHT.replace(day=2))
    with target.client() as client:
        client.flushall()
    assert in_process(place, dry_run=True, redis=_into(place, target)).pin != planned.pin
    assert other


def test_a_restore_that_is_stopped_while_it_cleans_up_has_succeeded(place, target, monkeypatch):
    def stopped(*_: object) -> None:
        raise Interrupted("the run was stopped before it ended")

    monkeypatch.setattr("backup_operator.worker.restore.try_to_remove_old_safety_backups", stopped)

    report = in_process(place, redis=_into(place, target))

    assert report.fault is None
    assert report.counted == 30
    assert _trail(place)[-1]["outcome"] == "Succeeded"

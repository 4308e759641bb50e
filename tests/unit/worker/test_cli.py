"""Whatever happens, a report is written and the exit code says whether another attempt makes sense."""

import importlib
import json
import os
import signal
import time
from datetime import timedelta

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.report import decode
from backup_operator.contract.restore import decode_restore
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.alarms import stopped_from_outside
from backup_operator.worker.cli import main
from backup_operator.worker.errors import DeadlineExceeded, Interrupted


def _run(tmp_path, order):
    (tmp_path / "order.json").write_text(order if isinstance(order, str) else json.dumps(order))
    code = main(["run", "--order", str(tmp_path / "order.json"), "--report", str(tmp_path / "report.json")])
    return code, decode((tmp_path / "report.json").read_bytes())


def _backup_order(tmp_path, **changes):
    return {
        "policy": {"namespace": "ns", "name": "app", "spec_digest": "x"},
        "redis": {"url": {"path": str(tmp_path / "url"), "described": "key REDIS_URL of Secret ns/app"}},
        "passphrase": {
            "path": str(tmp_path / "key"),
            "described": "key KEY of Secret ns/app",
            "command": "kubectl create secret generic app",
        },
        "store": {"mount": str(tmp_path / "volume"), "path": "ns/app", "described": "claim ns/backups"},
        "deadline": "PT1M",
    } | changes


@pytest.mark.parametrize(
    "order",
    ["", "no JSON", {}, {"kind": "Drill"}, {"version": 2}],
    ids=["empty", "no JSON", "no fields", "a kind of later", "a version of later"],
)
def test_an_order_that_cannot_be_read_is_reported_and_final(tmp_path, order):
    code, report = _run(tmp_path, order)

    assert code == Exit.FINAL
    assert report.outcome is Outcome.FAILED
    assert report.fault is not None
    assert report.fault.reason is Reason.ORDER_INVALID
    assert "one version" in report.fault.hint


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        ("no JSON", "Invalid JSON: expected ident at line 1 column 2"),
        (
            {"kind": "Inventory", "version": 2, "deadline": "soon"},
            "Inventory.version: Input should be 1; Inventory.policy",
        ),
        ({"kind": "Drill"}, "'Drill'"),
    ],
    ids=["no JSON", "wrong fields", "a kind of later"],
)
def test_what_is_wrong_with_an_order_is_said_in_words(tmp_path, order, detail):
    _, report = _run(tmp_path, order)

    assert report.fault is not None
    assert detail in report.fault.detail
    assert not set("{}[]") & set(report.fault.detail)


def test_a_restore_order_that_cannot_be_read_is_answered_as_one(tmp_path):
    (tmp_path / "order.json").write_text(json.dumps({"kind": "Restore"}))

    code = main(["run", "--order", str(tmp_path / "order.json"), "--report", str(tmp_path / "report.json")])

    report = decode_restore((tmp_path / "report.json").read_bytes())
    assert code == Exit.FINAL
    assert report.kind == "Restore"
    assert report.fault is not None
    assert report.fault.reason is Reason.ORDER_INVALID


def test_a_missing_passphrase_names_its_secret_and_the_command_that_makes_it(tmp_path):
    code, report = _run(tmp_path, _backup_order(tmp_path))

    assert code == Exit.FINAL
    assert report.fault is not None
    assert report.fault.reason is Reason.SECRET_MISSING
    assert "key KEY of Secret ns/app" in report.fault.message
    assert report.fault.hint == "kubectl create secret generic app"


@pytest.mark.parametrize("content", ["", "\n", "short", '"elevenchars"'], ids=["empty", "blank", "short", "quoted"])
def test_a_weak_passphrase_writes_nothing(tmp_path, content):
    (tmp_path / "volume").mkdir()
    (tmp_path / "key").write_text(content)

    code, report = _run(tmp_path, _backup_order(tmp_path))

    assert code == Exit.FINAL
    assert report.fault is not None
    assert report.fault.reason is Reason.KEY_INVALID
    assert "Secret ns/app" in report.fault.message
    assert list((tmp_path / "volume").iterdir()) == []


def test_an_inventory_of_a_store_that_is_not_there_yet_counts_no_backup(tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "key").write_text("correct horse battery")
    order = _backup_order(tmp_path, kind="Inventory")
    del order["redis"]

    code, report = _run(tmp_path, order)

    assert code == Exit.OK
    assert report.kind == "Inventory"
    assert report.catalog is not None
    assert report.catalog.count == 0
    assert list((tmp_path / "volume").iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "list", "verify", "open", "restore"])
def test_the_help_of_every_verb_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"backup-worker {verb} --" in said
    assert "exit codes:" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_asked_to_stop_ends_as_interrupted(number):
    def stopped():
        with stopped_from_outside(timedelta(minutes=1)):
            os.kill(os.getpid(), number)
            _wait_for_a_signal()

    with pytest.raises(Interrupted):
        stopped()


def test_the_deadline_ends_a_run():
    with pytest.raises(DeadlineExceeded), stopped_from_outside(timedelta(milliseconds=20)):
        _wait_for_a_signal()


def test_cleaning_up_after_the_deadline_is_not_interrupted_again():
    cleaned_up = []

    def late():
        with stopped_from_outside(timedelta(milliseconds=20)):
            try:
                _wait_for_a_signal()
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                cleaned_up.append(True)

    with pytest.raises(DeadlineExceeded):
        late()
    assert cleaned_up == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM])
def test_a_stop_during_an_import_comes_when_that_has_ended(tmp_path, monkeypatch, number):
    """psycopg tries another library where the import of one fails, whatever the error, and the run would go on."""
    name = f"stopped_by_{number.value}"
    (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {number.value})\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    def stopped():
        with stopped_from_outside(timedelta(minutes=1)):
            imported.append(importlib.import_module(name).whole)
            _wait_for_a_signal()

    with pytest.raises((Interrupted, DeadlineExceeded)):
        stopped()
    assert imported == [True]


def _wait_for_a_signal():
    end = time.monotonic() + 10
    while time.monotonic() < end:
        signal.sigtimedwait([], 0.05)
    raise AssertionError("no signal came within 10 s")

"""The log of a run in a process of its own: five events, whatever the format; a moved clock is said."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.report import decode
from backup_operator.rules.naming import parse_run_name
from tests.integration.worker.conftest import bench_in
from tests.support.ports import free_port

EVENTS = ["source looked at", "run begun", "dump stored", "artifact verified", "backup complete"]


@pytest.fixture
def place(tmp_path, server):
    return bench_in(tmp_path, redis={"url": server.url()})


def run_with(place, **environment):
    """Exit code and log of a run with more in its environment."""
    (place.directory / "order.json").write_text(json.dumps(place.order))
    argv = [sys.executable, "-m", "backup_operator.worker.cli", "run"]
    argv += ["--order", str(place.directory / "order.json"), "--report", str(place.directory / "report.json")]
    ran = subprocess.run(argv, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300)
    return ran.returncode, ran.stderr.splitlines()


def test_a_run_tells_five_events_for_people(place):
    code, lines = run_with(place)

    assert code == Exit.OK
    assert [line.split(" ", 2)[2].split(" ")[:2] for line in lines] == [event.split(" ")[:2] for event in EVENTS]


def test_a_run_tells_five_events_for_programs(place):
    code, lines = run_with(place, BACKUP_LOG_FORMAT="json")

    told = [json.loads(line) for line in lines]
    assert code == Exit.OK
    assert [one["event"] for one in told] == EVENTS
    assert {one["level"] for one in told} == {"INFO"}
    run = place.report().run
    assert told[1]["run"] == run
    assert told[4] == {
        "time": told[4]["time"],
        "level": "INFO",
        "event": "backup complete",
        "run": run,
        "bytes": place.report().backup.size_bytes,
        "keys": 30,
        "seconds": told[4]["seconds"],
    }


def test_a_run_that_fails_ends_with_why(place):
    (place.directory / "url").write_text(f"redis://127.0.0.1:{free_port()}")

    code, lines = run_with(place, BACKUP_LOG_FORMAT="json")

    last = json.loads(lines[-1])
    assert code == Exit.RETRYABLE
    assert (last["event"], last["level"], last["reason"]) == ("run failed", "ERROR", "ConnectionRefused")
    assert last["retry"] is True
    assert last["message"]


def test_a_moved_clock_is_in_names_report_entry_and_log(place):
    code, lines = run_with(place, BACKUP_CLOCK_OFFSET_SECONDS=str(40 * 86400))

    report = decode((place.directory / "report.json").read_bytes())
    name = parse_run_name(report.run)
    assert code == Exit.OK
    assert name is not None
    assert timedelta(days=39) < name.at - datetime.now(UTC) < timedelta(days=41)
    said = "the clock is moved forward by 40 days: BACKUP_CLOCK_OFFSET_SECONDS=3456000"
    assert report.warnings == (said,)
    assert json.loads((place.store / f"{report.run}.json").read_text())["warnings"] == [said]
    assert any(f'WARNING warning text="{said}"' in line for line in lines)


def test_a_verb_by_hand_says_that_the_clock_is_moved(place):
    run_with(place)
    argv = [sys.executable, "-m", "backup_operator.worker.cli", "list", "--store", str(place.store)]
    argv += ["--passphrase-file", str(place.directory / "key")]
    environment = os.environ | {"BACKUP_CLOCK_OFFSET_SECONDS": "-60"}

    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=300)

    assert "the clock is moved back by 1 minute" in ran.stderr
    assert place.report().run in ran.stdout

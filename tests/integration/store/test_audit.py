"""The audit trail: a chain of lines in which a change is found, and which goes on after a crash."""

import json
import subprocess
import sys

import pytest

from backup_operator.worker.store.audit import append, newest_events, verify_audit
from backup_operator.worker.store.layout import open_store

APPEND = """
import sys
from pathlib import Path
from backup_operator.worker.store.audit import append
from backup_operator.worker.store.layout import open_store
with open_store(Path(sys.argv[1]), "a/b", described="claim", create=False) as store:
    for number in range(20):
        append(store, {"event": "restore", "number": number})
"""


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path, "a/b", described="claim backups", create=True) as opened:
        yield opened


@pytest.fixture
def trail(store):
    for number in range(5):
        assert append(store, {"event": "backup", "number": number, "text": "ü" * 40_000 * number}) == ""
    return store.directory / "audit.jsonl"


def numbers(store) -> list[object]:
    return [event["number"] for event in verify_audit(store).events]


def test_a_sound_trail_reads_back_without_faults(store, trail):
    reading = verify_audit(store)

    assert (numbers(store), reading.faults) == ([0, 1, 2, 3, 4], ())
    assert len(trail.read_bytes().splitlines()) == 5
    assert trail.stat().st_mode & 0o777 == 0o600


def test_a_store_without_a_trail_has_no_fault(store):
    assert verify_audit(store).faults == ()


def test_a_changed_line_is_found_by_the_one_after_it(store, trail):
    lines = trail.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"number": 1', b'"number": 9')
    trail.write_bytes(b"".join(lines))

    assert verify_audit(store).faults == ("line 3 does not follow line 2: one of them was changed or removed",)


@pytest.mark.parametrize("removed", [0, 1, 3])
def test_a_removed_line_is_found(store, trail, removed):
    lines = trail.read_bytes().splitlines(keepends=True)
    del lines[removed]
    trail.write_bytes(b"".join(lines))

    place = f"line {removed + 1} does not follow line {removed}"
    assert verify_audit(store).faults == (f"{place}: one of them was changed or removed",)


@pytest.mark.parametrize("kept_bytes", [1, 20, -1])
def test_a_torn_last_line_is_told_kept_and_followed(store, trail, kept_bytes):
    whole = trail.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    torn = whole[start:][:kept_bytes]
    trail.write_bytes(whole[:start] + torn)

    assert verify_audit(store).faults == ("line 5 is torn: it has no end",)
    assert "was torn" in append(store, {"event": "backup", "number": 5})
    assert trail.read_bytes().splitlines()[4] == torn
    assert append(store, {"event": "backup", "number": 6}) == ""
    expected = () if kept_bytes == -1 else ("line 5 is torn: it is no JSON object",)
    assert verify_audit(store).faults == expected
    assert numbers(store)[-2:] == [5, 6]


def test_a_trail_of_one_torn_line_goes_on(store):
    (store.directory / "audit.jsonl").write_bytes(b'{"ev')

    assert "was torn" in append(store, {"number": 1})

    assert verify_audit(store).faults == ("line 1 is torn: it is no JSON object",)


def test_a_line_break_in_an_event_does_not_break_its_line(store, trail):
    append(store, {"number": "a\nb\u2028c"})

    assert json.loads(trail.read_bytes().splitlines()[-1])["number"] == "a\nb\u2028c"
    assert verify_audit(store).faults == ()


def test_those_who_append_at_once_make_one_chain(store, tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path)]) for _ in range(3)]

    assert [worker.wait(timeout=300) for worker in workers] == [0, 0, 0]
    reading = verify_audit(store)
    assert (len(reading.events), reading.faults) == (60, ())


def test_the_newest_lines_are_read_without_the_old_ones(store):
    for number in range(3):
        append(store, {"event": "backup", "number": number, "text": "x" * 600_000})

    assert [event["number"] for event in newest_events(store)] == [2]


def test_a_store_without_a_trail_has_no_newest_line(store):
    assert newest_events(store) == ()

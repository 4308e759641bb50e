"""Deleting a run: gone or whole for everybody, wherever it is cut, and never from under a restore."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.deletion import Deletion, delete_run, finish_deletions
from backup_operator.worker.store.hold import held
from backup_operator.worker.store.layout import open_store
from tests.support.store_content import CONTENT, KEYS, NIGHT, write_run

EVENT = {"at": "2023-12-09T02:00:00+00:00", "why": "a test", "worker": "pod"}
HOLD = """
import sys
from pathlib import Path
from backup_operator.worker.store.hold import held
from backup_operator.worker.store.layout import open_store
with open_store(Path(sys.argv[1]), "prod/app-db", described="claim", create=False) as store, held(store, sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def opened(mount, before_step=None):
    return open_store(mount, "prod/app-db", described="claim backups", create=True, before_step=before_step)


def steps_of_a_deletion(mount) -> list[str]:
    with opened(mount) as store:
        run = write_run(store, NIGHT, with_globals=True)
    steps: list[str] = []
    with opened(mount, steps.append) as store:
        delete_run(store, run, EVENT)
    return steps


def test_a_deleted_run_is_gone_and_told(tmp_path):
    with opened(tmp_path) as store:
        run, other = write_run(store, NIGHT, with_globals=True), write_run(store, NIGHT + timedelta(days=1))

        deletion = delete_run(store, run, EVENT)

        files = (f"{run}.sql.gz.gpg", f"globals_{run.removeprefix('backup_')}.sql.gz.gpg")
        assert deletion == Deletion(run, files, 2 * len(CONTENT))
        assert [listed.name for listed in read_catalog(store, KEYS).entries] == [other]
        assert sorted(store.names()) == sorted(["audit.jsonl", f"{other}.json", f"{other}.sql.gz.gpg"])
        (line,) = verify_audit(store).events
        assert line == EVENT | {
            "event": "deletion",
            "run": run,
            "files": list(files),
            "bytes": 2 * len(CONTENT),
            "previous": "0" * 64,
        }


def test_a_deletion_that_is_killed_before_any_step_is_finished_by_the_next(tmp_path):
    steps = steps_of_a_deletion(tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else []
    assert len(steps) >= 8

    for number, label in enumerate(steps):
        mount = tmp_path / str(number)
        mount.mkdir()
        with opened(mount) as store:
            run, other = write_run(store, NIGHT, with_globals=True), write_run(store, NIGHT + timedelta(days=1))
        kill_at(mount, run, number)

        with opened(mount) as store:
            listed = [each.name for each in read_catalog(store, KEYS).entries]
            assert listed in ([other, run], [other]), label
            finish_deletions(store, EVENT)
            if run in listed:
                assert delete_run(store, run, EVENT).kept_because == ""
            assert sorted(store.names()) == sorted(["audit.jsonl", f"{other}.json", f"{other}.sql.gz.gpg"]), label
            trail = verify_audit(store)
            assert trail.faults == ()
            assert {event["run"] for event in trail.events} == {run}


def kill_at(mount, run, number):
    left = [number]

    def before_step(_label):
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    with opened(mount, before_step) as store, pytest.raises(Killed):
        delete_run(store, run, EVENT)


def wait_for(reader: subprocess.Popen[bytes]) -> None:
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"held\n"


def test_a_run_that_another_process_reads_is_left_with_a_word_why(tmp_path):
    with opened(tmp_path) as store:
        run = write_run(store, NIGHT)
        argv = [sys.executable, "-c", HOLD, str(tmp_path), run]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            wait_for(reader)
            while_read = delete_run(store, run, EVENT)
            files = sorted(store.names())
            reader.communicate()

        assert while_read == Deletion(run, kept_because="a restore reads it")
        assert files == [f"{run}.json", f"{run}.sql.gz.gpg"]
        assert delete_run(store, run, EVENT).kept_because == ""


def test_a_reader_that_is_killed_holds_nothing(tmp_path):
    with opened(tmp_path) as store:
        run = write_run(store, NIGHT)
        argv = [sys.executable, "-c", HOLD, str(tmp_path), run]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            wait_for(reader)
            reader.kill()

        assert delete_run(store, run, EVENT).kept_because == ""


def test_a_run_that_is_gone_or_being_deleted_cannot_be_held(tmp_path):
    with opened(tmp_path) as store:
        run = write_run(store, NIGHT)
        kill_at(tmp_path, run, 2)

        with pytest.raises(FileNotFoundError), held(store, run):
            pass


def test_readers_do_not_hinder_one_another(tmp_path):
    with opened(tmp_path) as store:
        run = write_run(store, NIGHT)

        with held(store, run), held(store, run):
            assert delete_run(store, run, EVENT).kept_because == "a restore reads it"


@pytest.mark.parametrize(
    "artifacts", [["notes.txt"], ["../outside"], ["backup_20231202_020000.sql.gz.gpg"], "no list", None]
)
def test_a_forged_tombstone_removes_no_file_of_others(tmp_path, artifacts):
    with opened(tmp_path) as store:
        other = write_run(store, NIGHT + timedelta(days=1))
        (store.directory / "notes.txt").write_text("mine")
        (store.directory.parent / "outside").write_text("mine")
        listed = [{"name": name} for name in artifacts] if isinstance(artifacts, list) else artifacts
        (store.directory / "backup_20231201_020000.json.deleting").write_text(json.dumps({"artifacts": listed}))

        finish_deletions(store, EVENT)

        assert {"notes.txt", f"{other}.json", f"{other}.sql.gz.gpg"} <= set(store.names())
        assert (store.directory.parent / "outside").exists()


def test_what_has_no_entry_is_not_deleted(tmp_path):
    with opened(tmp_path) as store:
        (store.directory / "backup_20231201_020000.sql.gz.gpg").write_bytes(b"of the old scripts")

        assert delete_run(store, "backup_20231201_020000", EVENT).kept_because == "it has no entry"
        assert store.exists("backup_20231201_020000.sql.gz.gpg")

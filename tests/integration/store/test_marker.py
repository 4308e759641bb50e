"""The marker of a restore: made once, on the volume, and never ours to remove or to delete."""

import json
import subprocess
import sys

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid, TargetError
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.marker import mark_begun, refuse_begun
from backup_operator.worker.store.run import sweep_dead_runs
from tests.support.store_content import KEYS

UID = "5b0c8b9e-6a53-4d7c-9f0a-2f1f6f4c1d11"
MARK = """
import sys
from pathlib import Path
from backup_operator.worker.errors import TargetError
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.marker import mark_begun
with open_store(Path(sys.argv[1]), "prod/app-db", described="claim", create=False) as store:
    sys.stdin.readline()
    try:
        mark_begun(store, sys.argv[2], {})
    except TargetError as error:
        print(error.reason)
"""


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path, "prod/app-db", described="claim backups", create=True) as one:
        yield one


def test_a_request_is_begun_once(store):
    refuse_begun(store, UID)
    mark_begun(store, UID, {"request": "ns/back", "at": "2023-12-01T02:00:00+00:00"})

    with pytest.raises(TargetError) as again:
        mark_begun(store, UID, {})
    with pytest.raises(TargetError) as later:
        refuse_begun(store, UID)

    assert again.value.reason is later.value.reason is Reason.ALREADY_STARTED
    assert "request ns/back, at 2023-12-01T02:00:00+00:00" in again.value.detail
    assert json.loads((store.directory / f"{UID}.started").read_text())["uid"] == UID


def test_the_marker_is_on_the_volume_before_it_counts(tmp_path):
    steps: list[str] = []
    with open_store(tmp_path, "prod/app-db", described="claim", create=True, before_step=steps.append) as store:
        mark_begun(store, UID, {})

    name = f"{UID}.started"
    assert steps == [f"create {name}", f"write {name}", f"sync {name}", "sync directory"]


def test_of_two_that_begin_at_once_one_is_refused(store, tmp_path):
    argv = [sys.executable, "-c", MARK, str(tmp_path), UID]
    workers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = sorted(worker.communicate(timeout=300)[0].strip() for worker in workers)

    assert said == ["", *3 * ["AlreadyStarted"]]


def test_a_marker_is_neither_foreign_nor_swept(store):
    mark_begun(store, UID, {})

    sweep_dead_runs(store)

    assert store.exists(f"{UID}.started")
    reading = read_catalog(store, KEYS)
    assert (reading.foreign, reading.unfinished, reading.old) == ((), (), ())


def test_a_torn_marker_counts(store):
    (store.directory / f"{UID}.started").write_bytes(b"")

    with pytest.raises(TargetError) as refused:
        refuse_begun(store, UID)
    assert refused.value.reason is Reason.ALREADY_STARTED


def test_what_is_no_uid_is_refused(store):
    with pytest.raises(OrderInvalid):
        mark_begun(store, "../../outside", {})

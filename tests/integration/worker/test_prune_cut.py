"""Pruning that is cut anywhere: no entry without its artifacts, and the next run finishes the job."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_operator.worker.errors import Interrupted
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.directory import Store
from tests.integration.worker.pruning import (
    NIGHT,
    files_of,
    of_runs,
    opened,
    prune_at,
    written,
)
from tests.support.kills import KILLED, killed_at, run_in_a_child
from tests.support.store_content import KEYS


def filled(mount: Path) -> list[str]:
    mount.mkdir()
    with opened(mount) as store:
        return written(store, 4, with_globals=True)


def assert_whole(store: Store, runs: list[str]) -> None:
    """No entry without its artifacts, and none lost that should stay."""
    reading = read_catalog(store, KEYS)
    assert reading.damaged == ()
    assert reading.unreadable == ()
    assert {run.name for run in reading.entries} >= set(runs[2:])
    assert verify_audit(store).faults == ()


def test_killed_at_every_step_no_entry_is_without_its_artifacts_and_the_next_run_finishes_the_job(tmp_path):
    filled(tmp_path / "whole")
    steps: list[str] = []
    with opened(tmp_path / "whole", steps.append) as store:
        prune_at(store, NIGHT)
    assert len(steps) >= 18

    for step, label in enumerate(steps):
        mount = tmp_path / str(step)
        runs = filled(mount)

        def work(mount: Path = mount, step: int = step) -> None:
            with opened(mount, killed_at(step)) as store:
                prune_at(store, NIGHT)

        assert run_in_a_child(work) == KILLED, label
        with opened(mount) as store:
            assert_whole(store, runs)
            finished = prune_at(store, NIGHT)
            assert finished.stopped == "", label
            assert of_runs(store) == files_of(*runs[2:]), label
            assert_whole(store, runs)
            told = {line["run"] for line in verify_audit(store).events}
            assert told == set(runs[:2]), label


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS], ids=["full", "quota", "broken", "read-only"]
)
def test_a_volume_that_fails_at_any_step_ends_it_in_words_and_the_next_run_finishes_the_job(tmp_path, number):
    filled(tmp_path / "whole")
    steps: list[str] = []
    with opened(tmp_path / "whole", steps.append) as store:
        prune_at(store, NIGHT)

    for step, label in enumerate(steps):
        runs = filled(tmp_path / str(step))
        count = iter(range(10_000))

        def before_step(_label: str, count=count, step: int = step) -> None:
            if next(count) >= step:
                raise OSError(number, os.strerror(number))

        with opened(tmp_path / str(step), before_step) as store:
            cut = prune_at(store, NIGHT)
        assert "claim prod/backups" in cut.stopped, label
        with opened(tmp_path / str(step)) as store:
            assert_whole(store, runs)
            assert prune_at(store, NIGHT).stopped == ""
            assert of_runs(store) == files_of(*runs[2:]), label


def test_a_stop_from_outside_at_any_step_ends_it_and_the_next_run_finishes_the_job(tmp_path):
    filled(tmp_path / "whole")
    steps: list[str] = []
    with opened(tmp_path / "whole", steps.append) as store:
        prune_at(store, NIGHT)

    for step, label in enumerate(steps):
        runs = filled(tmp_path / str(step))
        count = iter(range(10_000))

        def before_step(_label: str, count=count, step: int = step) -> None:
            if next(count) == step:
                raise Interrupted("the run was stopped before it ended")

        with opened(tmp_path / str(step), before_step) as store:
            cut = prune_at(store, NIGHT)
            assert cut.stopped == "the run was stopped before it ended", label
            assert_whole(store, runs)
            assert prune_at(store, NIGHT).stopped == ""
            assert of_runs(store) == files_of(*runs[2:]), label


def test_killed_again_and_again_at_the_same_step_it_comes_to_its_end_all_the_same(tmp_path):
    filled(tmp_path / "whole")
    steps: list[str] = []
    with opened(tmp_path / "whole", steps.append) as store:
        prune_at(store, NIGHT)
    told_first = steps.index("append to audit.jsonl")  # who never gets beyond it has nothing that he is done with

    for step in range(1, len(steps)):
        mount = tmp_path / str(step)
        runs = filled(mount)

        def work(mount: Path = mount, step: int = step) -> None:
            with opened(mount, killed_at(step)) as store:
                prune_at(store, NIGHT)

        ended = comes_to_its_end(mount, runs, work, attempts=len(steps))

        assert ended == (step > told_first), steps[step]
        with opened(mount) as store:
            assert prune_at(store, NIGHT).stopped == ""
            assert of_runs(store) == files_of(*runs[2:]), steps[step]
            assert_whole(store, runs)


def comes_to_its_end(mount: Path, runs: list[str], work: Callable[[], None], attempts: int) -> bool:
    for _ in range(attempts):
        if run_in_a_child(work) != KILLED:
            return True
        with opened(mount) as store:
            assert_whole(store, runs)
    return False

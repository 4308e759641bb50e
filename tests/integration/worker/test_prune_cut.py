"""Pruning that is cut anywhere: no entry without its artifacts, and the next run finishes the job."""

import errno
import os
from collections.abc import Callable, Iterator
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
    steps = steps_of_a_pruning(tmp_path / "whole")
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
    def fail(done: int, step: int) -> None:
        if done >= step:
            raise OSError(number, os.strerror(number))

    assert_cut_at_each_step_is_said_and_made_good(tmp_path, fail, "claim prod/backups")


def test_a_stop_from_outside_at_any_step_ends_it_and_the_next_run_finishes_the_job(tmp_path):
    def stop(done: int, step: int) -> None:
        if done == step:
            raise Interrupted("the run was stopped before it ended")

    assert_cut_at_each_step_is_said_and_made_good(tmp_path, stop, "the run was stopped before it ended")


def assert_cut_at_each_step_is_said_and_made_good(directory: Path, cut: Callable[[int, int], None], words: str) -> None:
    """`cut` is told before each step how many are done and which one is meant, and raises."""
    for step, label in enumerate(steps_of_a_pruning(directory / "whole")):
        runs = filled(directory / str(step))
        count = iter(range(10_000))

        def before_step(_label: str, count: Iterator[int] = count, step: int = step) -> None:
            cut(next(count), step)

        with opened(directory / str(step), before_step) as store:
            assert words in prune_at(store, NIGHT).stopped, label
        with opened(directory / str(step)) as store:
            assert_whole(store, runs)
            assert prune_at(store, NIGHT).stopped == ""
            assert of_runs(store) == files_of(*runs[2:]), label


def steps_of_a_pruning(mount: Path) -> list[str]:
    filled(mount)
    steps: list[str] = []
    with opened(mount, steps.append) as store:
        prune_at(store, NIGHT)
    return steps


def test_killed_again_and_again_at_the_same_step_it_comes_to_its_end_all_the_same(tmp_path):
    steps = steps_of_a_pruning(tmp_path / "whole")
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

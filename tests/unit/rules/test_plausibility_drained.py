"""Data that goes by and by, so that no night is out of line with the week before it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.report import Comparison
from backup_operator.rules.plausibility import SeenRun, compare_newest
from backup_operator.vocabulary.reasons import Reason
from tests.support.seen_runs import keys, rows

BEGIN = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
DRAINED = [round(1_000_000 * 0.85**night) for night in range(31)]


def name_of(night: int) -> str:
    return f"backup_{BEGIN + timedelta(days=night):%Y%m%d_%H%M%S}"


def told_of(runs: list[SeenRun], accepted: int | None = None) -> Comparison:
    """Night after night, each run with what was found when it was made."""
    told: Comparison | None = None
    store: list[SeenRun] = []
    for night, run in enumerate(runs):
        made = replace(run, name=name_of(night))
        wanted = name_of(accepted) if accepted is not None and accepted <= night else ""
        told = compare_newest([*store, made], wanted)
        assert told is not None
        in_line = told.reason is None and told.compared_with > 0
        store.append(replace(made, was_in_line=in_line, out_since=told.since_run, accepted_run=wanted))
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([rows({"users": count}) for count in DRAINED], Reason.ROWS_COLLAPSED),
        ([keys(count) for count in DRAINED], Reason.KEYS_COLLAPSED),
    ],
    ids=["rows", "keys"],
)
def test_what_drains_by_and_by_is_told_when_nine_of_ten_are_gone(runs, reason):
    first = told_of(runs[:19])

    assert told_of(runs[:18]).reason is None
    assert (first.reason, first.since_run) == (reason, name_of(18))
    assert "of about 614,125 some weeks ago" in first.message
    assert (told_of(runs).reason, told_of(runs).since_run) == (reason, name_of(18))


def test_it_stays_told_however_long_nobody_looks_and_ends_when_a_person_accepts_it():
    drained = [rows({"users": count}) for count in DRAINED]

    assert told_of([*drained, *[drained[-1]] * 90]).since_run == name_of(18)
    assert told_of([*drained, *[drained[-1]] * 9], accepted=31).reason is None


def test_what_shrinks_over_many_months_is_told_of_no_run():
    assert told_of([rows({"users": round(1_000_000 * 0.97**night)}) for night in range(200)]).reason is None

"""Whose turn it is among requests: what they come after, circles, and who else is at the target."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.api.restorestatus import RestoreState
from backup_operator.rules.turns import BusyJob, Standing, Standings, never, waits_for
from backup_operator.vocabulary.reasons import Reason

START = datetime(2026, 11, 24, tzinfo=UTC)
BACKUP = BusyJob("app-db-1", "app/URL", "BackupPolicy app-db", writes=False)
RESTORE = BusyJob("gone-restore-1", "app/URL", "RestoreRequest gone, which is gone,", writes=True)


def standing(
    name: str = "me",
    *after: str,
    state: RestoreState | None = None,
    age: int = 0,
    target: str = "app/URL",
    **fields: bool,
) -> Standing:
    created_at = START - timedelta(seconds=age)
    return Standing(name, created_at, state, target=target, after=after, message=f"{name} says why", **fields)


def among(*all_of_them: Standing) -> Standings:
    return {one.name: one for one in all_of_them}


COMPLETE, FAILED, RUNNING = RestoreState.COMPLETE, RestoreState.FAILED, RestoreState.RUNNING
WAITING, PLANNED, PLANNING = RestoreState.WAITING, RestoreState.PLANNED, RestoreState.PLANNING

CIRCLES = {
    "itself": [standing("me", "me")],
    "two": [standing("me", "a"), standing("a", "me")],
    "three": [standing("me", "a"), standing("a", "b"), standing("b", "me")],
    "a long way round": [standing("me", "a", "b"), standing("a"), standing("b", "c", "a"), standing("c", "me")],
    "one that failed for it already": [standing("me", "a"), standing("a", "me", state=FAILED)],
}


@pytest.mark.parametrize("all_of_them", CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_found(all_of_them: list[Standing]):
    fault = never(all_of_them[0], among(*all_of_them))

    assert fault is not None
    assert fault.reason is Reason.INVALID_SPEC
    assert fault.message.split(": ")[-1].startswith("me after ")
    assert fault.message.endswith(" after me")


NO_CIRCLES = {
    "a chain": [standing("me", "a"), standing("a", "b"), standing("b")],
    "a diamond": [standing("me", "a", "b"), standing("a", "c"), standing("b", "c"), standing("c")],
    "a circle beside the way": [standing("me", "a"), standing("a", "b"), standing("b", "a")],
    "one that is complete": [standing("me", "a"), standing("a", "me", state=COMPLETE)],
    "one that is not there": [standing("me", "a")],
}


@pytest.mark.parametrize("all_of_them", NO_CIRCLES.values(), ids=NO_CIRCLES)
def test_what_is_no_circle_is_none(all_of_them: list[Standing]):
    assert never(all_of_them[0], among(*all_of_them)) is None


def test_a_failed_one_stops_those_after_it_in_its_own_words():
    me = standing("me", "good", "bad")

    fault = never(me, among(me, standing("good", state=COMPLETE), standing("bad", state=FAILED)))

    assert fault is not None
    assert (fault.reason, fault.detail) == (Reason.AFTER_FAILED, "bad says why")


WAITS = {
    "nobody is there": ([], [], ""),
    "it comes after one that does not exist": (
        ["a"],
        [],
        "Waits for spec.after: RestoreRequest a does not exist (yet).",
    ),
    "it comes after one that has not begun": (
        ["a"],
        [standing("a")],
        "Waits for spec.after: RestoreRequest a is not begun.",
    ),
    "it comes after one that is planned": (
        ["a"],
        [standing("a", state=PLANNED)],
        "Waits for spec.after: RestoreRequest a is Planned.",
    ),
    "it comes after a complete one": (["a"], [standing("a", state=COMPLETE)], ""),
    "another one runs": (
        [],
        [standing("a", state=RUNNING)],
        "RestoreRequest a has begun, goes to the server of Secret app/URL too, and has not ended.",
    ),
    "another one runs elsewhere": ([], [standing("a", state=RUNNING, target="other/URL")], ""),
    "an older one could begin": (
        [],
        [standing("a", age=9)],
        "RestoreRequest a is older and goes to the server of Secret app/URL first.",
    ),
    "one of the same age could begin, and its name comes first": (
        [],
        [standing("a")],
        "RestoreRequest a is older and goes to the server of Secret app/URL first.",
    ),
    "one of the same age could begin, and its name comes later": ([], [standing("z")], ""),
    "a younger one could begin": ([], [standing("a", age=-9)], ""),
    "an older one waits for this very one": ([], [standing("a", "me", age=9)], ""),
    "an older one plans only": ([], [standing("a", age=9, writes=False)], ""),
    "an older one is being planned": ([], [standing("a", age=9, state=PLANNING)], ""),
    "an older one was approved": (
        [],
        [standing("a", age=9, state=PLANNED)],
        "RestoreRequest a is older and goes to the server of Secret app/URL first.",
    ),
    "an older one knows no target yet": ([], [standing("a", age=9, target="")], ""),
    "an older one has ended": ([], [standing("a", age=9, state=FAILED), standing("b", age=9, state=COMPLETE)], ""),
}


@pytest.mark.parametrize(("after", "others", "words"), WAITS.values(), ids=WAITS)
def test_what_a_request_waits_for(after: list[str], others: list[Standing], words: str):
    me = standing("me", *after)

    assert waits_for(me, among(me, *others), []) == words


def test_a_job_at_the_target_is_waited_for():
    me = standing()

    assert waits_for(me, among(me), [BACKUP]).startswith("BackupPolicy app-db is at the server of Secret app/URL")
    assert waits_for(me, among(me), [RESTORE]).startswith("RestoreRequest gone, which is gone, is at")
    assert waits_for(standing(target="other/URL"), among(me), [BACKUP, RESTORE]) == ""


def test_a_plan_waits_for_who_writes_and_not_for_who_reads():
    me = standing(writes=False)

    assert waits_for(me, among(me), [BACKUP]) == ""
    assert waits_for(me, among(me), [RESTORE]) != ""
    assert waits_for(me, among(me, standing("a", age=9)), []) == ""
    assert waits_for(me, among(me, standing("a", state=RUNNING)), []) != ""


def test_of_many_that_wait_for_one_target_exactly_one_has_its_turn():
    many = among(*(standing(f"r{number}", age=number % 4, state=WAITING) for number in range(20)))

    assert [name for name, one in many.items() if not waits_for(one, many, [])] == ["r11"]

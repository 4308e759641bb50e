"""A person accepts a change: from which run on, and until when."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from tests.support.seen_runs import APP, comparison_of, name_of, rows

GOOD, BAD = rows(APP), rows(dict.fromkeys(APP, 0))


def test_an_accepted_run_is_told_as_accepted_and_the_next_one_compared_with_it():
    before = [GOOD] * 3 + [BAD] * 2

    at_once = comparison_of(*before, accepted=4)
    next_one = comparison_of(*before, BAD, accepted=4)
    worse = comparison_of(*[GOOD] * 3, *[rows({"users": 500})] * 3, BAD, accepted=4)

    assert (at_once.reason, at_once.accepted, at_once.compared_with) == (None, True, 0)
    assert (next_one.reason, next_one.accepted, next_one.compared_with) == (None, True, 1)
    assert (worse.reason, worse.since_run) == (Reason.TABLE_VANISHED, name_of(6))


@pytest.mark.parametrize("accepted", [3, 4], ids=["its first run", "its newest run"])
def test_data_that_comes_back_after_it_was_accepted_is_in_line_and_no_change_any_more(accepted):
    compared = comparison_of(*[GOOD] * 3, BAD, BAD, GOOD, accepted=accepted)

    assert (compared.reason, compared.accepted) == (None, False)


def test_an_acceptance_ends_when_the_data_is_back_and_is_no_leave_to_lose_it_again():
    many, few = rows({"users": 100_000}), rows({"users": 100})
    back = [*[many] * 8, few, few, many]

    lost_again = comparison_of(*back, few, accepted=8)

    assert (comparison_of(*back, accepted=8).reason, comparison_of(*back, accepted=8).accepted) == (None, False)
    assert (lost_again.reason, lost_again.accepted, lost_again.since_run) == (Reason.ROWS_COLLAPSED, False, name_of(11))
    assert comparison_of(*back, few, few, accepted=12).accepted


def test_data_that_grows_again_after_it_was_accepted_may_be_a_little_less_the_next_night():
    grown = [rows({"users": count}) for count in (20_000, 35_000, 51_000, 49_000)]

    assert comparison_of(*[rows({"users": 100_000})] * 8, *grown, accepted=8).reason is None


def test_a_run_of_the_future_cannot_be_accepted():
    compared = comparison_of(GOOD, BAD, accepted=2)

    assert (compared.reason, compared.accepted) == (Reason.ROWS_COLLAPSED, False)


def test_what_was_accepted_when_a_run_was_made_is_known_from_the_store():
    after = rows(dict.fromkeys(APP, 0), was_in_line=True, accepted_run=name_of(2))

    compared = comparison_of(GOOD, GOOD, BAD, after, BAD)

    assert (compared.reason, compared.accepted, compared.compared_with) == (None, True, 1)

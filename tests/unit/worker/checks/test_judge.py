"""What a value found means for a check, and in which words it is told."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from backup_operator.contract.restore import CheckOrder
from backup_operator.worker.checks.judge import judged

BACKED_UP_AT = datetime(2023, 12, 1, 2, 0, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1))
HOUR = timedelta(hours=1)

CASES = {
    "a number at the minimum passes": ({"minimum": 3}, "3", "at least 3", "3", True),
    "a number below the minimum fails": ({"minimum": 3}, "2", "at least 3", "2", False),
    "a number of any precision is one": ({"minimum": 3}, Decimal("3.000"), "at least 3", "3.000", True),
    "no value is no number": ({"minimum": 0}, None, "at least 0", "NULL", False),
    "a word is no number": ({"minimum": 0}, "many", "at least 0", "many, which is no number", False),
    "not-a-number is no number": ({"minimum": 0}, "NaN", "at least 0", "NaN, which is no number", False),
    "without a limit one is enough": ({}, 1, "at least 1", "1", True),
    "without a limit none is not": ({}, 0, "at least 1", "0", False),
    "equal text passes": ({"equals": "open"}, "open", "'open'", "open", True),
    "another text fails": ({"equals": "open"}, "Open", "'open'", "Open", False),
    "equal numbers are equal however they are written": ({"equals": "3"}, "3.00", "'3'", "3.00", True),
    "a server's true is anybody's": ({"equals": "true"}, "t", "'true'", "t", True),
    "a server's false is not true": ({"equals": "true"}, "f", "'true'", "f", False),
    "no value equals nothing, the word NULL neither": ({"equals": "NULL"}, None, "'NULL'", "NULL", False),
    "a time as old as it may be passes": (
        {"newest_within": HOUR},
        datetime(2023, 12, 1, 1, 0, tzinfo=UTC),
        "a time at most 1h before the backup",
        "2023-12-01 01:00:00+00:00, 1h before the backup",
        True,
    ),
    "a time older than that fails": (
        {"newest_within": HOUR},
        datetime(2023, 11, 29, 0, 59, 59, tzinfo=UTC),
        "a time at most 1h before the backup",
        "2023-11-29 00:59:59+00:00, 2d 1h before the backup",
        False,
    ),
    "a time after the backup's start passes": (
        {"newest_within": HOUR},
        datetime(2023, 12, 1, 2, 5, tzinfo=UTC),
        "a time at most 1h before the backup",
        "2023-12-01 02:05:00+00:00",
        True,
    ),
    "a time without a zone is one of the server's zone": (
        {"newest_within": HOUR},
        datetime(2023, 12, 1, 1, 30),  # noqa: DTZ001
        "a time at most 1h before the backup",
        "2023-12-01 01:30:00, 1h 30min before the backup",
        False,
    ),
    "a date counts as the end of its day": (
        {"newest_within": 3 * HOUR},
        date(2023, 11, 30),
        "a time at most 3h before the backup",
        "2023-11-30, 3h before the backup",
        True,
    ),
    "a number is no time": (
        {"newest_within": HOUR},
        "1701396000",
        "a time at most 1h before the backup",
        "1701396000, which is no time",
        False,
    ),
    "no newest row is no time": ({"newest_within": HOUR}, None, "a time at most 1h before the backup", "NULL", False),
}


@pytest.mark.parametrize(("limits", "value", "expected", "told", "passed"), CASES.values(), ids=CASES.keys())
def test_a_value_is_compared_and_told(limits, value, expected, told, passed):
    found = judged(CheckOrder(name="users", sql="select", **limits), value, BACKED_UP_AT, BERLIN)

    assert (found.name, found.expected, found.found, found.passed) == ("users", expected, told, passed)


def test_a_time_has_nothing_to_be_compared_with_where_the_backup_has_no_date():
    found = judged(CheckOrder(name="users", sql="select", newest_within=HOUR), BACKED_UP_AT, None)

    assert not found.passed
    assert "not recorded when the backup was made" in found.found


def test_a_long_value_is_told_in_one_short_line():
    found = judged(CheckOrder(name="users", sql="select", equals="x"), "many\n  words " * 100, BACKED_UP_AT)

    assert len(found.found) == 200
    assert found.found.startswith("many words many words")
    assert found.found.endswith("…")

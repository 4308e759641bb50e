"""What a process knows about where it runs."""

import getpass
import os
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.worker.workplace import person_at_the_keyboard, workplace_of


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set in the environment")])
def test_a_user_without_a_name_is_told_by_number(monkeypatch, error):
    def unknown() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)

    assert person_at_the_keyboard() == f"uid {os.getuid()}"


@pytest.mark.parametrize(
    ("offset", "moved", "warning"),
    [
        (None, 0, ""),
        ("", 0, ""),
        ("0", 0, ""),
        (
            "3456000",
            3456000,
            "the clock is moved forward by 40 days: BACKUP_CLOCK_OFFSET_SECONDS=3456000",
        ),
        ("-5400", -5400, "the clock is moved back by 1 hour 30 minutes: BACKUP_CLOCK_OFFSET_SECONDS=-5400"),
        ("40 days", 0, "BACKUP_CLOCK_OFFSET_SECONDS is no number of seconds; the clock is not moved"),
        ("9" * 30, 0, "BACKUP_CLOCK_OFFSET_SECONDS is no number of seconds; the clock is not moved"),
        ("-99999999999", 0, "BACKUP_CLOCK_OFFSET_SECONDS is no number of seconds; the clock is not moved"),
    ],
)
def test_the_clock_is_moved_by_so_many_seconds_and_that_is_said(tmp_path, offset, moved, warning):
    environment = {} if offset is None else {"BACKUP_CLOCK_OFFSET_SECONDS": offset}

    workplace = workplace_of(environment, tmp_path)

    assert abs(workplace.now() - datetime.now(UTC) - timedelta(seconds=moved)) < timedelta(seconds=5)
    assert workplace.warnings == ((warning,) if warning else ())
    assert workplace.scratch == tmp_path

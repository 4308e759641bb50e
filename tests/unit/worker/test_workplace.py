"""What a process knows about where it runs."""

import getpass
import os

import pytest

from backup_operator.worker.workplace import person_at_the_keyboard


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set in the environment")])
def test_a_user_without_a_name_is_told_by_number(monkeypatch, error):
    def unknown() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)

    assert person_at_the_keyboard() == f"uid {os.getuid()}"

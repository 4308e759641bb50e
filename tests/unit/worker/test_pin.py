"""A pin stands for what was approved, and says what is no longer so."""

from types import SimpleNamespace
from typing import Any

import pytest

from backup_operator.worker.restore_plan import changed_parts, is_approved, pin_of
from backup_operator.worker.targets.base import TargetPlan


def _pin(sha256: str = "ab", **pinned: object) -> str:
    artifact = SimpleNamespace(name="backup_20261123_020000.sql.gz.gpg", proven=SimpleNamespace(stored_sha256=sha256))
    backup: Any = SimpleNamespace(name="backup_20261123_020000", artifacts=(artifact,))
    return pin_of(TargetPlan(lines=(), pinned=pinned), backup)


def test_the_same_plan_has_the_same_pin():
    assert _pin(server="x", dropped=["a", "b"]) == _pin(dropped=["a", "b"], server="x")


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (_pin(server="y", empty=True), ["server"]),
        (_pin(server="x", empty=False), ["empty"]),
        (_pin(server="x"), ["empty"]),
        (_pin("cd", server="x", empty=True), ["backup"]),
        (_pin(server="x", empty=True, kept=["public.users"]), ["kept"]),
    ],
)
def test_what_differs_is_named(now, changed):
    approved = _pin(server="x", empty=True)

    assert not is_approved(now, approved)
    assert changed_parts(now, approved) == changed


def test_a_person_may_approve_by_the_first_digits():
    pin = _pin(server="x")

    assert is_approved(pin, pin)
    assert is_approved(pin, pin[:16])
    assert not is_approved(pin, pin[:15])
    assert changed_parts(pin, "0123456789abcdef") == []

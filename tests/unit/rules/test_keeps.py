"""Retention in a few words."""

from datetime import timedelta
from typing import Any

import pytest

from backup_operator.contract.order import RetentionOrder
from backup_operator.rules.keeps import keeps


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"max_age": timedelta(days=30)}, "30d, at least 3"),
        ({"max_age": timedelta(hours=36), "minimum": 1}, "36h, at least 1"),
        ({"keep_last": 5, "keep_daily": 7}, "last 5, 7 daily, at least 3"),
        (
            {"max_age": timedelta(days=7), "keep_weekly": 4, "keep_monthly": 12, "keep_yearly": 2, "dry_run": True},
            "7d, 4 weekly, 12 monthly, 2 yearly, at least 3 (dry run)",
        ),
        ({}, "everything"),
    ],
    ids=["an age", "hours", "counts", "all of them", "nothing stated"],
)
def test_the_words_name_every_stated_rule_and_the_floor(order: dict[str, Any], words: str):
    assert keeps(RetentionOrder(**order)) == words

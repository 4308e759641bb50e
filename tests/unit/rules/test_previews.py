"""The store is read when nobody knows what the rules would delete, and not otherwise."""

from datetime import UTC, datetime

import pytest

from backup_operator.api.backuppolicy import BackupPolicyStatus, RetentionPreview, RetentionStatus
from backup_operator.contract.order import RetentionOrder
from backup_operator.rules.previews import effect_is_unknown

RULES = RetentionOrder(digest="now")
DRY = RetentionOrder(digest="now", dry_run=True)
PREVIEW = RetentionPreview(at=datetime(2026, 11, 24, tzinfo=UTC), count=1, bytes=10)


@pytest.mark.parametrize(
    ("count", "known", "rules", "expected"),
    [
        (3, RetentionStatus(rules_digest="now"), RULES, False),
        (3, RetentionStatus(rules_digest="before"), RULES, True),
        (3, RetentionStatus(rules_digest="before", preview=PREVIEW), DRY, True),
        (3, RetentionStatus(rules_digest="now"), DRY, True),
        (3, RetentionStatus(rules_digest="now", preview=PREVIEW), DRY, False),
        (3, RetentionStatus(rules_digest="now", stopped="the zone is unknown"), DRY, False),
        (3, None, RULES, False),
        (3, None, DRY, True),
        (0, None, DRY, False),
        (None, None, DRY, False),
        (0, RetentionStatus(rules_digest="before"), RULES, False),
    ],
    ids=[
        "the same rules",
        "changed rules",
        "changed rules in a dry run",
        "a dry run without a preview",
        "a dry run with its preview",
        "a dry run that could not be done",
        "rules that never spoke: an operator of before",
        "a dry run that never spoke",
        "an empty store",
        "a store that is not known",
        "changed rules of an empty store",
    ],
)
def test_a_preview_is_wanted(
    count: int | None, known: RetentionStatus | None, rules: RetentionOrder, *, expected: bool
):
    status = BackupPolicyStatus(backup_count=count, retention=known)

    assert effect_is_unknown(status, rules) is expected

"""Every reason that a policy's condition can carry is produced on a cluster, or it is said here why not."""

import re
from pathlib import Path

from backup_operator.vocabulary.reasons import RESTORE_REASONS, Reason

ROOT = Path(__file__).resolve().parents[2]
E2E = ROOT / "tests/e2e"
ELSEWHERE: dict[Reason, tuple[str, str]] = {
    Reason.NETWORK_UNREACHABLE: (
        "on many clusters such a host is silent instead",
        "tests/integration/postgres/test_failures.py",
    ),
    Reason.QUOTA_EXCEEDED: ("kernels of nodes often have no quotas", "tests/integration/store/test_run.py"),
    Reason.STORAGE_FAILED: ("needs a disk that is broken", "tests/integration/store/test_run.py"),
    Reason.VERIFICATION_FAILED: ("needs a disk that forgets", "tests/integration/worker/test_verify.py"),
    Reason.POD_PENDING: ("is said of a pod that waits for nothing that is known", "tests/unit/rules/test_pods.py"),
    Reason.INTERNAL_ERROR: ("is a fault of ours", "tests/unit/contract/test_report.py"),
}
"""Why it is not brought about on a cluster, and the test that shows it."""


def test_each_reason_of_a_policy_is_shown_on_a_cluster():
    shown = "\n".join(file.read_text() for file in E2E.glob("test_*.py"))
    missing = [
        reason.value
        for reason in Reason
        if reason not in RESTORE_REASONS and reason not in ELSEWHERE and f'"{reason.value}"' not in shown
    ]
    assert missing == [], "bring it about in tests/e2e, or say in ELSEWHERE why that cannot be"


def test_what_is_not_shown_on_a_cluster_is_shown_elsewhere():
    for reason, (why, test) in ELSEWHERE.items():
        text = (ROOT / test).read_text()
        assert why
        assert re.search(rf"Reason\.{reason.name}\b|\b{reason.value}\b", text), f"{reason.value} is not in {test}"


def test_no_excuse_outlives_its_need():
    shown = "\n".join(file.read_text() for file in E2E.glob("test_*.py"))
    assert [reason.value for reason in ELSEWHERE if f'"{reason.value}"' in shown] == []

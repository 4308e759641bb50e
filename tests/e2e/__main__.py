"""Runs the end-to-end tests: those that keep to a namespace side by side, then those that disturb the cluster, alone.

Called by `make test-e2e` as `python -m tests.e2e [pytest options]`.
"""

import os
import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).resolve().parent)
SIDE_BY_SIDE = 4
"""Most of a test's time is waiting for pods, so there are more of them than cores."""
NOTHING_COLLECTED = pytest.ExitCode.NO_TESTS_COLLECTED


def main() -> int:
    """0 when both halves passed; a half that a pytest option such as -k leaves empty does not count."""
    options = sys.argv[1:]
    workers = os.environ.get("E2E_WORKERS", str(SIDE_BY_SIDE))
    together = pytest.main([HERE, "-m", "not alone", "-n", workers, *options])
    alone = pytest.main([HERE, "-m", "alone", *options])
    codes = {int(together), int(alone)}
    return max(codes - {int(NOTHING_COLLECTED)}) if codes != {int(NOTHING_COLLECTED)} else int(NOTHING_COLLECTED)


if __name__ == "__main__":
    sys.exit(main())

"""The error of a preflight that is meant to fail; used by the tests of failures and of TLS."""

from typing import Any

import pytest

from backup_operator.worker.errors import WorkerError
from tests.integration.postgres.conftest import Workplace


def failure(workplace: Workplace, url: str, **order: Any) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        workplace.back_up(url, **order)
    said = f"{caught.value.message} {caught.value.detail} {caught.value.hint}"
    assert "hush" not in said
    assert "super secret" not in said
    return caught.value

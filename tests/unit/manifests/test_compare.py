"""An object is as wanted when the API server has only added to it."""

from typing import Any

import pytest

from backup_operator.manifests.compare import is_as_wanted


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ({"a": 1, "default": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({}, {"suspend": False, "nodeSelector": {}, "items": []}, True),
        ({"suspend": True}, {"suspend": False}, False),
        ({"list": [{"a": 1, "b": 2}]}, {"list": [{"a": 1}]}, True),
        ({"list": [{"a": 1}, {"a": 2}]}, {"list": [{"a": 1}]}, False),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"memory": "1Gi"}, {"memory": "1G"}, False),
        ({"cpu": "500m"}, {"cpu": 0.5}, False),
        ({"cpu": "2"}, {"cpu": 2}, True),
        ({"flag": True}, {"flag": 1}, True),
        ({"text": "abc"}, {"text": "abd"}, False),
    ],
)
def test_comparison(found: Any, wanted: Any, *, expected: bool):
    assert is_as_wanted(found, wanted) is expected

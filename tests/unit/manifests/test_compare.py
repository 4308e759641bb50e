"""An object is as wanted when the API server has only added to it."""

from typing import Any

import pytest

from backup_operator.manifests.children import cronjob_of
from backup_operator.manifests.compare import is_as_wanted
from backup_operator.manifests.pod import WorkerPod
from tests.unit.manifests.policies import policy


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


@pytest.mark.parametrize(
    "more",
    [
        {"resources": {"requests": {"memory": "128Mi"}, "limits": {"memory": "1Gi"}}},
        {"priority_class": "high"},
        {"image_pull_secrets": ("regcred",)},
    ],
    ids=["a memory limit", "a priority class", "a registry's Secret"],
)
def test_what_the_operator_no_longer_wants_is_noticed(more: dict[str, Any]):
    fewer: dict[str, Any] = {"resources": {"requests": {"memory": "128Mi"}}}
    live = cronjob_of(policy(), WorkerPod(image="worker:1", **(fewer | more)))

    assert is_as_wanted(live, cronjob_of(policy(), WorkerPod(image="worker:1", **(fewer | more))))
    assert not is_as_wanted(live, cronjob_of(policy(), WorkerPod(image="worker:1", **fewer)))

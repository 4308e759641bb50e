"""An object is as wanted when the API server has only added to it."""

from typing import Any

import pytest

from backup_operator.manifests.children import cronjob_of
from backup_operator.manifests.compare import is_added_to, is_as_wanted
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


MINE = "backup-operator"
ENVIRONMENT: dict[str, Any] = {"f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}


def in_container(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Owned fields of a container of the pod that a CronJob makes."""
    containers = {f'k:{{"name":"{name}"}}': fields}
    return {"f:jobTemplate": {"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}}}


@pytest.mark.parametrize(
    ("spec", "manager", "more", "expected"),
    [
        ({"f:schedule": {}, "f:suspend": {}}, "kubectl-edit", {}, False),
        (in_container("worker", {"f:image": {}, ".": {}}), "kubectl-edit", {}, False),
        (in_container("worker", ENVIRONMENT), "kubectl-set", {}, True),
        (in_container("sidecar", {".": {}, "f:name": {}}), "kubectl-patch", {}, True),
        ({"f:jobTemplate": {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {"f:disk": {}}}}}}}, "x", {}, True),
        (
            {"f:jobTemplate": {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {"f:disk": {}}}}}}},
            MINE,
            {},
            False,
        ),
        ({"f:something": {}}, "kube-controller-manager", {"subresource": "status"}, False),
        ({'v:"text"': {}}, "x", {}, True),
    ],
    ids=[
        "what we want too",
        "a field of our container",
        "an environment variable",
        "a container",
        "a node selector",
        "a node selector of our own",
        "the status",
        "a value in place of fields",
    ],
)
def test_what_others_have_added_is_noticed(spec: dict[str, Any], manager: str, more: dict[str, Any], *, expected: bool):
    wanted = cronjob_of(policy(), WorkerPod(image="worker:1"))
    owned = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": spec}, **more}
    found = {**wanted, "metadata": {**wanted["metadata"], "managedFields": [owned]}}

    assert is_added_to(found, wanted, by_others_than=MINE) is expected


def test_an_object_without_field_managers_has_nothing_added():
    wanted = cronjob_of(policy(), WorkerPod(image="worker:1"))

    assert not is_added_to(wanted, wanted, by_others_than=MINE)

"""The manifest that brings a safety backup back: of each target, and one that the CRD takes."""

from typing import Any

import pytest
import yaml

from backup_operator.api.restorerequest import RestoreRequestSpec
from backup_operator.manifests.undo import undo_lines
from tests.unit.manifests.requests import STORE, request

URL = {"urlSecretRef": {"name": "other", "key": "URL"}}
SAFETY = "safety_20261124_020000"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "in place": (
        {"postgres": {**URL, "strategy": "InPlace", "missingRoles": "LeaveOut", "globals": True}},
        {"postgres": {**URL, "strategy": "InPlace", "missingRoles": "LeaveOut", "dropDependents": True}},
    ),
    "replaced": ({"redis": {**URL, "strategy": "Replace"}}, {"redis": {**URL, "strategy": "Replace"}}),
    "merged": (
        {"redis": {**URL, "strategy": "Merge", "existing": "Replace", "keyPattern": "session:*"}},
        {"redis": {**URL, "strategy": "Replace", "keyPattern": "session:*"}},
    ),
}


@pytest.mark.parametrize(("target", "undone"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("origin", [{"policyRef": {"name": "app-db"}}, {"store": STORE}], ids=["policy", "store"])
def test_a_safety_backup_goes_back_to_where_it_came_from(
    target: dict[str, Any], undone: dict[str, Any], origin: dict[str, Any]
):
    spec: dict[str, Any] = {"from": origin, "target": target, "confirm": "app", "after": ["other"]}
    one = request(**spec, job={"deadline": "1h"})

    manifest = yaml.safe_load("\n".join(undo_lines(one, SAFETY)))

    assert manifest == {
        "apiVersion": "backup.agentsflow.ai/v1alpha1",
        "kind": "RestoreRequest",
        "metadata": {"name": "bring-back-undo-20261124-020000", "namespace": "prod"},
        "spec": {
            "from": RestoreRequestSpec.model_validate(one.spec).origin.model_dump(
                mode="json", by_alias=True, exclude_none=True
            ),
            "backup": {"name": SAFETY},
            "target": undone,
            "confirm": "app",
            "safetyBackup": False,
            "job": {"deadline": "1h"},
        },
    }
    RestoreRequestSpec.model_validate(manifest["spec"])


def test_a_name_as_long_as_can_be_leaves_room_for_its_undoing():
    manifest = yaml.safe_load("\n".join(undo_lines(request("a" * 253, confirm="app"), SAFETY)))

    assert len(manifest["metadata"]["name"]) == 253
    assert manifest["metadata"]["name"].endswith("-undo-20261124-020000")

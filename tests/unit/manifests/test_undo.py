"""The manifest that undoes a restore is a request that is accepted, to the same target, of the safety backup."""

from typing import Any

import pytest
import yaml

from backup_operator.manifests.undo import undo_lines
from backup_operator.rules.admission import judge_restore_request
from tests.unit.manifests.requests import STORE, request

SAFETY = "safety_20261123_020000"
IN_PLACE = {"strategy": "InPlace", "database": "app", "dropDependents": True, "missingRoles": "LeaveOut", "jobs": 1}
MERGE = {"strategy": "Merge", "existing": "Replace", "keyPattern": "session:*"}
URL = {"urlSecretRef": {"name": "app", "key": "URL"}}


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        (
            {"target": {"postgres": IN_PLACE}, "confirm": "app"},
            {"postgres": {name: IN_PLACE[name] for name in ("strategy", "database", "dropDependents", "missingRoles")}},
        ),
        (
            {"target": {"redis": MERGE}, "confirm": "cache/0"},
            {"redis": {"strategy": "Replace", "keyPattern": "session:*"}},
        ),
        (
            {"from": {"store": STORE}, "target": {"redis": {**URL, "strategy": "Replace"}}, "confirm": "cache/all"},
            {"redis": {**URL, "strategy": "Replace"}},
        ),
    ],
    ids=["in place", "merged", "replaced, from a store"],
)
def test_the_undo_of_a_restore_is_accepted(spec: dict[str, Any], target: dict[str, Any]):
    done = request("n" * 253, checks=[{"name": "app", "http": {"url": "http://app/health"}}], **spec)

    undo = yaml.safe_load("\n".join(undo_lines(done, SAFETY)))

    _, verdict = judge_restore_request(undo)
    assert verdict.accepted, verdict.message
    assert undo["spec"].pop("target") == target
    assert undo["spec"] == {
        "from": done.spec.model_dump(by_alias=True, exclude_none=True, mode="json")["from"],
        "backup": {"name": SAFETY},
        "confirm": spec["confirm"],
        "safetyBackup": False,
    }
    assert undo["metadata"]["name"].endswith("-undo")
    assert len(undo["metadata"]["name"]) <= 253

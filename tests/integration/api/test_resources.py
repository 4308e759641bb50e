"""Defaults, status, columns and `kubectl explain` of the CRDs on a real API server."""

from typing import Any

import pytest

from backup_operator.api.backuppolicy import BackupPolicySpec, BackupPolicyStatus
from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.api.schema import RESOURCES, Resource, custom_resource_definition
from tests.integration.api.conftest import AS_TABLE, Server
from tests.support.shell import LocalShell
from tests.unit.api.cases import POSTGRES, REDIS
from tests.unit.api.restore_cases import RESTORE

BACKUP = {
    "startedAt": "2026-11-23T02:00:00Z",
    "durationSeconds": 62,
    "sizeBytes": 1288490189,
    "rows": 7,
    "verified": True,
}
CONDITIONS = [
    {
        "type": kind,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-23T02:01:02Z",
        "reason": "Ready",
        "message": "All is well.",
    }
    for kind, status in (("Ready", "True"), ("Fresh", "False"))
]
NOTIFIED = {
    "told": [{"condition": "Fresh", "reason": "ObjectiveExceeded", "since": "2026-11-23T02:01:02Z"}],
    "owed": [
        {
            "kind": "Stale",
            "reason": "ObjectiveExceeded",
            "at": "2026-11-23T02:01:02Z",
            "message": "It is old.",
            "targets": ["mail"],
        }
    ],
}
POLICY_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": CONDITIONS,
    "lastSuccessfulBackup": {"name": "backup_20261123_020000", "completedAt": "2026-11-23T02:01:02Z", **BACKUP},
    "lastFailedBackup": {"reason": "SecretMissing", "message": "no", "hint": "kubectl …", "jobName": "app-db-1"},
    "activeBackup": {"jobName": "app-db-2", "since": "2026-11-23T02:00:00Z"},
    "nextBackupAt": "2026-11-24T02:00:00Z",
    "backups": [
        {
            "name": "a",
            "time": "2026-11-23T02:00:00Z",
            "durationSeconds": 62,
            "size": "1.2 GiB",
            "sizeBytes": 1,
            "keys": 0,
            "verified": True,
        }
    ],
    "backupCount": 0,
    "lockedBackups": 1,
    "oldestBackupAt": "2026-11-23T02:00:00Z",
    "storage": {
        "usedBytes": 1,
        "capacityBytes": 100,
        "usedPercent": 1,
        "storeBytes": 1,
        "fullAt": "2027-03-01T02:00:00Z",
    },
    "retention": {
        "rules": ["age 30d: kept 3"],
        "kept": 3,
        "heldBack": 1,
        "blocked": 1,
        "deleted": 1,
        "deletedNames": ["backup_20261023_020000"],
        "freedBytes": 7,
        "appliedAt": "2026-11-23T02:01:02Z",
        "stopped": "the volume is read-only",
        "left": ["backup_20261022_020000: a restore reads it"],
        "nextToGo": {"name": "backup_20261024_020000", "at": "2026-11-24T02:00:00Z"},
        "preview": {"at": "2026-11-23T02:01:02Z", "count": 1, "bytes": 7, "names": ["backup_20261024_020000"]},
        "rulesDigest": "0123456789abcdef",
    },
    "comparison": {
        "run": "backup_20261123_020000",
        "comparedWith": 7,
        "reason": "RowsCollapsed",
        "sinceRun": "backup_20261123_020000",
        "message": "it holds 3 rows",
        "accepted": False,
    },
    "otherFiles": {"oldScripts": 1, "foreign": 1, "names": ["a.sql.gz.gpg"]},
    "notified": NOTIFIED,
    "lastDrill": {"startedAt": "2026-11-23T02:00:00Z", "passed": True, "message": "all held"},
    "source": "PostgreSQL 17.2 app",
    "size": "1.2 GiB",
    "store": "backups:prod/app-db",
    "claimUid": "0b1c8d7e-6a53-4d7c-9f0a-2f1f6f4c1d11",
    "keeps": "30d, at least 3",
    "used": "1 % of 100 B",
    "ready": "True",
    "message": "All is well.",
}
RESTORE_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [{**CONDITIONS[0], "type": "Failed"}],
    "artifact": "backup_20261123_020000.sql.gz.gpg",
    "recorded": False,
    "plan": ["Restore into a new database."],
    "pin": "0123abcd",
    "jobName": "restore-db-restore-0123abcd",
    "steps": [{"name": "verify", "seconds": 3}],
    "checks": [{"name": "users", "expected": "1 or more", "found": "0", "passed": False}],
    "rows": 0,
    "keys": 7,
    "notes": ["extension postgis was left alone"],
    "startedAt": "2026-11-23T02:00:00Z",
    "completedAt": "2026-11-23T02:01:02Z",
    "durationSeconds": 62,
    "safetyBackup": "safety_20261123_020000",
    "undo": ["apiVersion: backup.agentsflow.ai/v1alpha1"],
    "message": "Nothing was touched.",
    "hint": "kubectl …",
    "source": "app-db",
    "backup": "latest",
    "target": "app_restored",
    "notified": NOTIFIED,
    "state": "Failed",
}


@pytest.mark.parametrize("spec", [POSTGRES, REDIS], ids=["postgres", "redis"])
def test_the_servers_defaults_are_those_of_the_model(server: Server, spec: dict[str, Any]):
    stored = server.create("BackupPolicy", spec)["spec"]

    assert BackupPolicySpec.model_validate(stored) == BackupPolicySpec.model_validate(spec)
    assert stored["timeZone"] == "Etc/UTC"
    assert stored["compression"] == {"algorithm": "Gzip"}
    assert stored["job"] == {"deadline": "6h", "backoffLimit": 2, "resources": {}}


def test_the_server_adds_no_default_to_a_restore(server: Server):
    assert server.create("RestoreRequest", RESTORE)["spec"] == RESTORE


@pytest.mark.parametrize(
    ("kind", "spec", "status", "model"),
    [
        ("BackupPolicy", POSTGRES, POLICY_STATUS, BackupPolicyStatus),
        ("RestoreRequest", RESTORE, RESTORE_STATUS, RestoreRequestStatus),
    ],
    ids=["policy", "restore"],
)
def test_a_status_is_stored_whole(server: Server, kind: str, spec: dict[str, Any], status: dict[str, Any], model: Any):
    made = server.create(kind, spec)
    written = {**made, "status": model.model_validate(status).wire()}

    answer = server.ask("PUT", f"{server.collection(kind)}/{made['metadata']['name']}/status", written)

    assert answer.refusal == ""
    assert answer.body["status"] == status
    assert set(status) == {field.alias for field in model.model_fields.values()}


def test_kubectl_get_shows_the_columns_of_the_design(server: Server):
    made = server.create("BackupPolicy", POSTGRES)
    path = f"{server.collection('BackupPolicy')}/{made['metadata']['name']}"
    server.ask("PUT", f"{path}/status", {**made, "status": POLICY_STATUS})

    table = server.ask("GET", path, accept=AS_TABLE).body

    columns = [column for column in table["columnDefinitions"] if column["name"] != "Name"]
    shown = dict(zip([column["name"] for column in columns], table["rows"][0]["cells"][1:], strict=True))
    ages = [shown.pop(name) for name in ("Last Good", "Last Drill", "Age")]
    assert shown == {
        "Source": "PostgreSQL 17.2 app",
        "Schedule": "0 2 * * *",
        "Backups": 0,
        "Limit": "25h",
        "Size": "1.2 GiB",
        "Next": "2026-11-24T02:00:00Z",
        "Fresh": "False",
        "Ready": "True",
        "Retention": "30d, at least 3",
        "Used": "1 % of 100 B",
        "Message": "All is well.",
    }
    assert all(age and age not in ("<unknown>", "<invalid>") for age in ages)
    assert [column["name"] for column in columns if column["priority"]] == [
        "Retention",
        "Used",
        "Last Drill",
        "Message",
    ]


def _field_names(schema: dict[str, Any]) -> list[str]:
    names = []
    for name, field in schema.get("properties", {}).items():
        names += [name, *_field_names(field), *_field_names(field.get("items", {}))]
    return names


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_kubectl_explain_answers_for_every_field(server: Server, resource: Resource):
    schema = custom_resource_definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    name = f"{resource.plural}.{server.group}"
    explain = ("kubectl", "explain", f"--api-version={server.group}/v1alpha1")

    printed = LocalShell().run(*explain, "--recursive", resource.plural).decode()
    spec = LocalShell().run(*explain, f"{resource.plural}.spec").decode()

    lines = [line.split("\t")[0].strip() for line in printed.splitlines()]
    assert [field for field in _field_names(schema["properties"]["spec"]) if field not in lines] == [], name
    assert [field for field in _field_names(schema["properties"]["status"]) if field not in lines] == [], name
    told = " ".join(spec.split())
    for field in schema["properties"]["spec"]["properties"].values():
        assert " ".join(field["description"].split()) in told

"""The CronJob and the inventory Job of a policy, against goldens; and what must hold of every pod."""

import json
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.manifests.children import cronjob_of, inventory_job_of
from backup_operator.manifests.claim import backup_claim
from backup_operator.manifests.pod import WorkerPod
from tests.unit.manifests.golden import assert_is_golden
from tests.unit.manifests.policies import policy

WORKER = WorkerPod(
    image="backup-operator-worker:1", resources={"requests": {"memory": "128Mi"}, "limits": {"memory": "1Gi"}}
)
REDIS_TLS = {
    "redis": {
        "urlSecretRef": {"name": "app", "key": "REDIS_URL"},
        "tls": {
            "caSecretRef": {"name": "redis-tls", "key": "ca.crt"},
            "certSecretRef": {"name": "redis-tls", "key": "tls.crt"},
            "keySecretRef": {"name": "redis-tls", "key": "tls.key"},
        },
    }
}
EVERYTHING: dict[str, Any] = {
    "source": {
        "postgres": {
            "urlSecretRef": {"name": "app", "key": "URL"},
            "format": "Custom",
            "globals": True,
            "schemas": {"exclude": ["$(HOME)"]},
            "tables": {"excludeData": ['"Sessions"']},
            "tls": {"mode": "VerifyFull", "caSecretRef": {"name": "db-ca", "key": "ca.crt"}},
        }
    },
    "timeZone": "Europe/Berlin",
    "suspend": True,
    "encryption": {
        "passphraseSecretRef": {"name": "app", "key": "KEY"},
        "previousPassphraseSecretRefs": [{"name": "app", "key": "KEY_OF_2025"}, {"name": "old", "key": "KEY"}],
    },
    "compression": {"algorithm": "Zstd"},
    "objectives": {"rpo": "1h"},
    "retention": {"maxAge": "7d", "keepWeekly": 4, "keepYearly": 2, "minimum": 5, "dryRun": True},
    "notify": {"heartbeatUrlSecretRef": {"name": "app", "key": "HEARTBEAT_URL"}},
    "storage": {"claimName": "backups", "path": "db/main"},
    "job": {
        "deadline": "90m",
        "backoffLimit": 0,
        "resources": {"limits": {"memory": "512Mi", "cpu": 1}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "regcred"}],
    },
}


@pytest.mark.parametrize(
    ("name", "spec"),
    [("cronjob-postgres", {}), ("cronjob-redis-tls", {"source": REDIS_TLS}), ("cronjob-everything", EVERYTHING)],
)
def test_the_cronjob_is_the_golden_one(name: str, spec: dict[str, Any]):
    assert_is_golden(name, cronjob_of(policy(**spec), WORKER))


def test_the_inventory_job_is_the_golden_one():
    assert_is_golden("inventory-job", inventory_job_of(policy(), WORKER))


def test_the_claim_of_a_template_is_the_golden_one():
    template = {"size": "20Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}

    assert_is_golden("claim", backup_claim(policy(storage={"claimTemplate": template})) or {})


def test_without_a_template_there_is_no_claim_to_make():
    assert backup_claim(policy()) is None


def test_a_class_that_is_left_out_is_the_clusters_default():
    claim = backup_claim(policy(storage={"claimTemplate": {"size": "1Gi"}})) or {}

    assert "storageClassName" not in claim["spec"], "an empty one would ask for none at all"


def test_workers_are_told_of_their_log_and_of_a_moved_clock():
    worker = WorkerPod(image="worker:1", log_format="json", clock_offset=timedelta(days=-1))

    for job in (cronjob_of(policy(), worker)["spec"]["jobTemplate"], inventory_job_of(policy(), worker)):
        assert _container_in(job)["env"] == [
            {"name": "BACKUP_LOG_FORMAT", "value": "json"},
            {"name": "BACKUP_CLOCK_OFFSET_SECONDS", "value": "-86400"},
        ]


def test_orders_survive_the_annotation():
    cronjob = cronjob_of(policy(**EVERYTHING), WORKER)
    inventory = inventory_job_of(policy(**EVERYTHING), WORKER)

    backup_order = BackupOrder.model_validate_json(_order_in(cronjob["spec"]["jobTemplate"]))
    inventory_order = InventoryOrder.model_validate_json(_order_in(inventory))

    assert backup_order.postgres is not None
    assert backup_order.postgres.schemas.exclude == ("$(HOME)",), "nothing is expanded on its way"
    assert backup_order.store == inventory_order.store


def test_passphrases_of_before_a_rotation_are_mounted_beside_the_current_one():
    directory = "/etc/backup-operator/secrets"
    expected = [f"{directory}/passphrase-1/KEY_OF_2025", f"{directory}/passphrase-2/KEY"]
    template = cronjob_of(policy(**EVERYTHING), WORKER)["spec"]["jobTemplate"]
    inventory = inventory_job_of(policy(**EVERYTHING), WORKER)

    for job, read in ((template, BackupOrder), (inventory, InventoryOrder)):
        order = read.model_validate_json(_order_in(job))

        assert order.passphrase.path == f"{directory}/passphrase/KEY"
        assert [one.path for one in order.previous_passphrases] == expected
        mounted = {mount["mountPath"] for mount in _container_in(job)["volumeMounts"]}
        assert {str(PurePosixPath(path).parent) for path in expected} < mounted


def test_a_missing_secret_is_called_by_its_name_and_comes_with_the_command_that_makes_it():
    order = json.loads(_order_in(cronjob_of(policy(), WORKER)["spec"]["jobTemplate"]))

    assert order["postgres"]["url"] == {
        "path": "/etc/backup-operator/secrets/url/SUPABASE_DB_URL",
        "described": "key SUPABASE_DB_URL of Secret prod/app",
        "command": "kubectl -n prod create secret generic app --from-file=SUPABASE_DB_URL=<file> "
        "--dry-run=client -o yaml | kubectl apply --server-side -f -",
    }


def test_pods_are_restricted_and_hold_no_token():
    pod = cronjob_of(policy(**EVERYTHING), WORKER)["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_secret_is_an_argument_or_a_variable_and_each_may_be_missing():
    pod = cronjob_of(policy(source=REDIS_TLS), WORKER)["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    assert "env" not in pod["containers"][0]
    assert "envFrom" not in pod["containers"][0]
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert [secret["items"][0]["key"] for secret in secrets] == [
        "REDIS_URL",
        "ca.crt",
        "tls.crt",
        "tls.key",
        "BACKUP_ENCRYPTION_KEY",
    ]
    assert all(secret["optional"] for secret in secrets)


def test_a_disruption_costs_no_retry_and_a_final_fault_gets_none():
    job = cronjob_of(policy(), WORKER)["spec"]["jobTemplate"]["spec"]

    disruption, final = job["podFailurePolicy"]["rules"]

    assert (disruption["action"], disruption["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (final["action"], final["onExitCodes"]["values"]) == ("FailJob", [Exit.FINAL.value])


def test_the_job_gives_the_worker_time_to_report_before_its_own_deadline():
    job = cronjob_of(policy(job={"deadline": "1h"}), WORKER)["spec"]["jobTemplate"]["spec"]

    assert job["activeDeadlineSeconds"] == 3600 + 300


def test_an_inventory_cannot_write():
    pod = inventory_job_of(policy(), WORKER)["spec"]["template"]["spec"]
    store = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "store")

    assert store["readOnly"] is True


def test_the_inventory_of_another_store_or_after_a_lost_report_is_another_job():
    names = {
        inventory_job_of(policy(), WORKER)["metadata"]["name"],
        inventory_job_of(policy(storage={"claimName": "other"}), WORKER)["metadata"]["name"],
        inventory_job_of(policy(), WORKER, cause="uid-of-a-job")["metadata"]["name"],
    }

    assert len(names) == 3
    assert inventory_job_of(policy(), WORKER)["metadata"]["name"] in names


def _container_in(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"]["containers"][0])


def _order_in(job: dict[str, Any]) -> str:
    return str(job["spec"]["template"]["metadata"]["annotations"]["backup.agentsflow.ai/order"])

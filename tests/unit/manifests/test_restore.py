"""The Jobs of a RestoreRequest, against goldens; what their orders say, and what must hold of every one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.contract.restore import CheckOrder, RestoreOrder, Selection
from backup_operator.manifests.labels import Work, request_of
from backup_operator.manifests.pod import WorkerPod
from backup_operator.manifests.restore import restore_job, restore_job_name, target_secret
from backup_operator.rules.admission import judge_restore_request
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, PostgresStrategy, RedisStrategy, TlsMode
from tests.unit.manifests.golden import assert_is_golden
from tests.unit.manifests.policies import policy
from tests.unit.manifests.requests import STORE, UID, request

WORKER = WorkerPod(
    image="backup-operator-worker:1",
    resources={"requests": {"memory": "128Mi"}, "limits": {"memory": "1Gi"}},
    scratch_size="4Gi",
)
SECRETS = "/etc/backup-operator/secrets"
LONG = "a" * 50 + "." + "b" * 63 + "." + "c" * 100
VERIFIED: dict[str, Any] = {"mode": "VerifyFull", "caSecretRef": {"name": "db-ca", "key": "ca.crt"}}
WITH_TLS = {"postgres": {"urlSecretRef": {"name": "app", "key": "SUPABASE_DB_URL"}, "tls": VERIFIED}}
REDIS = {"redis": {"urlSecretRef": {"name": "app", "key": "REDIS_URL"}}}
EVERYTHING: dict[str, Any] = {
    "from": {"store": STORE},
    "backup": {"name": "redis_20231201_020000"},
    "target": {
        "redis": {
            "urlSecretRef": {"name": "new", "key": "URL"},
            "tls": {
                "caSecretRef": {"name": "redis-tls", "key": "ca.crt"},
                "certSecretRef": {"name": "redis-tls", "key": "tls.crt"},
                "keySecretRef": {"name": "redis-tls", "key": "tls.key"},
            },
            "strategy": "Merge",
            "existing": "Replace",
            "keyPattern": "session:$(HOME)*",
        }
    },
    "confirm": "cache/0",
    "safetyBackup": False,
    "checks": [{"name": "keys", "redis": {"database": 1, "key": "k"}, "minimum": 5}],
    "job": {
        "deadline": "90m",
        "resources": {"limits": {"memory": "4Gi", "cpu": 2}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "regcred"}],
    },
}


def job_of(
    one: RestoreRequest, of: BackupPolicy | None = None, *, work: Work = Work.RESTORE, approved: str = ""
) -> dict[str, Any]:
    return restore_job(one, of, WORKER, work=work, approved=approved, asked_by="alice@example.com")


def order_in(job: dict[str, Any]) -> RestoreOrder:
    text = job["spec"]["template"]["metadata"]["annotations"]["backup.agentsflow.ai/order"]
    return RestoreOrder.model_validate_json(text)


def pod_in(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def store_mount_in(job: dict[str, Any]) -> dict[str, Any]:
    mounts = pod_in(job)["containers"][0]["volumeMounts"]
    return next(mount for mount in mounts if mount["name"] == "store")


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("restore-job", job_of(request(), policy(), approved="0123abcd")),
        ("restore-plan-job", job_of(request(dryRun=True), policy(), work=Work.PLAN)),
        ("restore-job-everything", job_of(request(**EVERYTHING))),
    ],
)
def test_the_job_is_the_golden_one(name: str, job: dict[str, Any]):
    assert_is_golden(name, job)


def test_a_job_is_never_tried_again_and_never_goes_by_itself():
    spec = job_of(request(), policy())["spec"]

    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert not {"ttlSecondsAfterFinished", "podFailurePolicy", "completions", "parallelism"} & set(spec)


def test_a_job_goes_with_its_request_and_is_found_by_it():
    job = job_of(request(LONG), policy())

    assert job["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "backup.agentsflow.ai/v1alpha1",
            "kind": "RestoreRequest",
            "name": LONG,
            "uid": UID,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert request_of(job) == request_of(job["spec"]["template"]) == LONG
    assert len(job["metadata"]["labels"]["backup.agentsflow.ai/request"]) <= 63


def test_the_name_of_a_job_follows_from_request_and_work_and_fits():
    name = restore_job_name(LONG, UID, Work.RESTORE)

    assert name == restore_job_name(LONG, UID, Work.RESTORE)
    assert len(name) <= 63
    assert name != restore_job_name(LONG, UID, Work.PLAN)
    assert name != restore_job_name(LONG, "uid of another", Work.RESTORE)
    assert restore_job_name("a", "b", Work.PLAN) == "a-plan-3e23e816"
    assert job_of(request(LONG), policy())["metadata"]["name"] == name


def test_planning_cannot_write_to_the_store_and_restoring_can():
    plan, restore = (job_of(request(), policy(), work=work) for work in (Work.PLAN, Work.RESTORE))

    assert store_mount_in(plan)["readOnly"] is True
    assert "readOnly" not in store_mount_in(restore)
    assert (order_in(plan).dry_run, order_in(restore).dry_run) == (True, False)


def test_the_job_gives_the_worker_time_to_report_before_its_own_deadline():
    default = job_of(request(), policy(job={"deadline": "10m"}))
    shorter = job_of(request(job={"deadline": "1h"}), policy())

    assert (default["spec"]["activeDeadlineSeconds"], order_in(default).deadline) == (
        6 * 3600 + 300,
        timedelta(hours=6),
    ), "a policy's deadline is for its backups"
    assert (shorter["spec"]["activeDeadlineSeconds"], order_in(shorter).deadline) == (3600 + 300, timedelta(hours=1))


def test_the_shortest_request_gets_what_its_policy_says_and_overwrites_nothing():
    encryption = {
        "passphraseSecretRef": {"name": "app", "key": "KEY"},
        "previousPassphraseSecretRefs": [{"name": "app", "key": "OLD"}],
    }
    order = order_in(job_of(request(), policy(storage={"claimName": "c", "path": "a/b"}, encryption=encryption)))

    assert order.postgres is not None
    assert order.postgres.url.described == "key SUPABASE_DB_URL of Secret prod/app"
    assert order.postgres.strategy is PostgresStrategy.NEW_DATABASE
    assert (order.postgres.database, order.confirm, order.approved) == ("", "", "")
    assert (order.postgres.missing_roles, order.postgres.jobs) == (MissingRoles.STOP, 2)
    assert order.safety_backup
    assert order.selection == Selection(latest=True)
    assert (order.store.path, order.store.described) == ("a/b", "claim prod/c")
    assert [one.path for one in order.passphrases] == [f"{SECRETS}/passphrase/KEY", f"{SECRETS}/passphrase-1/OLD"]
    assert order.request.asked_by == "alice@example.com"
    assert (order.request.uid, order.request.name) == (UID, "bring-back")


def test_every_field_of_a_postgres_target_is_in_the_order():
    target = {
        "strategy": "InPlace",
        "database": "other",
        "dropDependents": True,
        "missingRoles": "LeaveOut",
        "globals": True,
        "jobs": 1,
    }

    order = order_in(job_of(request(target={"postgres": target}, confirm="other"), policy(), approved="pin"))

    assert order.postgres is not None
    assert order.postgres.model_dump(exclude={"url", "tls", "lock_timeout_seconds"}) == {
        "strategy": PostgresStrategy.IN_PLACE,
        "database": "other",
        "drop_dependents": True,
        "missing_roles": MissingRoles.LEAVE_OUT,
        "globals": True,
        "jobs": 1,
    }
    assert (order.confirm, order.approved) == ("other", "pin")


def test_every_field_of_a_redis_target_is_in_the_order_and_nothing_is_expanded():
    order = order_in(job_of(request(**EVERYTHING)))

    assert order.redis is not None
    assert (order.redis.strategy, order.redis.existing) == (RedisStrategy.MERGE, ExistingKeys.REPLACE)
    assert order.redis.key_pattern == "session:$(HOME)*"
    assert order.redis.tls.certificate is not None
    assert (order.confirm, order.safety_backup) == ("cache/0", False)
    assert order.checks == (CheckOrder(name="keys", redis_database=1, redis_key="k", minimum=5),)


def test_a_redis_policy_is_restored_to_its_own_server_when_nothing_else_is_said():
    order = order_in(job_of(request(target={"redis": {}}), policy(source=REDIS)))

    assert order.redis is not None
    assert order.redis.url.described == "key REDIS_URL of Secret prod/app"
    assert order.redis.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ({}, TlsMode.VERIFY_FULL),
        ({"urlSecretRef": {"name": "app", "key": "SUPABASE_DB_URL"}}, TlsMode.VERIFY_FULL),
        ({"urlSecretRef": {"name": "app", "key": "OTHER_URL"}}, None),
        ({"tls": {"mode": "Require"}}, TlsMode.REQUIRE),
    ],
    ids=["the source", "the source by name", "another server", "a mode of its own"],
)
def test_tls_goes_with_the_url(target: dict[str, Any], mode: TlsMode | None):
    job = job_of(request(target={"postgres": target}), policy(source=WITH_TLS))

    order, mounted = order_in(job), {volume["name"] for volume in pod_in(job)["volumes"]}
    assert order.postgres is not None
    assert order.postgres.tls.mode is mode
    assert (order.postgres.tls.ca is not None) is ("secret-ca" in mounted) is (mode is TlsMode.VERIFY_FULL)


def test_every_secret_of_the_order_is_mounted_and_may_be_missing():
    job = job_of(request(**EVERYTHING))
    order, volumes = order_in(job), pod_in(job)["volumes"]

    assert order.redis is not None
    tls = order.redis.tls
    files = [order.redis.url, tls.ca, tls.certificate, tls.key, *order.passphrases]
    wanted = {one.path for one in files if one is not None}
    secrets = {volume["name"]: volume["secret"] for volume in volumes if "secret" in volume}
    mounted = {
        f"{mount['mountPath']}/{secrets[mount['name']]['items'][0]['path']}"
        for mount in pod_in(job)["containers"][0]["volumeMounts"]
        if mount["name"] in secrets
    }
    assert mounted == wanted
    assert len(wanted) == 6
    assert all(secret["optional"] for secret in secrets.values())


def test_the_checks_of_the_policy_come_first_then_those_of_the_request():
    ours = [
        {"name": "users", "sql": "select count(*) from users", "minimum": 1},
        {"name": "newest", "sql": "select max(at) from log", "newestWithin": "1h30m"},
    ]
    theirs = [
        {"name": "word", "sql": "select 'a'", "equals": "a"},
        {"name": "app", "http": {"url": "http://app/health", "status": 204}},
    ]

    order = order_in(job_of(request(checks=theirs), policy(checks=ours)))

    assert order.checks == (
        CheckOrder(name="users", sql="select count(*) from users", minimum=1),
        CheckOrder(name="newest", sql="select max(at) from log", newest_within=timedelta(minutes=90)),
        CheckOrder(name="word", sql="select 'a'", equals="a"),
        CheckOrder(name="app", http_url="http://app/health", http_status=204),
    )


def test_a_safety_backup_brings_back_what_the_policys_checks_would_refuse():
    of = policy(checks=[{"name": "users", "sql": "select count(*) from users", "minimum": 1}])
    own = [{"name": "one", "sql": "select 1", "equals": "1"}]

    safety = request(backup={"name": "safety_20231201_020000"}, checks=own)
    other = request(backup={"name": "backup_20231201_020000"}, checks=own)

    assert [check.name for check in order_in(job_of(safety, of)).checks] == ["one"]
    assert [check.name for check in order_in(job_of(other, of)).checks] == ["users", "one"]


@pytest.mark.parametrize(
    ("choice", "selection"),
    [
        ({"name": "backup_20231201_020000.sql.gz.gpg"}, Selection(name="backup_20231201_020000.sql.gz.gpg")),
        ({"before": "2023-12-01T04:00:00+01:00"}, Selection(before=datetime(2023, 12, 1, 3, tzinfo=UTC))),
        ({"latest": True}, Selection(latest=True)),
    ],
)
def test_the_choice_of_a_backup_is_in_the_order(choice: dict[str, Any], selection: Selection):
    assert order_in(job_of(request(backup=choice), policy())).selection == selection


def test_a_request_runs_where_its_policy_runs_unless_it_says_otherwise():
    places = {"nodeSelector": {"disk": "ssd"}, "resources": {"limits": {"memory": "2Gi"}}}

    default = pod_in(job_of(request(), policy(job=places)))
    other = pod_in(job_of(request(job={"nodeSelector": {"zone": "b"}}), policy(job=places)))
    anywhere = pod_in(job_of(request(job={"nodeSelector": {}, "resources": {}}), policy(job=places)))

    assert (default["nodeSelector"], default["containers"][0]["resources"]) == (
        {"disk": "ssd"},
        {"limits": {"memory": "2Gi"}},
    )
    assert (other["nodeSelector"], other["containers"][0]["resources"]) == (
        {"zone": "b"},
        {"limits": {"memory": "2Gi"}},
    )
    assert "nodeSelector" not in anywhere
    assert anywhere["containers"][0]["resources"] == WORKER.resources


@pytest.mark.parametrize(
    ("job", "size", "size_bytes"),
    [({}, "4Gi", 4 << 30), ({"deadline": "1h"}, "4Gi", 4 << 30), ({"scratchSize": "20G"}, "20G", 20 * 10**9)],
    ids=["the settings'", "the settings' in a job without it", "its own"],
)
def test_a_redis_worker_knows_how_much_its_scratch_volume_may_hold(job: dict[str, Any], size: str, size_bytes: int):
    made = job_of(request(target={"redis": {}}, job=job), policy(source=REDIS))

    scratch = next(volume for volume in pod_in(made)["volumes"] if volume["name"] == "scratch")
    order = order_in(made).redis
    assert scratch["emptyDir"] == {"sizeLimit": size}
    assert order is not None
    assert order.scratch_bytes == size_bytes


def test_a_backup_on_a_claim_of_the_operators_making_comes_from_there():
    job = job_of(request(), policy(storage={"claimTemplate": {"size": "1Gi"}}))

    store = next(volume for volume in pod_in(job)["volumes"] if volume["name"] == "store")
    assert store["persistentVolumeClaim"] == {"claimName": "app-db-backups"}
    assert order_in(job).store.described == "claim prod/app-db-backups"


@pytest.mark.parametrize(
    ("one", "of", "secret"),
    [
        (request(), policy(), "app/SUPABASE_DB_URL"),
        (request(target={"postgres": {"urlSecretRef": {"name": "b", "key": "U"}}}), policy(), "b/U"),
        (request(**EVERYTHING), None, "new/URL"),
    ],
    ids=["the source's", "its own", "from a store"],
)
def test_the_target_is_told_by_the_secret_of_its_url(one: RestoreRequest, of: BackupPolicy | None, secret: str):
    assert target_secret(one, of) == secret


@pytest.mark.parametrize(
    ("one", "of", "words"),
    [
        (request(), None, "names a policy, and none was given"),
        (request(), policy(source=REDIS), "makes backups of Redis only"),
        (
            request(
                target={"redisVolume": {"claimName": "data", "workloadRef": {"kind": "StatefulSet", "name": "redis"}}},
                confirm="data",
            ),
            policy(source=REDIS),
            "redisVolume",
        ),
    ],
    ids=["no policy", "another kind", "a volume"],
)
def test_what_is_refused_makes_no_job(one: RestoreRequest, of: BackupPolicy | None, words: str):
    with pytest.raises(ValueError, match=words):
        job_of(one, of)


def test_the_longest_order_fits_the_annotations_of_a_pod():
    name, key = "n" * 253, "k" * 253
    refs = [{"name": name, "key": key} for _ in range(11)]
    checks = [{"name": "c" * 63, "sql": "é" * 2000, "equals": "1"} for _ in range(49)]
    spec: dict[str, Any] = {
        "from": {"store": {**STORE, "encryption": _encryption(refs)}},
        "target": {"postgres": {"urlSecretRef": refs[0], "tls": {"caSecretRef": refs[0]}, "database": "d" * 63}},
        "checks": checks,
    }
    one = request(name, "n" * 63, **spec)
    raw = {"metadata": one.metadata.model_dump(), "spec": one.spec.model_dump(mode="json", by_alias=True)}

    assert judge_restore_request(raw)[1].accepted
    annotations = job_of(one)["spec"]["template"]["metadata"]["annotations"]
    assert sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) < 256 * 1024


def _encryption(refs: list[dict[str, str]]) -> dict[str, Any]:
    return {"passphraseSecretRef": refs[0], "previousPassphraseSecretRefs": refs[1:]}

"""Every way in which a run fails on a cluster is told apart, is visible to a person with kubectl, and heals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.telling import (
    FAILED_WITHIN_SECONDS,
    NOT_STARTED_WITHIN_SECONDS,
    assert_all_is_well,
    assert_heals,
    assert_is_told,
    ordered,
)
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers


@dataclass(frozen=True)
class Fault:
    """What is wrong with a ground that is otherwise good."""

    reason: str
    source: dict[str, Any] = field(default_factory=objects.postgres_source)
    secret: Callable[[Servers], dict[str, str]] = lambda _: {}
    """Values of Secret `app` that are wrong."""
    spec: dict[str, Any] = field(default_factory=dict)
    """Fields of the policy that are wrong."""
    healed_spec: dict[str, Any] = field(default_factory=dict)
    """The same fields, put right."""
    job: Callable[[dict[str, Any]], None] | None = None
    """What is wrong with this one Job only."""
    within_seconds: float = FAILED_WITHIN_SECONDS
    """From the start of the run to the condition."""


def _with_image(job: dict[str, Any]) -> None:
    job["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/backup-operator-worker:none"


def _with_command(job: dict[str, Any]) -> None:
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["/nowhere"]


FAULTS = [
    pytest.param(
        Fault(
            "AuthenticationFailed", secret=lambda servers: {"SUPABASE_DB_URL": servers.postgres_url(password="wrong")}
        ),
        id="wrong password of PostgreSQL",
    ),
    pytest.param(
        Fault(
            "AuthenticationFailed",
            source=objects.redis_source(),
            secret=lambda servers: {"REDIS_URL": servers.redis_url(password="wrong")},
        ),
        id="wrong password of Redis",
    ),
    pytest.param(
        Fault("DatabaseMissing", secret=lambda servers: {"SUPABASE_DB_URL": servers.postgres_url("missing")}),
        id="missing database",
    ),
    pytest.param(
        Fault(
            "ConnectionRefused",
            secret=lambda servers: {"SUPABASE_DB_URL": servers.postgres_url(port=objects.CLOSED_PORT)},
        ),
        id="nothing listens on the port of PostgreSQL",
    ),
    pytest.param(
        Fault(
            "ConnectionRefused",
            source=objects.redis_source(),
            secret=lambda servers: {"REDIS_URL": servers.redis_url(port=objects.CLOSED_PORT)},
        ),
        id="nothing listens on the port of Redis",
    ),
    pytest.param(
        Fault("NameNotResolved", secret=lambda _: {"SUPABASE_DB_URL": "postgresql://u:p@nowhere.invalid/app"}),
        id="unknown host",
    ),
    pytest.param(Fault("KeyInvalid", secret=lambda _: {"BACKUP_ENCRYPTION_KEY": "short"}), id="short passphrase"),
    pytest.param(Fault("KeyInvalid", secret=lambda _: {"BACKUP_ENCRYPTION_KEY": ""}), id="empty passphrase"),
    pytest.param(
        Fault(
            "FilterMatchesNothing",
            source=objects.postgres_source(tables={"exclude": ['public."Users"']}),
            healed_spec={"source": objects.postgres_source(tables={"exclude": ["public.visits"]})},
        ),
        id="filter that matches nothing",
    ),
    pytest.param(
        Fault(
            "OutOfMemory",
            spec={"job": {"resources": {"limits": {"memory": "16Mi"}}, "backoffLimit": 0}},
            healed_spec={"job": {"resources": {"limits": {"memory": "512Mi"}}, "backoffLimit": 0}},
        ),
        id="worker killed for its memory",
    ),
    pytest.param(
        Fault(
            "Unschedulable",
            spec={"job": {"nodeSelector": {"no-node-has": "this-label"}}},
            healed_spec={"job": None},
            within_seconds=NOT_STARTED_WITHIN_SECONDS,
        ),
        id="no node takes the pod",
    ),
    pytest.param(
        Fault(
            "ClaimMissing",
            spec={"storage": {"claimName": "missing"}},
            healed_spec={"storage": {"claimName": "backups"}},
            within_seconds=NOT_STARTED_WITHIN_SECONDS,
        ),
        id="missing claim",
    ),
    pytest.param(
        Fault(
            "ClaimPending",
            spec={"storage": {"claimName": "never"}},
            healed_spec={"storage": {"claimName": "backups"}},
            within_seconds=NOT_STARTED_WITHIN_SECONDS,
        ),
        id="claim that no one provides",
    ),
    pytest.param(Fault("ImageUnavailable", job=_with_image), id="image that cannot be pulled"),
    pytest.param(Fault("ContainerRefused", job=_with_command), id="container that cannot be started"),
    pytest.param(
        Fault("OrderInvalid", job=ordered(lambda order: order.update(version=99))),
        id="order of another version",
    ),
    pytest.param(
        Fault("UrlInvalid", secret=lambda _: {"SUPABASE_DB_URL": "https://app.example.com"}),
        id="URL that is none of a database",
    ),
    pytest.param(
        Fault("SourceEmpty", secret=lambda servers: {"SUPABASE_DB_URL": servers.postgres_url("template1")}),
        id="database without a table",
    ),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_is_named_and_heals_with_the_next_good_run(ground: Namespace, servers: Servers, fault: Fault):
    ground.apply(
        servers.app_secret(**fault.secret(servers)), objects.claim("never", storageClassName="nobody-provides")
    )
    ground.apply(objects.backup_policy("app", fault.source, **fault.spec))
    policy = Policy(ground, "app")

    policy.start("fails", change=fault.job)

    assert_is_told(policy, fault.reason, within_seconds=fault.within_seconds)
    ground.apply(servers.app_secret())
    ground.delete("job", "fails")
    ground.patch("backuppolicy", "app", {"spec": fault.healed_spec})
    assert_heals(policy)


def test_a_missing_secret_is_named_with_the_command_that_makes_it(namespace: Namespace, servers: Servers):
    namespace.apply(objects.claim("backups"), objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(namespace, "app")

    policy.start("fails")

    assert_is_told(policy, "SecretMissing")
    assert "kubectl" in policy.status["lastFailedBackup"]["hint"]
    namespace.apply(servers.app_secret())
    assert_heals(policy)


def test_a_key_that_is_missing_in_its_secret_is_named(namespace: Namespace, servers: Servers):
    half = servers.app_secret()
    del half["stringData"]["BACKUP_ENCRYPTION_KEY"]
    namespace.apply(half, objects.claim("backups"), objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(namespace, "app")

    policy.start("fails")

    assert_is_told(policy, "SecretMissing")
    assert "BACKUP_ENCRYPTION_KEY" in policy.status["lastFailedBackup"]["message"]
    namespace.apply(servers.app_secret())
    assert_heals(policy)


def test_a_table_that_the_role_may_not_read_is_named(ground: Namespace, servers: Servers):
    database = servers.create_database("guarded", b"CREATE TABLE open (a int); CREATE TABLE secrets (a int);")
    database.query("CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON open TO reader;")
    url = servers.postgres_url("guarded", user="reader", password="reader")
    ground.apply(servers.app_secret(SUPABASE_DB_URL=url), objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    policy.start("fails")

    assert_is_told(policy, "PermissionDenied")
    assert "secrets" in policy.conditions["LastRunSucceeded"]["message"]
    database.query("GRANT SELECT ON secrets TO reader;")
    assert_heals(policy)


def test_a_role_without_a_free_connection_is_named(ground: Namespace, servers: Servers):
    database = servers.create_database("crowded", b"CREATE TABLE seats AS SELECT 1 AS a;")
    database.query("CREATE ROLE guest LOGIN PASSWORD 'guest' CONNECTION LIMIT 0; GRANT SELECT ON seats TO guest;")
    url = servers.postgres_url("crowded", user="guest", password="guest")
    ground.apply(servers.app_secret(SUPABASE_DB_URL=url), objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    policy.start("fails")

    assert_is_told(policy, "TooManyConnections")
    database.query("ALTER ROLE guest CONNECTION LIMIT -1;")
    ground.delete("job", "fails")
    assert_heals(policy)


def test_a_dump_whose_connection_is_cut_is_named(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("cut")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("cut"):
        policy.start("fails", change=lambda job: job["spec"].update(backoffLimit=0))
        waits = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LOCK TABLE public.busy%'"
        wait_until(
            lambda: servers.database("cut").query(f"SELECT count(*) {waits}"),
            lambda found: found != ["0"],
            for_what="pg_dump waits",
        )
        servers.database("cut").query(f"SELECT pg_terminate_backend(pid) {waits}")
        assert_is_told(policy, "ConnectionLost")

    assert_heals(policy)


def test_what_the_namespace_s_quota_forbids_is_told_in_the_api_server_s_words(ground: Namespace):
    ground.apply(quota({"count/cronjobs.batch": "0"}), objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    refused = policy.wait_for("Scheduled", "False", "ApplyRefused")
    assert "exceeded quota" in refused["message"]

    ground.apply(quota({"pods": "0"}))
    policy.start("fails")
    assert_is_told(policy, "PodRefused")
    assert "exceeded quota" in policy.status["lastFailedBackup"]["message"]

    ground.delete("resourcequota", "tight")
    assert policy.wait_for_job("fails") == "Complete"
    assert_all_is_well(policy)


def quota(hard: dict[str, str]) -> dict[str, Any]:
    """What the namespace may hold."""
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": hard}}


def test_a_job_over_its_deadline_is_named_though_its_pod_is_deleted(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("locked")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("locked"):
        policy.start("fails", change=lambda job: job["spec"].update(activeDeadlineSeconds=8))
        assert_is_told(policy, "DeadlineExceeded")

    assert_heals(policy)


def test_a_store_that_belongs_to_someone_else_is_named(ground: Namespace):
    # a volume's first worker pod gives all of it to the worker's group; what comes later stays as it is
    ground.apply(objects.backup_policy("first", objects.redis_source()))
    Policy(ground, "first").back_up("first")
    store = f"/backups/{ground.name}/app"
    run_once(ground, "owner", f"mkdir -p -m 0755 {store}; chown 0:0 {store}; chmod 0700 {store}")
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")

    policy.start("fails")

    assert_is_told(policy, "StorePermission")
    run_once(ground, "giver", f"chown -R 65532:65532 {store}")
    assert_heals(policy)


def run_once(namespace: Namespace, name: str, script: str) -> None:
    """A script of root on claim `backups`."""
    mounts = [{"name": "store", "mountPath": "/backups"}]
    container = {"command": ["bash", "-ec", script], "securityContext": {"runAsUser": 0}, "volumeMounts": mounts}
    made = objects.pod(name, container, [{"name": "store", "persistentVolumeClaim": {"claimName": "backups"}}])
    made["spec"]["restartPolicy"] = "Never"
    namespace.apply(made)
    wait_until(
        lambda: namespace.get("pod", name)["status"]["phase"],
        lambda phase: phase == "Succeeded",
        for_what=f"pod {name}",
    )


def test_a_claim_that_another_pod_holds_alone_is_named_and_the_same_job_goes_on_when_it_is_free(ground: Namespace):
    ground.apply(objects.claim("alone", accessModes=["ReadWriteOncePod"]))
    container = {"command": ["sleep", "infinity"], "volumeMounts": [{"name": "store", "mountPath": "/backups"}]}
    holder = objects.pod("holder", container, [{"name": "store", "persistentVolumeClaim": {"claimName": "alone"}}])
    ground.apply(holder)
    ground.wait_for_pod("holder")
    ground.apply(objects.backup_policy("app", objects.redis_source(), storage={"claimName": "alone"}))
    policy = Policy(ground, "app")

    policy.start("waits")

    assert_is_told(policy, "ClaimInUse", within_seconds=NOT_STARTED_WITHIN_SECONDS)
    ground.delete("pod", "holder")
    assert policy.wait_for_job("waits") == "Complete"
    policy.wait_for("Ready", "True", "Ready")

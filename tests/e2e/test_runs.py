"""Runs on a cluster: by hand and on schedule, two at once, suspended, edited, and what the status says of them."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.telling import assert_all_is_well, wait_for_running_pod
from tests.support import objects
from tests.support.kubectl import Namespace, create_namespace
from tests.support.policies import RUN_SECONDS, Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers

BACKUP_JOBS = "backup.agentsflow.ai/work=backup"
"""Label selector of the Jobs that make backups; an inventory reads only."""


def test_a_policy_tells_its_whole_story_in_status_and_columns(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.postgres_source(), schedule="0 3 * * *"))
    policy = Policy(ground, "app")
    policy.wait_for("Accepted", "True", "Accepted")
    policy.wait_for("Scheduled", "True", "Scheduled")
    policy.wait_for("LastRunSucceeded", "Unknown", "NeverRun")
    policy.wait_for("Fresh", "False", "NeverSucceeded")
    assert policy.columns["READY"] == "False (NeverRun)"

    good = policy.back_up("app-now")

    policy.wait_for("Ready", "True", "Ready")
    policy.wait_for("Fresh", "True", "WithinObjective")
    status = policy.status
    assert re.fullmatch(r"backup_\d{8}_\d{6}", good["name"])
    assert good["rows"] == 1500
    assert good["verified"] is True
    assert good["sizeBytes"] > 1000
    assert moment(good["startedAt"]) <= moment(good["completedAt"])
    assert [line["name"] for line in status["backups"]] == [good["name"]]
    assert status["backupCount"] == 1
    assert status["oldestBackupAt"] == good["startedAt"]
    assert status["storage"]["capacityBytes"] >= status["storage"]["usedBytes"] >= status["storage"]["storeBytes"] > 0
    assert "activeBackup" not in status
    assert moment(status["nextBackupAt"]).hour == 3
    assert {condition["observedGeneration"] for condition in policy.conditions.values()} == {1}
    columns = policy.columns
    assert columns["FRESH"] == columns["READY"] == "True"
    assert columns["SCHEDULE"] == "0 3 * * *"
    assert "PostgreSQL" in columns["SOURCE"]


def test_a_run_starts_on_schedule(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source(), schedule="@every 2s"))
    policy = Policy(ground, "app")

    # the controller looks at CronJobs every ten seconds or when one changes
    wait_until(
        lambda: policy.status,
        lambda seen: seen.get("backupCount", 0) >= 2,
        for_what="two backups",
        timeout_seconds=RUN_SECONDS,
    )

    ground.patch("backuppolicy", "app", {"spec": {"suspend": True}})
    policy.wait_for("Scheduled", "False", "Suspended")
    jobs = ground.list("job", BACKUP_JOBS)
    assert jobs
    assert all(owner["kind"] == "CronJob" for job in jobs for owner in job["metadata"]["ownerReferences"])


def test_suspend_schedule_and_time_zone_edits_reach_the_cronjob_and_the_status(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source(), schedule="30 2 * * *"))
    policy = Policy(ground, "app")
    policy.wait_for("Scheduled", "True")
    next_utc = moment(policy.status["nextBackupAt"])
    assert (next_utc.hour, next_utc.minute) == (2, 30)

    ground.patch("backuppolicy", "app", {"spec": {"timeZone": "Asia/Kolkata", "schedule": "45 2 * * *"}})
    wait_until(
        lambda: policy.cronjob["spec"]["timeZone"], lambda zone: zone == "Asia/Kolkata", for_what="the time zone"
    )
    moved = wait_until(
        lambda: policy.status,
        lambda seen: seen.get("observedGeneration") == 2 and "nextBackupAt" in seen,
        for_what="the status of the edit",
    )
    next_kolkata = moment(moved["nextBackupAt"])
    assert (next_kolkata.hour, next_kolkata.minute) == (21, 15)
    assert policy.cronjob["spec"]["schedule"] == "45 2 * * *"

    ground.patch("backuppolicy", "app", {"spec": {"suspend": True}})
    policy.wait_for("Scheduled", "False", "Suspended")
    assert policy.cronjob["spec"]["suspend"] is True
    assert "nextBackupAt" not in policy.status
    policy.back_up("by-hand-while-suspended")

    ground.patch("backuppolicy", "app", {"spec": {"suspend": False}})
    policy.wait_for("Scheduled", "True")
    policy.wait_for("Ready", "True")


def test_a_wrong_edit_is_refused_in_words_and_the_last_accepted_cronjob_stays(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    policy.wait_for("Scheduled", "True")
    before = policy.cronjob

    ground.patch("backuppolicy", "app", {"spec": {"timeZone": "Mars/Olympus", "schedule": "0 5 * * *"}})

    refused = policy.wait_for("Accepted", "False", "InvalidSpec")
    assert "Mars/Olympus" in refused["message"]
    assert policy.cronjob["spec"] == before["spec"]


def test_two_runs_at_once_leave_two_good_backups(ground: Namespace, opener):
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    policy.start("first")
    policy.start("second")

    assert {policy.wait_for_job("first"), policy.wait_for_job("second")} == {"Complete"}
    wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 2, for_what="both backups")
    names = [line["name"] for line in policy.status["backups"]]
    assert len(set(names)) == 2
    opened = opener()
    store = f"{ground.name}/app"
    for name in names:
        restored = opened.load_plain(store, f"{name}.sql.gz.gpg", f"copy_{name}")
        assert restored.rows_per_table() == {"public.users": 1000, "public.visits": 500}


def test_a_scheduled_run_and_one_by_hand_at_the_same_moment_leave_two_good_backups(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("meeting")))
    policy = Policy(ground, "app")

    with servers.a_locked_table("meeting"):
        # neither run can end before both have begun; the minute may be over as soon as the policy is there
        ground.apply(objects.backup_policy("app", objects.postgres_source(), schedule="* * * * *"))
        (fired,) = wait_until(
            lambda: ground.list("job", BACKUP_JOBS), bool, for_what="the CronJob fires", timeout_seconds=RUN_SECONDS
        )
        policy.start("by-hand")
        ground.patch("backuppolicy", "app", {"spec": {"schedule": "0 0 1 1 *"}})
        for job in (fired["metadata"]["name"], "by-hand"):
            wait_for_running_pod(ground, job)

    assert [owner["kind"] for owner in fired["metadata"]["ownerReferences"]] == ["CronJob"]
    assert "cronjob.kubernetes.io/instantiate" not in fired["metadata"].get("annotations", {})
    ended = {policy.wait_for_job(job) for job in (fired["metadata"]["name"], "by-hand")}
    assert ended == {"Complete"}
    wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 2, for_what="both backups")
    assert len({line["name"] for line in policy.status["backups"]}) == 2
    assert_all_is_well(policy)


def test_a_deleted_policy_leaves_its_backups_and_a_new_one_knows_them_all(ground: Namespace, opener):
    manifest = objects.backup_policy("app", objects.redis_source())
    ground.apply(manifest)
    policy = Policy(ground, "app")
    policy.back_up("first")
    policy.back_up("second")
    before = policy.status

    ground.delete("backuppolicy", "app")
    wait_until(lambda: ground.list("cronjob"), lambda found: not found, for_what="the CronJob is gone")
    assert ground.get("pvc", "backups")["status"]["phase"] == "Bound"
    ground.apply(manifest)

    after = wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 2, for_what="the inventory")
    assert after["backups"] == before["backups"]
    assert after["lastSuccessfulBackup"]["name"] == before["lastSuccessfulBackup"]["name"]
    assert after["oldestBackupAt"] == before["oldestBackupAt"]
    policy.wait_for("Fresh", "True")
    stored = [name for name in opener().files(f"{ground.name}/app") if name.endswith(".rdb.gz.gpg")]
    assert sorted(f"{line['name']}.rdb.gz.gpg" for line in after["backups"]) == stored


def test_a_name_of_253_characters_works_like_any_other(ground: Namespace):
    name = ("a-very-long-name." * 15)[:252] + "z"
    assert len(name) == 253
    ground.apply(objects.backup_policy(name, objects.redis_source()))
    policy = Policy(ground, name)

    good = policy.back_up("by-hand")

    assert policy.wait_for("Ready", "True")
    assert good["keys"] == 100
    assert len(policy.cronjob["metadata"]["name"]) <= 52


def test_two_policies_with_the_same_long_beginning_do_not_meet(ground: Namespace):
    names = [f"{'same-' * 12}{end}" for end in ("one", "two")]
    ground.apply(*(objects.backup_policy(name, objects.redis_source()) for name in names))
    policies = [Policy(ground, name) for name in names]

    policies[0].back_up("only-one")

    assert policies[0].cronjob["metadata"]["name"] != policies[1].cronjob["metadata"]["name"]
    assert policies[1].conditions["LastRunSucceeded"]["reason"] == "NeverRun"


def test_drift_is_repaired(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source(), schedule="0 3 * * *"))
    policy = Policy(ground, "app")
    name = policy.wait_for_cronjob()

    ground.patch("cronjob", name, {"spec": {"schedule": "0 4 * * *", "suspend": True, "concurrencyPolicy": "Allow"}})
    repaired = wait_until(
        lambda: policy.cronjob["spec"],
        lambda spec: spec["schedule"] == "0 3 * * *" and not spec["suspend"],
        for_what="the repair",
    )
    assert repaired["concurrencyPolicy"] == "Forbid"

    ground.kubectl("set", "env", f"cronjob/{name}", "PGOPTIONS=--statement_timeout=1")
    elsewhere = {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}
    ground.patch("cronjob", name, {"spec": {"jobTemplate": {"spec": elsewhere}}})
    wait_until(
        lambda: pod_of(policy.cronjob),
        lambda spec: "nodeSelector" not in spec and "PGOPTIONS" not in str(spec["containers"][0].get("env", [])),
        for_what="what was added is gone",
    )

    uid = policy.cronjob["metadata"]["uid"]
    ground.delete("cronjob", name)
    wait_until(
        lambda: policy.cronjob, lambda found: found.get("metadata", {}).get("uid", uid) != uid, for_what="a new CronJob"
    )


def pod_of(cronjob: dict[str, Any]) -> dict[str, Any]:
    """The spec of the pods that a CronJob makes."""
    return dict(cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def test_a_second_namespace_has_its_own_policy_of_the_same_name(
    ground: Namespace, servers: Servers, operator: Namespace
):
    other = create_namespace(f"{ground.name}-b")
    try:
        for space in (ground, other):
            space.apply(servers.app_secret(), objects.claim("backups"))
            space.apply(objects.backup_policy("app", objects.redis_source()))
        good = Policy(other, "app").back_up("now")
        assert good["keys"] == 100
        assert Policy(ground, "app").conditions["LastRunSucceeded"]["reason"] == "NeverRun"
        assert ground.list("job", BACKUP_JOBS) == []
    finally:
        other.kubectl("delete", "namespace", other.name, "--wait=false")


def test_two_policies_on_one_path_are_refused(ground: Namespace):
    storage = {"claimName": "backups", "path": "shared/path"}
    ground.apply(objects.backup_policy("first", objects.redis_source(), storage=storage))
    Policy(ground, "first").wait_for("Accepted", "True")

    ground.apply(objects.backup_policy("second", objects.redis_source(), storage=storage))

    refused = Policy(ground, "second").wait_for("Accepted", "False", "PathTaken")
    assert "first" in refused["message"]
    assert Policy(ground, "second").cronjob == {}
    assert Policy(ground, "first").conditions["Accepted"]["status"] == "True"


def test_a_run_in_progress_is_shown(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("slow")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("slow"):
        policy.start("slow-one")
        active = wait_until(lambda: policy.status.get("activeBackup", {}), bool, for_what="the run in progress")

    assert active["jobName"] == "slow-one"
    assert datetime.now(UTC) - moment(active["since"]) < timedelta(minutes=2)
    assert policy.wait_for_job("slow-one", timeout_seconds=RUN_SECONDS) == "Complete"
    wait_until(lambda: policy.status, lambda seen: "activeBackup" not in seen, for_what="no run in progress")


def test_a_worker_killed_in_the_middle_is_tried_again(ground: Namespace, servers: Servers, opener):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("killed")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("killed"):
        policy.start("killed-once")
        pod = wait_for_running_pod(ground, "killed-once")
        first = wait_for_dump(servers, "killed")
        ground.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
        # another dump begins when the end of the killed worker has freed the store: it cannot end well any more
        wait_for_dump(servers, "killed", beside=first)

    assert policy.wait_for_job("killed-once") == "Complete"
    policy.wait_for("Ready", "True")
    names = [line["name"] for line in policy.status["backups"]]
    files = [name for name in opener().files(f"{ground.name}/app") if name.startswith("backup_")]
    assert sorted(files) == sorted(f"{name}{ending}" for name in names for ending in (".json", ".sql.gz.gpg"))
    assert len(names) == 1


def wait_for_dump(servers: Servers, database: str, *, beside: Collection[str] = ()) -> Collection[str]:
    """The server's processes of the dumps that stand before the locked table, once there is another than those."""
    stands = "SELECT pid FROM pg_locks WHERE relation = 'busy'::regclass AND NOT granted"
    return wait_until(
        lambda: servers.database(database).query(stands),
        lambda found: set(found) - set(beside),
        for_what="a dump that waits",
        timeout_seconds=RUN_SECONDS,
    )


def moment(text: str) -> datetime:
    """A time of the API server."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"drill": {"schedule": "0 4 1 * *"}}, id="drill"),
        pytest.param({"objectives": {"rpo": "25h", "rto": "2h"}}, id="objectives.rto"),
        pytest.param({"source": objects.redis_source(method="Scan")}, id="source.redis.method"),
        pytest.param(
            {"source": objects.redis_source(appendOnly={"claimName": "data", "path": "aof", "runAsUser": 999})},
            id="source.redis.appendOnly",
        ),
    ],
)
def test_a_feature_that_is_not_built_is_answered_and_not_ignored(ground: Namespace, spec, request):
    ground.apply(objects.backup_policy("app", **{"source": objects.redis_source(), **spec}))

    refused = Policy(ground, "app").wait_for("Accepted", "False", "NotYetSupported")

    assert request.node.callspec.id.rpartition(".")[2] in refused["message"]
    assert Policy(ground, "app").cronjob == {}

"""The traps of the old host scripts that concern backups: the index, and those that nothing else shows on a cluster.

| the old way | where it is shown that ours is another |
|---|---|
| `redis-cli --rdb -` left 40 bytes of end mark in the stream | integration/redis/test_dump.py, e2e/test_everything.py |
| a pipe without pipefail stored an empty backup on a wrong password | here |
| `gpg --passphrase "$KEY"` showed the key to `ps` | e2e/test_secrecy.py |
| `head -20` passed a cut file as whole | integration/worker/test_backup.py, integration/stages |
| "fresh" by the time of any file | here |
| a schedule that cannot meet the wanted freshness went unnoticed | here |
| `KEYS *` blocked a production Redis | here |
| quotes in the environment file stayed in the URL | e2e/test_secrecy.py |
| a pooler in transaction mode, a hidden `current_database()` | integration/postgres, e2e/test_sources.py |
"""

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers


def test_a_wrong_password_leaves_no_backup_behind(ground: Namespace, servers: Servers, opener):
    """`pg_dump | gzip | gpg` ended with 0 and a valid, encrypted, empty file."""
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url(password="wrong")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    policy.start("fails")

    assert policy.wait_for_job("fails") == "Failed"
    left = [name for name in opener().files(f"{ground.name}/app") if name.startswith("backup_")]
    assert left == []


def test_a_newer_file_makes_no_backup_fresh(ground: Namespace):
    """The old monitor looked at the newest file's time, so a broken file counted."""
    store = f"/backups/{ground.name}/app"
    names = ("backup_20990101_000000.sql.gz.gpg", "backup_20990101_000000.json", "redis_20990101_000000.rdb.gz.gpg")
    writing = "; ".join(f"echo broken > {store}/{name}" for name in names)
    ground.apply(a_pod_of_the_worker_s_user(f"umask 077; mkdir -p {store}; {writing}"))
    wait_until(
        lambda: ground.get("pod", "writer")["status"]["phase"], lambda phase: phase == "Succeeded", for_what="the files"
    )

    ground.apply(objects.backup_policy("app", objects.redis_source()))

    policy = Policy(ground, "app")
    wait_until(lambda: policy.status, lambda seen: "backupCount" in seen, for_what="the inventory")
    assert policy.status["backupCount"] == 0
    policy.wait_for("Fresh", "False", "NeverSucceeded")
    good = policy.back_up("now")
    assert [line["name"] for line in policy.status["backups"]] == [good["name"]]


def a_pod_of_the_worker_s_user(script: str) -> objects.Manifest:
    """Runs the script once, on claim `backups`, under the worker's uid and group."""
    container = {"command": ["bash", "-ec", script], "volumeMounts": [{"name": "store", "mountPath": "/backups"}]}
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": "backups"}}
    made = objects.pod("writer", container, [volume])
    made["spec"] |= {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
    }
    return made


def test_a_schedule_that_cannot_meet_its_objective_is_said(ground: Namespace):
    """A recovery point of 15 minutes was promised with a daily job."""
    ground.apply(objects.backup_policy("app", objects.redis_source(), schedule="0 2 * * *", objectives={"rpo": "15m"}))

    said = Policy(ground, "app").wait_for("Accepted", "True")

    assert "15m" in said["message"]
    assert "24h" in said["message"] or "1d" in said["message"]


def test_a_backup_of_redis_asks_for_no_keys(namespace: Namespace):
    own = Servers(namespace, "counted commands")
    own.start("redis")
    with own.redis_client() as client:
        client.mset({f"key:{number}": number for number in range(1000)})
        namespace.apply(own.app_secret(SUPABASE_DB_URL="unused"), objects.claim("backups"))
        namespace.apply(objects.backup_policy("app", objects.redis_source()))

        good = Policy(namespace, "app").back_up("now")

        asked = set(client.info("commandstats"))
    assert good["keys"] == 1000
    assert {"cmdstat_keys", "cmdstat_flushall", "cmdstat_save", "cmdstat_shutdown"} & asked == set()
    assert "cmdstat_sync" in asked

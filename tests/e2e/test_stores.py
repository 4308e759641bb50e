"""Volumes that are full, nearly full, read-only, in use or made to order: what is said of each, and that it heals."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.telling import (
    assert_all_is_well,
    assert_heals,
    assert_is_told,
    event_reasons,
    ordered,
    wait_for_running_pod,
)
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.node import Node
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers

DISK_MEBIBYTES = 16


def test_a_store_that_another_run_holds_is_told_and_both_end_well(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("held")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("held"):
        policy.start("holds")
        holder = wait_for_running_pod(ground, "holds")["metadata"]["name"]
        wait_for_dump(servers, "held")
        policy.start("waits", change=ordered(lambda order: order.update(store_lock_timeout="PT2S")))
        failed = assert_is_told(policy, "StoreBusy")
        assert holder in failed["message"]
        assert f"kubectl -n {ground.name} logs {holder}" in failed["hint"]

    assert {policy.wait_for_job("holds"), policy.wait_for_job("waits")} == {"Complete"}
    wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 2, for_what="both backups")
    assert_all_is_well(policy)


def wait_for_dump(servers: Servers, database: str) -> None:
    """Until pg_dump stands before the table that is locked: the run holds its store and has written nothing yet."""
    stands = "SELECT count(*) FROM pg_locks WHERE relation = 'busy'::regclass AND NOT granted"
    wait_until(lambda: servers.database(database).query(stands), lambda found: found != ["0"], for_what="pg_dump waits")


@dataclass(frozen=True)
class SmallDisk:
    """A file system of a few mebibytes on the node, behind claim `small`."""

    node: Node
    volume: str

    @property
    def path(self) -> str:
        """On the node."""
        return self.node.disk_path(self.volume)

    def leave(self, free_bytes: int) -> None:
        """Fill it up to so many bytes, as somebody else's files do."""
        filler = f"{self.path}/filler"
        fill = f"rm -f {filler}; free=$(df --output=avail -B1 {self.path} | tail -n 1); "
        self.node.run("sh", "-ec", f"{fill} head -c $((free - {free_bytes})) /dev/zero > {filler}")

    def clear(self) -> None:
        """Take the filler away."""
        self.node.run("rm", "-f", f"{self.path}/filler")

    def files(self) -> list[str]:
        """Names of all files on it."""
        return self.node.run("find", self.path, "-type", "f", "-printf", "%f\\n").splitlines()


@pytest.fixture
def small_disk(ground: Namespace) -> Iterator[SmallDisk]:
    node = Node(ground)
    node.start()
    volume = f"small-{ground.name[-8:]}"
    small = objects.claim("small", f"{DISK_MEBIBYTES}Mi", storageClassName=volume, volumeName=volume)
    ground.apply(node.mount_small_disk(volume, mebibytes=DISK_MEBIBYTES), small)
    yield SmallDisk(node, volume)
    node.unmount(volume)
    ground.kubectl("delete", "persistentvolume", volume, "--wait=false")


def test_a_disk_that_is_full_at_the_start_in_the_middle_or_at_the_entry_is_told_apart(
    ground: Namespace, servers: Servers, small_disk: SmallDisk
):
    ground.apply(objects.backup_policy("app", objects.postgres_source(), storage={"claimName": "small"}))
    policy = Policy(ground, "app")

    small_disk.leave(512 * 1024)
    policy.start("at-the-start")
    words = what_is_told(policy, "at-the-start")
    assert re.search(r"too full to begin: 5\d\d\.\d KiB are free, the run may need", words)
    small_disk.clear()

    servers.create_database("large", NOISE)
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("large")))
    policy.start("in-the-middle")
    words = what_is_told(policy, "in-the-middle")
    assert "is full: No space left on device, while writing backup_" in words
    assert ".sql.gz.gpg" in words

    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("wordy")))
    with servers.a_locked_table("wordy"):
        servers.database("wordy").query(MANY_LONG_NAMES)
        policy.start("at-the-entry")
        wait_for_dump(servers, "wordy")
        small_disk.leave(ENOUGH_FOR_THE_DUMP_BYTES)
    words = what_is_told(policy, "at-the-entry")
    assert "is full: No space left on device, while writing backup_" in words
    assert ".json" in words
    small_disk.clear()

    assert [name for name in small_disk.files() if name.startswith("backup_")] == []
    ground.apply(servers.app_secret())
    assert_heals(policy)


NOISE = b"CREATE TABLE noise AS SELECT gen_random_uuid(), gen_random_uuid() AS b FROM generate_series(1, 700000);"
"""More than the disk takes, though a twentieth of it fits, which is all that is asked for at the start."""
MANY_LONG_NAMES = """
    DO $$ BEGIN
      FOR n IN 1..800 LOOP EXECUTE format('CREATE TABLE %I (a integer)', 'table_' || repeat('a', 48) || n); END LOOP;
    END $$
"""
"""Their dump shrinks to about 20 KB; the entry, which names each with its rows, takes 60 KB."""
ENOUGH_FOR_THE_DUMP_BYTES = 44 * 1024


def what_is_told(policy: Policy, job: str) -> str:
    """The message of the run, once it is the one that failed last."""
    wait_until(
        lambda: policy.status.get("lastFailedBackup", {}),
        lambda failed: failed.get("jobName") == job,
        for_what=f"{job} has failed",
    )
    return str(assert_is_told(policy, "StorageFull")["message"])


def test_a_volume_that_turned_read_only_is_told(ground: Namespace, small_disk: SmallDisk):
    """As a node does after an error on the disk."""
    ground.apply(objects.backup_policy("app", objects.redis_source(), storage={"claimName": "small"}))
    policy = Policy(ground, "app")
    first = policy.back_up("first")
    small_disk.node.run("mount", "-o", "remount,ro", small_disk.path)

    policy.start("fails")

    failed = assert_is_told(policy, "ClaimReadOnly", listed=[first["name"]])
    assert f"claim {ground.name}/small" in failed["message"]
    small_disk.node.run("mount", "-o", "remount,rw", small_disk.path)
    second = policy.back_up("heals")
    assert_all_is_well(policy)
    assert [line["name"] for line in policy.status["backups"]] == [second["name"], first["name"]]


def test_a_volume_above_its_limit_is_told_before_it_is_full(ground: Namespace, small_disk: SmallDisk):
    ground.apply(objects.backup_policy("app", objects.redis_source(), storage={"claimName": "small"}))
    policy = Policy(ground, "app")
    policy.back_up("roomy")
    policy.wait_for("StorageAvailable", "True", "BelowLimit")

    small_disk.leave(NINE_PERCENT_BYTES)
    good = policy.back_up("tight")

    told = policy.wait_for("StorageAvailable", "False", "UsageAboveLimit")
    assert "(92 %), above spec.storage.usageLimitPercent, 90 %" in told["message"]
    assert f"kubectl -n {ground.name} patch pvc small" in told["message"]
    policy.wait_for("LastRunSucceeded", "True", "Succeeded")
    assert policy.columns["READY"] == "False (UsageAboveLimit)"
    assert policy.status["backups"][0]["name"] == good["name"]
    wait_until(lambda: event_reasons(policy), lambda seen: "UsageAboveLimit" in seen, for_what="an Event")

    small_disk.clear()
    policy.back_up("roomy-again")
    policy.wait_for("StorageAvailable", "True", "BelowLimit")
    assert_all_is_well(policy)


NINE_PERCENT_BYTES = DISK_MEBIBYTES * 1024 * 1024 * 9 // 100
"""What is left of the disk before the run: the run and rounding up make 92 % of it."""


def test_a_claim_that_the_policy_asks_for_is_made_once_and_outlives_it(namespace: Namespace, servers: Servers):
    namespace.apply(servers.app_secret())
    manifest = objects.backup_policy("app", objects.redis_source(), storage={"claimTemplate": {"size": "64Mi"}})
    namespace.apply(manifest)
    policy = Policy(namespace, "app")
    good = policy.back_up("first")
    assert_all_is_well(policy)
    (made,) = namespace.list("pvc")
    assert made["metadata"]["name"] == "app-backups"
    assert made["spec"]["resources"]["requests"]["storage"] == "64Mi"
    assert "ownerReferences" not in made["metadata"]

    namespace.delete("backuppolicy", "app")
    wait_until(lambda: namespace.list("cronjob"), lambda found: not found, for_what="the CronJob is gone")
    (left,) = namespace.list("pvc")
    assert left["metadata"]["uid"] == made["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]

    namespace.apply(manifest)
    known = wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 1, for_what="the inventory")
    assert known["backups"][0]["name"] == good["name"]
    assert [claim["metadata"]["uid"] for claim in namespace.list("pvc")] == [made["metadata"]["uid"]]

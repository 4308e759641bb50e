"""A restore runs at most once, whatever happens to its Job and its pod, and never beside another of the same target.

Each restore here stands still in the middle: its transaction waits for a table that somebody reads.
"""

import uuid
from datetime import datetime

import pytest

from tests.support import objects
from tests.support.compare import PostgresDatabase
from tests.support.kubectl import Manifest
from tests.support.locks import reader_of, wait_for_a_waiting_restore
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.restores import Restore, into_postgres, of_policy, restore_request
from tests.support.servers import Servers, small_database

LOST = "DELETE FROM visits; DELETE FROM users WHERE id > 10;"
WHOLE = {"public.users": 1000, "public.visits": 500}


@pytest.fixture(scope="module")
def site(module_namespace) -> Servers:
    """A server with a small database, backed up by policy `db`."""
    space, made = module_namespace, Servers(module_namespace, "only once")
    made.start("postgres")
    made.create_database("app", small_database())
    space.apply(made.app_secret(), objects.claim("backups"))
    space.apply(objects.backup_policy("db", objects.postgres_source()))
    Policy(space, "db").back_up("db-now")
    return made


@pytest.fixture
def victim(site: Servers) -> PostgresDatabase:
    """A database of the test's own that has lost most of its rows."""
    return site.create_database(f"victim_{uuid.uuid4().hex[:8]}", small_database() + LOST.encode())


def in_place(name: str, victim: PostgresDatabase) -> Manifest:
    target = into_postgres(strategy="InPlace", database=victim.name)
    return restore_request(name, target, origin=of_policy("db"), confirm=victim.name, safetyBackup=False)


def test_a_restore_whose_job_is_deleted_is_lost_and_never_runs_again(site: Servers, victim: PostgresDatabase):
    """Not when its manifest is applied again either; the rows are as they were."""
    space, before = site.namespace, victim.contents()
    lost = Restore(space, "lost")
    with reader_of("users", victim):
        space.apply(in_place("lost", victim))
        wait_for_a_waiting_restore(victim)
        (job,) = lost.jobs
        space.delete("job", job["metadata"]["name"])
        # a pod that was told to stop may have said so; one that vanished has not
        status = lost.failed("JobLost", "Interrupted")
        space.apply(in_place("lost", victim))
        space.kubectl("annotate", "restorerequest", "lost", "touched=again")

    assert "startedAt" in status
    assert lost.jobs == []
    assert victim.contents() == before
    # another request of the same kind runs: by then the operator has seen what was applied again
    space.apply(in_place("lost-not", victim))
    Restore(space, "lost-not").completed()
    assert victim.rows_per_table() == WHOLE
    assert lost.jobs == []
    assert lost.status == status


@pytest.mark.parametrize("grace", ["30", "0"], ids=["evicted", "killed"])
def test_a_restore_whose_pod_is_taken_away_fails_and_the_database_is_as_before(site, victim, grace):
    space, before = site.namespace, victim.contents()
    name = "evicted" if grace == "30" else "killed"
    gone = Restore(space, name)
    with reader_of("users", victim):
        space.apply(in_place(name, victim))
        wait_for_a_waiting_restore(victim)
        force = ("--force",) if grace == "0" else ()
        space.kubectl("delete", "pod", gone.wait_for_pod(), f"--grace-period={grace}", "--wait=false", *force)
        gone.failed("Interrupted", *(["JobLost"] if grace == "0" else []))

    assert victim.contents() == before
    assert len(gone.jobs) <= 1
    assert len(space.list("pod", f"backup.agentsflow.ai/request={name}")) <= 1


def test_two_restores_of_one_target_follow_one_another(site: Servers, victim: PostgresDatabase):
    space = site.namespace
    first, second = Restore(space, "first"), Restore(space, "second")
    with reader_of("users", victim):
        space.apply(in_place("first", victim))
        wait_for_a_waiting_restore(victim)
        space.apply(in_place("second", victim))
        waiting = second.wait_for_state("Waiting")
        assert "first" in waiting["message"]
        assert second.jobs == []

    ended, begun = first.completed()["completedAt"], second.completed()["startedAt"]
    assert datetime.fromisoformat(ended) <= datetime.fromisoformat(begun)
    assert victim.rows_per_table() == WHOLE


def test_a_restore_waits_for_a_backup_of_its_target(site: Servers):
    """And the backup, which was there first, ends well."""
    space, policy = site.namespace, Policy(site.namespace, "slow")
    space.apply(objects.secret("slow", {"URL": site.postgres_url("slow")}))
    source = objects.postgres_source(urlSecretRef={"name": "slow", "key": "URL"})
    space.apply(objects.backup_policy("slow", source))
    with site.a_locked_table("slow"):
        policy.start("slow-now")
        wait_until(lambda: policy.status, lambda seen: "activeBackup" in seen, for_what="the backup in progress")
        target = into_postgres(urlSecretRef={"name": "slow", "key": "URL"}, database="beside")
        space.apply(restore_request("patient", target, origin=of_policy("db")))
        waiting = Restore(space, "patient").wait_for_state("Waiting")
        assert "slow" in waiting["message"]

    assert policy.wait_for_job("slow-now") == "Complete"
    Restore(space, "patient").completed()
    assert site.database("beside").rows_per_table() == WHOLE

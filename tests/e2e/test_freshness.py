"""How old the newest backup may be: told within seconds of the deadline, and true again with the next good run."""

from datetime import datetime, timedelta

from tests.e2e.telling import assert_all_is_well, event_reasons
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import SAID_SECONDS, Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers

RPO = timedelta(seconds=120)
"""Longer than a run and what is asked of it, on a machine that does much else."""
SAID_WITHIN = timedelta(seconds=30)
"""0 s were measured; who looked at every object again and again only would take 10 min."""


def test_fresh_turns_false_at_the_deadline_and_true_with_the_next_good_run(ground: Namespace):
    objectives = {"rpo": f"{RPO.seconds}s"}
    ground.apply(objects.backup_policy("app", objects.redis_source(), objectives=objectives))
    policy = Policy(ground, "app")
    policy.wait_for("Fresh", "False", "NeverSucceeded")
    good = policy.back_up("good")
    policy.wait_for("Fresh", "True", "WithinObjective")
    ground.patch("backuppolicy", "app", {"spec": {"suspend": True}})
    policy.wait_for("Scheduled", "False", "Suspended")

    stale = policy.wait_for("Fresh", "False", "ObjectiveExceeded", timeout_seconds=RPO.seconds + SAID_SECONDS)

    deadline = datetime.fromisoformat(good["startedAt"]) + RPO
    late = datetime.fromisoformat(stale["lastTransitionTime"]) - deadline
    assert timedelta(0) <= late <= SAID_WITHIN
    assert good["name"] in stale["message"]
    assert "spec.suspend is true" in stale["message"]
    assert policy.columns["FRESH"] == "False"
    wait_until(lambda: event_reasons(policy), lambda told: "ObjectiveExceeded" in told, for_what="an Event")

    policy.back_up("by-hand")
    policy.wait_for("Fresh", "True", "WithinObjective")
    ground.patch("backuppolicy", "app", {"spec": {"suspend": False, "objectives": None}})
    assert_all_is_well(policy)


def test_a_run_that_does_not_end_is_told_when_no_fresh_backup_is_left(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("stuck")))
    ground.apply(objects.backup_policy("app", objects.postgres_source(), objectives={"rpo": "6s"}))
    policy = Policy(ground, "app")

    with servers.a_locked_table("stuck"):
        policy.start("stands-still")
        stuck = policy.wait_for("Fresh", "False", "RunStuck")

    assert "stands-still" in stuck["message"]
    assert policy.wait_for_job("stands-still") == "Complete"
    ground.patch("backuppolicy", "app", {"spec": {"objectives": None}})
    policy.wait_for("Fresh", "True", "WithinObjective")
    assert_all_is_well(policy)

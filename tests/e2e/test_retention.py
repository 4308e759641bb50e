"""What is kept and what goes, over weeks of real runs: the worker's clock is moved, nobody sleeps for days."""

import json

from tests.support import objects
from tests.support.days import runs_on_days
from tests.support.kubectl import Namespace
from tests.support.opening import start_opener
from tests.support.policies import Policy
from tests.support.polling import wait_until

WEEKS_SECONDS = 240
"""Forty runs of two seconds, and as much again for a machine that does much else."""


def test_forty_good_days_leave_thirty_and_a_change_is_seen_before_it_deletes(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")

    policy.start("forty-days", change=runs_on_days(range(-40, 1)))
    assert policy.wait_for_job("forty-days", timeout_seconds=WEEKS_SECONDS) == "Complete"

    retained = policy.wait_for("Retained", "True", "Applied")
    status = policy.status
    assert status["backupCount"] == 30, "of 41 daily runs those of the last 30 days"
    assert "kept 30" in retained["message"]
    assert status["retention"]["nextToGo"]["name"] == oldest_run(ground)
    assert deletions(ground) == 11

    policy_with(ground, {"keepLast": 5, "dryRun": True})
    previewed = wait_until(
        lambda: policy.status, lambda seen: seen["retention"].get("preview", {}).get("count"), for_what="the preview"
    )
    assert previewed["retention"]["preview"]["count"] == 25
    assert "25" in policy.wait_for("Retained", "True", "DryRun")["message"]
    assert policy.status["backupCount"] == 30

    policy_with(ground, {"keepLast": 5, "dryRun": False})
    policy.start("one-more")
    assert policy.wait_for_job("one-more") == "Complete"
    wait_until(lambda: policy.status, lambda seen: seen["backupCount"] == 5, for_what="the five that keepLast keeps")
    assert policy.status["retention"]["deleted"] == 26
    assert deletions(ground) == 37


def policy_with(ground: Namespace, retention: dict[str, object]) -> None:
    """The policy with these rules."""
    ground.apply(objects.backup_policy("app", objects.redis_source(), retention=retention))


def store_of(ground: Namespace) -> str:
    """The directory of the policy's store."""
    return f"{ground.name}/app"


def oldest_run(ground: Namespace) -> str:
    """The oldest run that has an entry on the volume."""
    files = start_opener(ground).files(store_of(ground))
    return min(file.removesuffix(".json") for file in files if file.endswith(".json"))


def deletions(ground: Namespace) -> int:
    """How many deletions the audit trail holds."""
    trail = start_opener(ground).bash(f"cat /backups/{store_of(ground)}/audit.jsonl")
    return sum(json.loads(line)["event"] == "deletion" for line in trail.splitlines())

"""What is kept and what goes, over weeks of real runs: the worker's clock is moved, nobody sleeps for days."""

import json
from collections.abc import Iterable

from tests.e2e.telling import assert_all_is_well, ordered
from tests.support import objects
from tests.support.days import runs_on_days
from tests.support.kubectl import Namespace
from tests.support.opening import start_opener
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import PASSPHRASE, Servers

WEEKS_SECONDS = 900
"""Forty runs of two seconds; the rest is for a machine that does much else."""
A_NEW_KEY = "another horse, another battery, no staple"


def test_forty_good_days_leave_thirty_and_a_change_is_seen_before_it_deletes(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")

    run_on_days(policy, "forty-days", [*range(-40, -30, 2), *range(-30, 1)])

    retained = policy.wait_for("Retained", "True", "Applied")
    status = policy.status
    assert status["backupCount"] == 30, "those of the last 30 days"
    assert "kept 30" in retained["message"]
    assert status["retention"]["nextToGo"]["name"] == oldest_run(ground)
    assert deletions(ground) == 6

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
    assert deletions(ground) == 32


def run_on_days(policy: Policy, job: str, days: Iterable[int], *, end: str = "Complete") -> None:
    """One Job with a run on each of these days, whose last one ends so."""
    policy.start(job, change=runs_on_days(days))
    assert policy.wait_for_job(job, timeout_seconds=WEEKS_SECONDS) == end


def policy_with(ground: Namespace, retention: dict[str, object]) -> None:
    """The policy with these rules."""
    ground.apply(objects.backup_policy("app", objects.redis_source(), retention=retention))


def store_of(ground: Namespace) -> str:
    """The directory of the policy's store."""
    return f"{ground.name}/app"


def oldest_run(ground: Namespace) -> str:
    """The oldest run that has an entry on the volume."""
    return min(runs_in(ground))


def runs_in(ground: Namespace) -> list[str]:
    """The runs that have an entry on the volume, oldest first."""
    files = start_opener(ground).files(store_of(ground))
    return [file.removesuffix(".json") for file in files if file.startswith("redis_") and file.endswith(".json")]


def deletions(ground: Namespace) -> int:
    """How many deletions the audit trail holds."""
    trail = start_opener(ground).bash(f"cat /backups/{store_of(ground)}/audit.jsonl")
    return sum(json.loads(line)["event"] == "deletion" for line in trail.splitlines())


def test_weeks_of_failing_runs_lose_nothing_good(ground: Namespace, servers: Servers):
    manifest = objects.backup_policy("app", objects.redis_source())
    ground.apply(manifest)
    policy = Policy(ground, "app")
    run_on_days(policy, "good-days", range(-40, -36))
    good = runs_in(ground)
    # the operator's clock was not moved, and a report of last month is no news to it: it reads the store anew
    ground.delete("backuppolicy", "app")
    ground.apply(manifest)
    wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 4, for_what="the good days")

    ground.apply(servers.app_secret(REDIS_URL=servers.redis_url(password="wrong")))
    run_on_days(policy, "bad-days", range(-36, 1, 3), end="Failed")

    policy.wait_for("LastRunSucceeded", "False", "AuthenticationFailed")
    stale = policy.wait_for("Fresh", "False", "ObjectiveExceeded")
    assert good[-1] in stale["message"]
    assert runs_in(ground) == good, "all are older than 30 days"
    assert policy.status["backupCount"] == 4

    ground.apply(servers.app_secret())
    # one good run after weeks looks like a clock that leapt; the next day's vouches for it
    run_on_days(policy, "heals", range(-1, 1))
    kept = policy.wait_for("Retained", "True", "FloorReached")
    assert "Of those kept, 1 stays only by spec.retention.minimum" in kept["message"]
    assert runs_in(ground)[:-2] == good[3:]
    policy.wait_for("Fresh", "True", "WithinObjective")
    assert_all_is_well(policy)


def test_a_new_key_deletes_nothing_that_it_does_not_open(ground: Namespace, servers: Servers):
    rules = {"keepLast": 4}
    ground.apply(objects.backup_policy("app", objects.redis_source(), retention=rules))
    policy = Policy(ground, "app")
    run_on_days(policy, "old-key", range(-40, -36))
    old = runs_in(ground)
    assert len(old) == 4

    ground.apply(servers.app_secret(BACKUP_ENCRYPTION_KEY=A_NEW_KEY, PREVIOUS=PASSPHRASE))
    policy.start("new-key")
    assert policy.wait_for_job("new-key") == "Complete"
    told = wait_until(lambda: policy.status, lambda seen: seen.get("lockedBackups") == 4, for_what="the locked ones")
    assert told["backupCount"] == 1
    assert runs_in(ground)[:-1] == old

    keys = {
        "passphraseSecretRef": app_key("BACKUP_ENCRYPTION_KEY"),
        "previousPassphraseSecretRefs": [app_key("PREVIOUS")],
    }
    ground.apply(objects.backup_policy("app", objects.redis_source(), retention=rules, encryption=keys))
    policy.start("both-keys")
    assert policy.wait_for_job("both-keys") == "Complete"
    wait_until(lambda: policy.status, lambda seen: seen.get("backupCount") == 4, for_what="the newest four")
    assert "lockedBackups" not in policy.status
    assert runs_in(ground)[:-2] == old[2:]
    assert_all_is_well(policy)


def app_key(key: str) -> dict[str, str]:
    """A key of Secret `app`."""
    return {"name": "app", "key": key}


def test_a_good_run_without_retention_is_told_until_the_next_one(ground: Namespace):
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    policy = Policy(ground, "app")
    policy.back_up("first")
    policy.wait_for("Retained", "True", "Applied")

    # as when its report is lost, and with it what retention did
    policy.start("without", change=ordered(lambda order: order.update(retention=None)))

    assert policy.wait_for_job("without") == "Complete"
    behind = policy.wait_for("Retained", "False", "NotYetApplied")
    assert policy.status["lastSuccessfulBackup"]["name"] in behind["message"]
    policy.back_up("heals")
    policy.wait_for("Retained", "True", "Applied")
    assert_all_is_well(policy)

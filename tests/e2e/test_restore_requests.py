"""A request on a cluster: planned and approved, choosing its backup and its key, in order, and told in its status."""

import json
import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import objects
from tests.support.opening import Opener, start_opener
from tests.support.policies import Policy, conditions_of
from tests.support.polling import wait_until
from tests.support.restores import (
    Restore,
    into_postgres,
    into_redis,
    of_policy,
    of_store,
    restore_request,
    url_at,
)
from tests.support.servers import PASSPHRASE, Servers, small_database
from tests.support.shell import ProgramFailed

NEW_PASSPHRASE = "the passphrase after the rotation"
OTHER_PASSPHRASE = "the passphrase of somebody else"
SOURCE_URL = url_at("SUPABASE_DB_URL")


@pytest.fixture(scope="module")
def site(module_namespace) -> Servers:
    """Policies `db`, with a backup of 1,000 users and a later one of 1,001, and `cache`, with one of seven keys."""
    space, made = module_namespace, Servers(module_namespace, "planned and approved")
    made.start("postgres", "redis")
    made.create_database("app", small_database())
    with made.redis_client() as client:
        client.mset({f"key:{number}": number for number in range(7)})
    keys = {"NEW": NEW_PASSPHRASE, "OTHER": OTHER_PASSPHRASE}
    space.apply(made.app_secret(**keys), objects.claim("backups"))
    space.apply(objects.backup_policy("db", objects.postgres_source()))
    space.apply(objects.backup_policy("cache", objects.redis_source()))
    Policy(space, "db").back_up("first")
    made.database().query("INSERT INTO users VALUES (1001, 'the last one')")
    Policy(space, "db").back_up("second")
    Policy(space, "cache").back_up("keys")
    return made


@pytest.fixture(scope="module")
def store(site: Servers) -> Opener:
    """A pod that looks at the claim's files."""
    return start_opener(site.namespace)


def ask(site: Servers, name: str, target: dict[str, Any], *, policy: str = "db", **spec: Any) -> Restore:
    origin = spec.pop("origin", of_policy(policy))
    site.namespace.apply(restore_request(name, target, origin=origin, **spec))
    return Restore(site.namespace, name)


def runs(site: Servers) -> list[dict[str, Any]]:
    """The backups of policy `db`, newest first."""
    return list(Policy(site.namespace, "db").status["backups"])


def databases(site: Servers) -> list[str]:
    return site.database("postgres").query("SELECT datname FROM pg_database ORDER BY 1")


def test_a_plan_touches_nothing_until_it_is_approved(site: Servers, store: Opener):
    """Its page is in the status; nothing of it can be changed; the approval carries it out, once."""
    before, files = databases(site), store.files(f"{site.namespace.name}/db")

    asked = ask(site, "planned", into_postgres(database="app_planned"), dryRun=True)
    plan = asked.planned()

    page = "\n".join(plan["plan"])
    assert "app_planned" in page
    assert plan["artifact"] == f"{runs(site)[0]['name']}.sql.gz.gpg"
    assert databases(site) == before
    assert store.files(f"{site.namespace.name}/db") == files
    assert "startedAt" not in plan
    columns = asked.columns
    assert (columns["STATE"], columns["FROM"], columns["BACKUP"]) == ("Planned", "db", runs(site)[0]["name"])
    for change in ({"backup": {"latest": None, "name": "other"}}, {"after": ["other"]}, {"safetyBackup": False}):
        with pytest.raises(ProgramFailed, match="immutable"):
            site.namespace.patch("restorerequest", "planned", {"spec": change})

    asked.approve()

    status = asked.completed()
    assert site.database("app_planned").rows_per_table() == {"public.users": 1001, "public.visits": 500}
    assert status["pin"] == plan["pin"]
    assert {"verify", "survey", "restore"} <= {step["name"] for step in status["steps"]}
    assert asked.columns["STATE"] == "Complete"
    with pytest.raises(ProgramFailed, match="dryRun"):
        site.namespace.patch("restorerequest", "planned", {"spec": {"dryRun": True}})


def test_an_approved_plan_that_no_longer_fits_is_not_carried_out(site: Servers):
    asked = ask(site, "changed", into_postgres(database="app_changed"), dryRun=True)
    asked.planned()
    made = site.create_database("app_changed", b"CREATE TABLE mine AS SELECT 1 AS a;")

    asked.approve()

    status = asked.failed("PlanChanged")
    assert "Nothing was changed" in status["message"]
    assert made.rows_per_table() == {"public.mine": 1}


def test_a_plan_says_what_is_in_its_way(site: Servers):
    status = ask(site, "obstacle", into_postgres(database="app"), dryRun=True).planned("ObstaclesFound")

    assert "app" in conditions_of(status)["Planned"]["message"]
    assert "there already" in json.dumps(status)


def test_nothing_is_overwritten_without_its_name(site: Servers):
    """Where the request itself shows it, the API server refuses it; where only the server knows, the worker does."""
    before = site.database().contents()
    overwriting = into_postgres(strategy="InPlace")
    with pytest.raises(ProgramFailed, match="confirm is missing"):
        ask(site, "unconfirmed", overwriting)

    status = ask(site, "wrongly-confirmed", overwriting, confirm="another").failed("ConfirmMissing")

    assert "confirm: app" in status["hint"]
    assert site.database().contents() == before


def test_a_time_chooses_the_newest_backup_before_it(site: Servers):
    newer, older = runs(site)[:2]

    status = ask(
        site, "as-of-then", into_postgres(database="app_then"), backup={"before": older["time"]}
    ).completed()  # fmt: skip

    assert status["artifact"].startswith(older["name"])
    assert site.database("app_then").rows_per_table()["public.users"] == 1000
    named = ask(site, "by-name", into_postgres(database="app_named"), backup={"name": newer["name"]}).completed()
    assert named["artifact"].startswith(newer["name"])
    assert site.database("app_named").rows_per_table()["public.users"] == 1001


def test_a_time_before_the_oldest_backup_names_that_one(site: Servers):
    status = ask(
        site, "too-early", into_postgres(database="app_early"), backup={"before": "2001-01-01T00:00:00Z"}
    ).failed("BackupNotFound")  # fmt: skip

    assert runs(site)[-1]["name"] in status["message"] + status.get("hint", "")
    assert "app_early" not in databases(site)


def test_after_a_rotation_older_backups_open_with_the_previous_passphrase(site: Servers):
    space = site.namespace
    encryption = {
        "passphraseSecretRef": {"name": "app", "key": "NEW"},
        "previousPassphraseSecretRefs": [{"name": "app", "key": "BACKUP_ENCRYPTION_KEY"}],
    }
    origin = of_store(f"{space.name}/db")
    origin["store"]["encryption"] = encryption

    ask(site, "rotated", into_postgres(database="app_rotated", **SOURCE_URL), origin=origin).completed()

    assert site.database("app_rotated").rows_per_table()["public.visits"] == 500


def test_without_the_right_passphrase_both_fingerprints_are_told(site: Servers, store: Opener):
    path = f"{site.namespace.name}/db"
    entry = store.entry(path, runs(site)[0]["name"])
    wanted = re.findall(r'"[a-z_]*fingerprint": "([^"]+)"', json.dumps(entry))

    status = ask(
        site, "other-key", into_postgres(database="app_other", **SOURCE_URL), origin=of_store(path, key="OTHER")
    ).failed("KeyInvalid")  # fmt: skip

    said = status["message"] + status.get("hint", "")
    assert wanted
    assert wanted[0] in said
    assert len(set(re.findall(rf"\b[0-9a-f]{{{len(wanted[0])}}}\b", said))) == 2, said
    assert "app_other" not in databases(site)


def test_requests_run_in_the_order_that_they_name(site: Servers):
    """The last is applied first, and waits; its checks are asked of what is there then."""
    keys = {"name": "keys", "redis": {"database": 0}, "minimum": 7}
    cache = ask(
        site, "then-keys", into_redis(strategy="Merge"), policy="cache", after=["first-rows"], checks=[keys],
        confirm=f"redis.{site.namespace.name}.svc/all", safetyBackup=False,
    )  # fmt: skip
    waiting = cache.wait_for_state("Waiting")
    assert "first-rows" in waiting["message"]
    assert cache.jobs == []
    users = {"name": "users", "sql": "select count(*) from users", "minimum": 1000}
    first = ask(site, "first-rows", into_postgres(database="app_ordered"), checks=[users])

    rows, merged = first.completed(), cache.completed()

    assert rows["completedAt"] <= merged["startedAt"]
    assert [(one["name"], one["found"], one["passed"]) for one in rows["checks"]] == [("users", "1001", True)]
    assert [(one["name"], one["passed"]) for one in merged["checks"]] == [("keys", True)]


def test_a_check_that_does_not_hold_fails_the_restore_and_those_that_wait_for_it(site: Servers):
    many = {"name": "users", "sql": "select count(*) from users", "minimum": 5000}
    waits = ask(site, "waits-in-vain", into_postgres(database="app_never"), after=["too-few"])
    failed = ask(site, "too-few", into_postgres(database="app_few"), checks=[many])

    status = failed.failed("CheckFailed")

    assert [(one["name"], one["found"], one["passed"]) for one in status["checks"]] == [("users", "1001", False)]
    assert "too-few" in waits.failed("AfterFailed")["message"]
    assert waits.jobs == []
    assert not {"app_few", "app_never"} & set(databases(site))


def test_a_request_waits_for_its_policy(site: Servers):
    asked = ask(site, "early-bird", into_postgres(database="app_early_bird"), policy="not-yet")

    assert "not-yet" in asked.wait_for_state("Waiting")["message"]
    assert asked.jobs == []

    storage = {"claimName": "backups", "path": "not/yet"}
    site.namespace.apply(objects.backup_policy("not-yet", objects.postgres_source(), storage=storage))
    Policy(site.namespace, "not-yet").wait_for("Scheduled", "True")
    status = asked.wait_for_state("Failed")
    assert conditions_of(status)["Failed"]["reason"] in ("BackupNotFound", "StoreMissing")


def test_what_is_not_built_is_answered_and_not_ignored(site: Servers):
    volume = {"redisVolume": {"claimName": "data", "workloadRef": {"kind": "StatefulSet", "name": "redis"}}}

    status = ask(site, "volume", volume, policy="cache", confirm="data").failed("NotYetSupported")

    assert "redisVolume" in status["message"]


def test_a_restore_leaves_events_and_a_line_in_the_store_s_trail(site: Servers, store: Opener):
    """The line says who asked, what, when and how it ended, and holds the hash of the line before it."""
    before = datetime.now(UTC).replace(microsecond=0)
    name = runs(site)[0]["name"]
    asked = ask(site, "audited", into_postgres(database="app_audited"), backup={"name": name})
    asked.completed()

    events = wait_until(
        lambda: [
            event["reason"]
            for event in site.namespace.list("events")
            if event["involvedObject"]["kind"] == "RestoreRequest" and event["involvedObject"]["name"] == "audited"
        ],
        lambda seen: "Restored" in seen,
        for_what="the Event of the end",
    )
    assert events.count("Restored") == 1
    lines = [json.loads(line) for line in store.bash(f"cat /backups/{site.namespace.name}/db/audit.jsonl").splitlines()]
    found = next(line for line in lines if line.get("request") == f"{site.namespace.name}/audited")
    assert (found["event"], found["outcome"], found["run"]) == ("restore", "Succeeded", name)
    assert "e2e" in found["asked_by"], "the field manager that applied it"
    assert datetime.fromisoformat(found["at"]) >= before


GPG_OF_OLD = "gpg --quiet --batch --symmetric --cipher-algo AES256 --pinentry-mode loopback --passphrase {key}"
OLD_SCRIPTS = """
install -d -m 0700 -o 65532 -g 65532 /backups/old
cd /backups/old
lock() {{ {gpg} --output "$1"; }}
export PGPASSWORD={password}
pg_dump --host={postgres} --username=postgres app | gzip | lock backup_20230101_020000.sql.gz.gpg
redis-cli -h {redis} -a {password} --no-auth-warning --rdb /data/old.rdb >/dev/null
(cat /data/old.rdb; head -c 40 /dev/zero | tr '\\0' e) | gzip | lock redis_20230101_020000.rdb.gz.gpg
cp /data/old.rdb redis_20230102_020000.rdb
chown 65532:65532 *
"""


def test_files_of_the_old_scripts_restore_when_they_are_named(site: Servers):
    """Made as those made them: gpg over gzip, 40 bytes of end mark behind the RDB, one without a passphrase at all."""
    space = site.namespace
    desk = objects.opener("old-scripts", "backups", "app")
    desk["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = False
    space.apply(desk)
    space.wait_for_pod("old-scripts")
    places = {kind: f"{kind}.{space.name}.svc" for kind in ("postgres", "redis")}
    words = {"gpg": GPG_OF_OLD.format(key=shlex.quote(PASSPHRASE)), "password": shlex.quote(site.password)}
    Opener(space, "old-scripts").bash(OLD_SCRIPTS.format(**places, **words))

    rows = ask(
        site, "old-rows", into_postgres(database="app_old", **SOURCE_URL), origin=of_store("old"),
        backup={"name": "backup_20230101_020000.sql.gz.gpg"},
    )  # fmt: skip
    keys = [
        ask(
            site, f"old-keys-{number}", into_redis(**url_at("REDIS_URL"), strategy="Merge"), origin=of_store("old"),
            backup={"name": file}, confirm=f"{places['redis']}/all", safetyBackup=False,
        )
        for number, file in enumerate(("redis_20230101_020000.rdb.gz.gpg", "redis_20230102_020000.rdb"))
    ]  # fmt: skip

    status = rows.completed()
    assert status["recorded"] is False
    assert site.database("app_old").rows_per_table() == {"public.users": 1001, "public.visits": 500}
    assert [one.completed()["recorded"] for one in keys] == [False, False]

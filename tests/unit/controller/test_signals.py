"""What Prometheus is told: from the newest object alone, absent where unknown, gone with the object."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backup_operator.controller.cluster import Answered, Key
from backup_operator.controller.memory import Memory
from backup_operator.controller.signals import Signals

PREFIX = "backup_operator_"
NEW: dict[str, Any] = {
    "metadata": {
        "namespace": "prod",
        "name": "app-db",
        "uid": "1",
        "resourceVersion": "10",
        "creationTimestamp": "2026-11-20T00:00:00Z",
    },
    "spec": {
        "source": {"postgres": {"urlSecretRef": {"name": "app", "key": "URL"}}},
        "schedule": "0 2 * * *",
        "storage": {"claimName": "backups"},
    },
}
STATUS: dict[str, Any] = {
    "conditions": [
        {
            "type": "Fresh",
            "status": "False",
            "reason": "ObjectiveExceeded",
            "message": "old",
            "lastTransitionTime": "2026-11-24T03:00:00Z",
        }
    ],
    "lastSuccessfulBackup": {
        "name": "backup_20261123_020000",
        "startedAt": "2026-11-23T02:00:00Z",
        "completedAt": "2026-11-23T02:01:30Z",
        "durationSeconds": 90,
        "sizeBytes": 1234,
        "rows": 99,
    },
    "lastFailedBackup": {"reason": "StorageFull", "message": "full", "completedAt": "2026-11-24T02:00:05Z"},
    "activeBackup": {"jobName": "app-db-1", "since": "2026-11-24T03:30:00Z"},
    "nextBackupAt": "2026-11-25T02:00:00Z",
    "backupCount": 7,
    "oldestBackupAt": "2026-11-17T02:00:00Z",
    "store": "backups:prod/app-db",
    "source": "PostgreSQL 17.2 app",
    "storage": {
        "usedBytes": 50,
        "capacityBytes": 100,
        "usedPercent": 50,
        "storeBytes": 40,
        "fullAt": "2026-12-24T00:00:00Z",
    },
    "retention": {"deleted": 2, "blocked": 1},
}
FULL = {**NEW, "status": STATUS}


def at(version: str, policy: dict[str, Any] = FULL, **metadata: str) -> dict[str, Any]:
    return {**policy, "metadata": {**policy["metadata"], "resourceVersion": version, **metadata}}


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def scraped(signals: Signals) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every series with a sample: by name without prefix, by its labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(signals.registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name.removeprefix(PREFIX), {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


PLACE = (("namespace", "prod"), ("policy", "app-db"))


def numbers(signals: Signals) -> dict[str, float]:
    """The series that carry a policy's place and nothing else."""
    return {name: series[PLACE] for name, series in scraped(signals).items() if PLACE in series}


def test_a_policy_that_is_new_has_the_series_of_its_spec_and_no_zeros():
    signals = Signals()

    signals.policy_seen(NEW)

    assert numbers(signals) == {
        "policy_created_timestamp_seconds": moment("2026-11-20T00:00:00"),
        "objective_rpo_seconds": 25 * 3600,
        "storage_limit_percent": 90,
    }
    (info,) = scraped(signals)["policy_info"]
    assert dict(info) == {**dict(PLACE), "source": "PostgreSQL", "schedule": "0 2 * * *", "store": ""}


def test_everything_that_the_status_knows_is_told():
    signals = Signals()

    signals.policy_seen(FULL)

    assert numbers(signals) == {
        "policy_created_timestamp_seconds": moment("2026-11-20T00:00:00"),
        "last_success_timestamp_seconds": moment("2026-11-23T02:01:30"),
        "last_success_started_timestamp_seconds": moment("2026-11-23T02:00:00"),
        "last_success_duration_seconds": 90,
        "last_success_size_bytes": 1234,
        "last_success_rows": 99,
        "last_failure_timestamp_seconds": moment("2026-11-24T02:00:05"),
        "backups": 7,
        "oldest_backup_timestamp_seconds": moment("2026-11-17T02:00:00"),
        "storage_used_bytes": 50,
        "storage_capacity_bytes": 100,
        "storage_limit_percent": 90,
        "storage_full_timestamp_seconds": moment("2026-12-24T00:00:00"),
        "store_bytes": 40,
        "objective_rpo_seconds": 25 * 3600,
        "next_run_timestamp_seconds": moment("2026-11-25T02:00:00"),
        "active_run_started_timestamp_seconds": moment("2026-11-24T03:30:00"),
        "retention_deleted": 2,
        "retention_blocked": 1,
    }
    (condition,) = scraped(signals)["condition"]
    about = {"condition": "Fresh", "status": "False", "reason": "ObjectiveExceeded"}
    assert dict(condition) == {**dict(PLACE), **about}
    (info,) = scraped(signals)["policy_info"]
    assert dict(info)["source"] == "PostgreSQL 17.2 app"
    assert dict(info)["store"] == "backups:prod/app-db"


def test_a_spec_that_cannot_be_read_has_no_series_of_it():
    signals = Signals()

    signals.policy_seen({**NEW, "spec": {"objectives": {"rpo": "soon"}, "storage": {"claimName": "UPPER"}}})

    assert "objective_rpo_seconds" not in scraped(signals)
    assert "storage_limit_percent" not in scraped(signals)


def test_a_list_that_comes_late_does_not_undo_what_the_watch_told():
    signals = Signals()

    signals.policy_seen(at("12"))
    signals.policy_seen(at("11", NEW))

    assert numbers(signals)["backups"] == 7


def test_a_policy_of_the_same_name_made_anew_starts_from_nothing():
    signals = Signals()

    signals.policy_seen(at("12"))
    signals.policy_seen(at("13", NEW, uid="2"))

    assert "backups" not in numbers(signals)


def test_a_policy_that_is_gone_has_no_series():
    memory = Memory()
    memory.learn_policy(FULL)

    memory.forget_policy(Key("prod", "app-db"))

    assert not {"policy_info", "condition", "backups"} & scraped(memory.signals).keys()


def test_a_request_shows_its_present_state_alone():
    memory = Memory()
    request = {"metadata": {"namespace": "prod", "name": "back", "uid": "3"}, "spec": {}}

    memory.learn_request(request)
    assert "restore_state" not in scraped(memory.signals)
    memory.learn_request({**request, "status": {"state": "Running"}})
    memory.learn_request({**request, "status": {"state": "Failed"}})

    (state,) = scraped(memory.signals)["restore_state"]
    assert dict(state) == {"namespace": "prod", "request": "back", "state": "Failed"}
    memory.forget_request(Key("prod", "back"))
    assert "restore_state" not in scraped(memory.signals)


def test_reconciles_are_timed_by_how_they_ended():
    signals = Signals()

    with signals.reconcile("BackupPolicy"):
        pass
    with pytest.raises(ValueError, match="no"), signals.reconcile("BackupPolicy"):
        raise ValueError("no")

    counts = {dict(labels)["result"]: count for labels, count in scraped(signals)["reconcile_seconds_count"].items()}
    assert counts == {"ok": 1, "failed": 1}


def test_the_operators_own_figures_are_asked_at_each_scrape():
    signals = Signals()
    waiting = [1, 2, 3]
    signals.add_gauge("queue_length", "Keys that wait.", lambda: len(waiting))
    signals.add_notices(lambda: {"sent": 2})
    signals.api_answered(Answered("patch", "backuppolicies/status", 200))

    assert scraped(signals)["queue_length"] == {(): 3}
    assert scraped(signals)["notifications_total"] == {(("result", "sent"),): 2}
    about = (("code", "200"), ("resource", "backuppolicies/status"), ("verb", "patch"))
    assert scraped(signals)["api_requests_total"] == {about: 1}
    waiting.clear()
    assert scraped(signals)["queue_length"] == {(): 0}


class Growing(dict[str, int]):
    """A new key comes while somebody goes through the others."""

    def items(self) -> Any:
        for key in self:
            self["retried"] = 1
            yield key, self[key]


def test_a_result_that_is_counted_during_a_scrape_does_not_break_it():
    signals = Signals()
    signals.add_notices(lambda: Growing(sent=2))

    assert scraped(signals)["notifications_total"] == {(("result", "sent"),): 2}


def test_a_policy_names_the_lease_of_the_operator_that_serves_it():
    signals = Signals()
    signals.lease = "ops/keeper"
    signals.policy_seen(NEW)

    (info,) = scraped(signals)["policy_info"]
    assert dict(info)["lease"] == "ops/keeper"

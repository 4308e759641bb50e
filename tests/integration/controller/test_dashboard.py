"""The dashboard's queries and the alerts, asked of a real Prometheus that scrapes the real operator."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.controller.charting import CHART, rendered_chart
from tests.integration.controller.operating import OperatorProcess
from tests.integration.controller.test_policies import policy
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.prometheus_server import PrometheusServer, scraping

BOARD = json.loads((CHART / "dashboards" / "backup-operator.json").read_text())
TARGETS = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
]
PREFIX = "backup_operator_"


def asked(expression: str) -> str:
    """The query with Grafana's variables filled in, as with everything chosen."""
    for variable, value in {"$namespace": ".*", "$policy": ".*", "$__rate_interval": "30s"}.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def run(start: dict[str, float], **counted: int) -> dict[str, Any]:
    ended = {"completedAt": ago(**start), "durationSeconds": 90, "sizeBytes": 5_000_000, "verified": True}
    return {"name": "backup_20261123_020000", "startedAt": ago(**start), **ended, **counted}


def known(namespace: Namespace, name: str, **more: Any) -> dict[str, Any]:
    """What an operator that was here before has written into a policy's status."""
    volume = {"usedBytes": 95, "capacityBytes": 100, "usedPercent": 95, "storeBytes": 90, "fullAt": ago(days=-2)}
    return {
        "store": f"backups:{namespace.name}/{name}",
        "backupCount": 7,
        "oldestBackupAt": ago(days=30),
        "storage": volume,
        "retention": {"rules": ["newest 3"], "deleted": 1, "blocked": 2, "appliedAt": ago(hours=1)},
        **more,
    }


REDIS = {"source": {"redis": {"urlSecretRef": {"name": "app", "key": "URL"}}}}
RESTORE = {
    "apiVersion": "backup.agentsflow.ai/v1alpha1",
    "kind": "RestoreRequest",
    "metadata": {"name": "back"},
    "spec": {
        "from": {"policyRef": {"name": "app-db"}},
        "backup": {"latest": True},
        "target": {"postgres": {}},
        "dryRun": True,
    },
}


@pytest.fixture
def prometheus(namespace: Namespace, rights: Path, tmp_path: Path) -> Iterator[PrometheusServer]:
    """Prometheus beside an operator that has just been started, over policies whose past is in their status alone."""
    namespace.apply(policy("app-db"), policy("app-cache", **REDIS), RESTORE)
    _write_status(namespace, "app-db", known(namespace, "app-db", lastSuccessfulBackup=run({"hours": 2}, rows=99)))
    failed = {"reason": "ConnectionRefused", "message": "Nothing listens.", "completedAt": ago(hours=1)}
    stale = known(namespace, "app-cache", lastSuccessfulBackup=run({"days": 3}, keys=5), lastFailedBackup=failed)
    _write_status(namespace, "app-cache", stale)
    urls = tmp_path / "urls"
    urls.mkdir()
    port, closed = free_port(), free_port()
    (urls / "hook").write_text(f"json://127.0.0.1:{closed}")
    operator = OperatorProcess(namespace.name, tmp_path, kubeconfig=str(rights))
    routes = {"NOTIFICATION_ROUTES": '[{"urlKey": "hook"}]', "NOTIFICATION_URLS": str(urls)}
    operator.start(METRICS_PORT=str(port), **routes)
    try:
        with scraping(port, _rules(namespace), tmp_path) as server:
            yield server
    finally:
        operator.stop()
        print(operator.log())


def _write_status(namespace: Namespace, name: str, status: dict[str, Any]) -> None:
    change = json.dumps({"status": status})
    namespace.kubectl("patch", "backuppolicy", name, "--subresource=status", "--type=merge", "--patch", change)


def _rules(namespace: Namespace) -> dict[str, Any]:
    on = "--set=monitoring.prometheusRule.enabled=true"
    chart = rendered_chart("--namespace", namespace.name, "--set=fullnameOverride=backup-operator", on)
    (rule,) = [one for one in chart if one["kind"] == "PrometheusRule"]
    groups: dict[str, Any] = rule["spec"]
    return groups


def _value(prometheus: PrometheusServer, series: str) -> float | None:
    found = prometheus.query(f"{PREFIX}{series}")
    return float(found[0]["value"][1]) if found else None


def test_what_the_status_says_is_told_right_after_a_start(prometheus: PrometheusServer, namespace: Namespace):
    wait_until(
        lambda: prometheus.query(f'{PREFIX}condition{{condition="Fresh"}}'),
        lambda found: len(found) == 2,
        for_what="both",
    )

    place = f'namespace="{namespace.name}"'
    expected = {
        f'last_success_rows{{{place},policy="app-db"}}': 99,
        f'last_success_keys{{{place},policy="app-cache"}}': 5,
        f'last_success_keys{{{place},policy="app-db"}}': None,
        f'backups{{{place},policy="app-db"}}': 7,
        f'objective_rpo_seconds{{{place},policy="app-db"}}': 25 * 3600,
        f'condition{{{place},policy="app-cache",reason="ObjectiveExceeded"}}': 1,
    }
    # a scrape that comes too late, on a machine that does much else, leaves no series until the next one
    wait_until(
        lambda: {series: _value(prometheus, series) for series in expected},
        lambda told: told == expected,
        for_what="what the status says",
    )
    namespace.delete("backuppolicy", "app-cache")
    wait_until(
        lambda: prometheus.query(f'{PREFIX}policy_info{{policy="app-cache"}}'),
        lambda found: not found,
        for_what="no series of a policy that is gone",
    )


def test_every_query_of_the_dashboard_has_an_answer(prometheus: PrometheusServer, namespace: Namespace):
    namespace.kubectl("create", "job", "--from=cronjob/app-cache", "app-cache-first")

    wait_until(
        lambda: [query for _, query, _ in TARGETS if not prometheus.query(asked(query))],
        lambda unanswered: not unanswered,
        for_what="an answer to every query",
        timeout_seconds=90,
    )

    for title, query, legend in TARGETS:
        for series in prometheus.query(asked(query)):
            labels = {part.split("}}")[0] for part in legend.split("{{")[1:]}
            assert labels <= series["metric"].keys(), f"{title}: {query}"
    assert prometheus.label_values(f"{PREFIX}policy_info", "namespace") == {namespace.name}
    assert prometheus.label_values(f"{PREFIX}policy_info", "policy") == {"app-db", "app-cache"}


def test_the_alerts_rise_in_a_real_prometheus_and_say_why(prometheus: PrometheusServer, namespace: Namespace):
    """Most are pending here: they fire after minutes, which promtool's moved clock shows."""
    wanted = {"BackupStale", "BackupStorageUnavailable", "BackupFailed"}
    found = wait_until(prometheus.rules, lambda rules: wanted <= _raised(rules), for_what="the alerts")

    rules = {rule["name"]: rule for rule in found}
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    stale, *others = rules["BackupStale"]["alerts"]
    assert not others
    assert stale["labels"] == {
        "alertname": "BackupStale",
        "namespace": namespace.name,
        "policy": "app-cache",
        "severity": "critical",
    }
    texts = [text for rule in rules.values() for alert in rule["alerts"] for text in alert["annotations"].values()]
    assert not [text for text in texts if "error expanding" in text or "<no value>" in text]
    (failed,) = rules["BackupFailed"]["alerts"]
    assert re.match(r"Reason: [A-Z]\w+\. Earlier", failed["annotations"]["description"])
    assert "firing" not in {alert["state"] for alert in rules["BackupOperatorDown"]["alerts"]}


def _raised(rules: list[dict[str, Any]]) -> set[str]:
    """Alerts that are pending or firing: Prometheus lists no others."""
    return {rule["name"] for rule in rules for _ in rule["alerts"]}

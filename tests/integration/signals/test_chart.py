"""The chart's monitoring: off where its kinds may be missing, a runbook for every alert, the release's own names."""

import json
import re
from typing import Any

import pytest
import yaml

from backup_operator.controller.series import HELP, PREFIX
from tests.integration.controller.charting import rendered_chart
from tests.support.shell import LocalShell, ProgramFailed

MONITORING = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def one_of(objects: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(ending)]
    return found


def alerts(rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_a_cluster_without_the_prometheus_operator_gets_none_of_its_kinds():
    assert not MONITORING & {one["kind"] for one in rendered_chart()}


def test_prometheus_takes_the_rules(rules: dict[str, Any], tmp_path: Any):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rules))

    assert b"SUCCESS" in LocalShell().run("promtool", "check", "rules", str(path))


def test_every_alert_has_a_runbook_and_says_how_to_print_it(monitoring: list[dict[str, Any]], rules: dict[str, Any]):
    runbooks = one_of(monitoring, "ConfigMap", "-runbooks")["data"]

    assert runbooks.keys() == {rule["alert"] for rule in alerts(rules)}
    for rule in alerts(rules):
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == (
            f"kubectl -n backup-operator get configmap backup-operator-runbooks -o jsonpath='{{.data.{rule['alert']}}}'"
        )


def test_a_runbook_says_what_it_means_how_to_look_what_to_type_and_when_to_worry(monitoring: list[dict[str, Any]]):
    for name, text in one_of(monitoring, "ConfigMap", "-runbooks")["data"].items():
        assert text.startswith(f"# {name}\n")
        for part in ("**What it means.**", "**How bad.**", "**How to look.**", "**When to worry.**"):
            assert part in text, f"{name} has no {part}"
        assert "    kubectl" in text


def test_a_backup_by_hand_is_begun_with_names_that_fit_any_policy(monitoring: list[dict[str, Any]]):
    """CronJobs of long names are called otherwise than their policies, and a Job's name has 63 characters at most."""
    begun = re.findall("create job --from.*", "\n".join(one_of(monitoring, "ConfigMap", "-runbooks")["data"].values()))

    assert len(begun) == 5
    for command in begun:
        assert "--from=$(kubectl -n NAMESPACE get cronjob -l backup.agentsflow.ai/policy=POLICY -o name) " in command
        assert "backup-now-$(date +%s)" in command


def test_the_names_of_the_release_are_filled_in():
    on = "--set=monitoring.prometheusRule.enabled=true"
    objects = rendered_chart("--namespace", "ops", "--set=fullnameOverride=keeper", "--set=watchNamespaces={prod}", on)

    rules = one_of(objects, "PrometheusRule")["spec"]
    (down,) = [rule for rule in alerts(rules) if rule["alert"] == "BackupOperatorDown"]
    assert 'lease="prod/keeper"' in down["expr"]
    assert "kubectl -n ops get configmap keeper-runbooks" in down["annotations"]["runbook"]
    runbooks = one_of(objects, "ConfigMap", "-runbooks")["data"]
    assert "kubectl -n prod get lease keeper -o yaml" in runbooks["BackupOperatorDown"]
    assert not re.search("RELEASE_NAME|NAMESPACE_OF", yaml.safe_dump([rules, runbooks]))


def test_labels_of_ones_own_are_added():
    objects = rendered_chart(
        "--set=monitoring.prometheusRule.enabled=true",
        "--set=monitoring.prometheusRule.labels.release=prometheus",
        "--set=monitoring.prometheusRule.alertLabels.team=database",
        "--set=monitoring.serviceMonitor.enabled=true",
        "--set=monitoring.serviceMonitor.labels.release=prometheus",
        "--set=monitoring.dashboard.label=board",
        "--set-string=monitoring.dashboard.labelValue=yes",
    )

    rule = one_of(objects, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert {one["labels"]["team"] for one in alerts(rule["spec"])} == {"database"}
    assert {one["labels"]["severity"] for one in alerts(rule["spec"])} == {"warning", "critical"}
    assert one_of(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"
    assert one_of(objects, "ConfigMap", "-dashboard")["metadata"]["labels"]["board"] == "yes"


def test_monitors_and_service_lead_to_the_port_that_the_operator_serves():
    on = ["--set=monitoring.serviceMonitor.enabled=true", "--set=monitoring.podMonitor.enabled=true"]
    objects = rendered_chart("--set=operator.metricsPort=9191", *on)

    (container,) = one_of(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"name": "METRICS_PORT", "value": "9191"} in container["env"]
    assert {"name": "metrics", "containerPort": 9191} in container["ports"]
    service = one_of(objects, "Service")
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 9191, "targetPort": "metrics"}]
    pods = one_of(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pods
    monitor, of_pods = one_of(objects, "ServiceMonitor")["spec"], one_of(objects, "PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert of_pods["selector"]["matchLabels"].items() <= pods
    (endpoint,) = monitor["endpoints"]
    assert (endpoint["port"], endpoint["honorLabels"]) == ("metrics", True)
    assert of_pods["podMetricsEndpoints"] == [endpoint]


@pytest.mark.parametrize(
    "value", ["monitoring.serviceMonitor.interval=soon", "operator.metricsPort=8080", "monitoring.grafana=1"]
)
def test_a_value_that_is_wrong_is_refused(value: str):
    with pytest.raises(ProgramFailed, match=value.partition(".")[0]):
        rendered_chart("--set", value)


def test_the_dashboard_hangs_together():
    board = json.loads(one_of(rendered_chart(), "ConfigMap", "-dashboard")["data"]["backup-operator.json"])
    panels = board["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(cells)) == len(cells), "panels overlap"
    asking = [panel for panel in panels if panel["type"] != "row"]
    assert {target["datasource"]["uid"] for panel in asking for target in panel["targets"]} == {"${datasource}"}
    assert [panel["title"] for panel in asking if not panel["description"].endswith(".")] == []
    series = set(re.findall(r"backup_operator_\w+", json.dumps(asking)))
    assert {name.removeprefix(PREFIX) for name in series} <= HELP.keys() | OWN


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    return [(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])]


OWN = {
    "leader",
    "queue_length",
    "reconcile_seconds_bucket",
    "reconcile_seconds_count",
    "api_requests_total",
    "notifications_total",
}

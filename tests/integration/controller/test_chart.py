"""The chart: Helm and the API server take it, and the operator gets no right that it does not need."""

import json
from typing import Any

import pytest
import yaml

from backup_operator.controller.routes import Notifications, notifications_in
from backup_operator.rules.notices import Route
from backup_operator.vocabulary.notifications import NotificationKind
from tests.integration.controller.charting import CHART, helm, rendered_chart
from tests.support.kubectl import Namespace
from tests.support.shell import LocalShell, ProgramFailed

EVERY_VALUE = (
    "--set=imagePullSecrets[0].name=regcred",
    "--set=watchNamespaces={default,kube-public}",
    "--set=priorityClassName=system-cluster-critical",
    "--set=nodeSelector.disk=ssd",
    "--set=tolerations[0].operator=Exists",
    "--set=podAnnotations.note=yes",
    "--set=podLabels.team=db",
    "--set=serviceAccount.name=other",
    "--set=serviceAccount.annotations.note=yes",
    "--set=worker.imagePullSecrets={regcred}",
    "--set=worker.priorityClassName=low",
    "--set=worker.logFormat=human",
    "--set=testing.clockOffsetSeconds=-86400",
    "--set=fullnameOverride=backups",
    "--set=notifications.secretName=notification-urls",
    "--set=notifications.routes[0].urlKey=mail",
    "--set=notifications.routes[0].events={Failed,Stale}",
    "--set=notifications.routes[0].namespaces={prod}",
)


def test_helm_finds_no_fault():
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("values", [(), EVERY_VALUE], ids=["defaults", "every value"])
def test_the_api_server_takes_every_object(namespace: Namespace, values: tuple[str, ...]):
    objects = rendered_chart("--namespace", namespace.name, "--set=crds.install=false", *values)

    # a release that is installed owns the same names outside of namespaces
    kubectl = ("kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-")
    answer = LocalShell().run(*kubectl, stdin=yaml.safe_dump_all(objects).encode()).decode()

    assert answer.count("serverside-applied (server dry run)") == len(objects)


@pytest.mark.parametrize(
    "value",
    [
        "imagee.tag=x",
        "image.pullPolicy=Sometimes",
        "operator.workers=0",
        "worker.scratchSize=many",
        "worker.resources.limits.memory=lots",
        "worker.logFormat=xml",
        "testing.clockOffsetSeconds=1.5",
        "fullnameOverride=Upper",
        "notifications.routes[0].urlKey=mail",
        "notifications.routes[0].events={Faild}",
    ],
)
def test_a_value_that_is_wrong_is_refused(value: str):
    with pytest.raises(ProgramFailed, match=value.partition(".")[0]):
        rendered_chart("--set", value)


def test_no_rule_names_secrets_or_holds_a_star():
    rules = [rule for one in rendered_chart() for rule in one.get("rules", [])]

    words = {word for rule in rules for part in rule.values() for word in part}
    assert rules
    assert words & {"secrets", "*", "escalate", "impersonate", "delete", "finalizers"} == {"delete"}, "users may delete"
    ours = [rule for one in rendered_chart() if not one["metadata"]["name"].endswith("-edit") for rule in _rules(one)]
    assert not any("delete" in rule["verbs"] for rule in ours)


def _rules(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return list(manifest.get("rules", []))


def test_the_crds_stay_when_the_release_goes():
    crds = [one for one in rendered_chart() if one["kind"] == "CustomResourceDefinition"]

    assert [one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in crds] == ["keep", "keep"]
    assert not [one for one in rendered_chart("--set=crds.install=false") if one["kind"] == crds[0]["kind"]]


def test_the_pod_is_restricted(namespace: Namespace):
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    (deployment,) = [one for one in rendered_chart("--namespace", namespace.name) if one["kind"] == "Deployment"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator"},
        "spec": {**deployment["spec"]["template"]["spec"], "serviceAccountName": "default"},
    }

    answer = namespace.kubectl("apply", "--dry-run=server", "--filename=-", stdin=json.dumps(pod).encode())

    assert "pod/operator created (server dry run)" in answer


def test_worker_pods_are_restricted(namespace: Namespace):
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    golden = CHART.parents[1] / "tests" / "golden" / "manifests" / "cronjob-everything.yaml"
    template = yaml.safe_load(golden.read_text())["spec"]["jobTemplate"]["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "worker"},
        "spec": {**template["spec"], "serviceAccountName": "default"},
    }

    answer = namespace.kubectl("apply", "--dry-run=server", "--filename=-", stdin=json.dumps(pod).encode())

    assert "pod/worker created (server dry run)" in answer


def test_the_notes_say_what_to_type_next():
    place = ("--namespace", "backup-operator", "--set=crds.install=false")
    notes = helm("install", "notes-of-backup-operator", str(CHART), "--dry-run=client", *place)

    assert "kubectl -n backup-operator rollout status deployment/notes-of-backup-operator" in notes
    assert "create job --from=cronjob/app-db" in notes


def test_clocks_are_moved_where_a_test_asks_for_it_alone():
    def clock(*values: str) -> list[str]:
        (pod,) = [one["spec"]["template"]["spec"] for one in rendered_chart(*values) if one["kind"] == "Deployment"]
        return [one["value"] for one in pod["containers"][0]["env"] if one["name"] == "CLOCK_OFFSET_SECONDS"]

    assert clock() == []
    assert clock("--set=testing.clockOffsetSeconds=3456000") == ["3456000"]


def test_the_secret_with_urls_is_mounted_where_it_is_named_alone():
    def of_operator(*values: str) -> tuple[Notifications, list[dict[str, Any]]]:
        (pod,) = [one["spec"]["template"]["spec"] for one in rendered_chart(*values) if one["kind"] == "Deployment"]
        environment = {one["name"]: one.get("value", "") for one in pod["containers"][0]["env"]}
        return notifications_in(environment), [one["secret"] for one in pod["volumes"] if "secret" in one]

    route = Route("mail", frozenset({NotificationKind.FAILED, NotificationKind.STALE}), frozenset({"prod"}))
    assert of_operator() == (Notifications(), [])
    assert of_operator(*EVERY_VALUE) == (
        Notifications((route,)),
        [{"secretName": "notification-urls", "optional": True}],
    )


def test_images_are_named_by_tag_or_by_digest():
    rendered = rendered_chart("--set-string=image.tag=1.2", "--set=workerImage.tag=sha256:abc")

    (pod,) = [one["spec"]["template"]["spec"] for one in rendered if one["kind"] == "Deployment"]
    (container,) = pod["containers"]
    assert container["image"] == "backup-operator:1.2"
    assert {"name": "BACKUP_IMAGE", "value": "backup-operator-worker@sha256:abc"} in container["env"]


@pytest.mark.parametrize(
    "value",
    [
        "monitoring",
        "monitoring.prometheusRule",
        "monitoring.dashboard",
        "notifications",
        "testing",
        "crds",
        "serviceAccount",
        "operator",
        "operator.workers",
        "operator.metricsPort",
        "podLabels",
    ],
)
def test_a_value_that_is_null_is_as_if_nothing_was_said(value: str):
    by_default = rendered_chart()

    told = rendered_chart("--set", f"{value}=null")

    deployment = {one["kind"]: one for one in told}["Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    figures = {one["name"]: one.get("value") for one in container["env"]}
    assert (figures["WORKERS"], figures["METRICS_PORT"]) == ("8", "8081")
    assert {one["kind"] for one in told} == {one["kind"] for one in by_default}


def test_alert_labels_may_be_null():
    on = "--set=monitoring.prometheusRule.enabled=true"

    assert rendered_chart(on, "--set=monitoring.prometheusRule.alertLabels=null") == rendered_chart(on)


def test_names_that_look_like_numbers_or_booleans_stay_texts():
    kinds = [f"--set=monitoring.{kind}.enabled=true" for kind in ("serviceMonitor", "podMonitor", "prometheusRule")]
    odd = ["--set-string=watchNamespaces={99,1e3}", "--set-string=priorityClassName=true", "--set-string=podLabels.a=1"]
    told = rendered_chart("--namespace", "1234", "--set-string=fullnameOverride=on", *odd, *kinds)

    for one in told:
        assert isinstance(one["metadata"]["name"], str)
        assert isinstance(one["metadata"].get("namespace", ""), str)
        for subject in one.get("subjects", []):
            assert (subject["name"], subject["namespace"]) == ("on", "1234")
    (pod,) = [one["spec"]["template"]["spec"] for one in told if one["kind"] == "Deployment"]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("true", "on")
    assert {type(one["value"]) for one in pod["containers"][0]["env"] if "value" in one} == {str}
    assert {"--namespace=99", "--namespace=1e3"} <= set(pod["containers"][0]["args"])


def test_labels_of_ones_own_do_not_take_the_place_of_those_that_select():
    told = rendered_chart("--set-string=podLabels.app\\.kubernetes\\.io/name=mine", "--set-string=podLabels.team=db")

    (deployment,) = [one for one in told if one["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["team"] == "db"

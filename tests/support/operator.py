"""The installed operator. Used by the e2e tests and the demo: installs the chart, tells what happened."""

import json
from pathlib import Path

from tests.support.kubectl import Namespace
from tests.support.shell import LocalShell, ProgramFailed

CHECKOUT = Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "charts" / "backup-operator"
OPERATOR_NAMESPACE = "backup-operator"
RELEASE = "backup-operator"
INSTALL = (
    "helm", "upgrade", "--install", RELEASE, "charts/backup-operator",
    "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
    "--set", "image.repository=backup-operator", "--set", "image.tag=dev",
    "--set", "workerImage.repository=backup-operator-worker", "--set", "workerImage.tag=dev",
    "--wait", "--timeout", "180s",
)  # fmt: skip
"""The command of `make install`, typed in the checkout."""


def install_operator(*values: str) -> None:
    """Install or upgrade the chart with the images that `make images` built, and wait until the operator is ready.

    `values` are more words of Helm, such as `--set` and what it sets; without them everything else has its default.
    """
    argv = [str(CHART) if word == "charts/backup-operator" else word for word in INSTALL]
    LocalShell().run(*argv, *values, timeout_seconds=200)


def operator_pods() -> list[str]:
    """Names of the operator's pods that are not going away."""
    pods = Namespace(OPERATOR_NAMESPACE).list("pod", f"app.kubernetes.io/instance={RELEASE}")
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def tell_what_happened(namespace: Namespace, operator: Namespace) -> str:
    """Everything that explains a failed test: policies, Jobs, pods, Events, logs of workers and operator."""
    questions = (
        ("get", "bp,rr,cronjob,job,pod,pvc", "--output=wide"),
        ("get", "bp,rr", "--output=yaml"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "--selector=app.kubernetes.io/managed-by=backup-operator", "--tail=40", "--prefix"),
    )
    answers = [_said(namespace, *arguments) for arguments in questions]
    log = _said(operator, "logs", f"--selector=app.kubernetes.io/instance={RELEASE}", "--tail=60")
    return "\n".join([f"=== what happened in {namespace.name}", *answers, log])


def _said(namespace: Namespace, *arguments: str) -> str:
    try:
        return f"--- kubectl {' '.join(arguments)}\n{namespace.kubectl(*arguments)}"
    except ProgramFailed as refused:
        return f"--- {refused}"


def everything_in(namespace: Namespace) -> str:
    """Every object of the kinds that we make or touch, Secrets apart, as JSON text: to look for secrets in it."""
    kinds = "bp,rr,cronjob,job,pod,pvc,events,configmap"
    return json.dumps(json.loads(namespace.kubectl("get", kinds, "--output=json")))

"""What is installed on a cluster: restricted, without a right to Secrets, and a person can ask it everything."""

import json

import pytest

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.servers import Servers
from tests.support.shell import LocalShell


def test_the_operator_may_read_no_secret_anywhere(operator: Namespace):
    account = operator.list("pod", "app.kubernetes.io/instance=backup-operator")[0]["spec"]["serviceAccountName"]
    who = f"--as=system:serviceaccount:{operator.name}:{account}"
    for verb in ("get", "list", "watch"):
        answer = kubectl_with_warnings("auth", "can-i", verb, "secrets", "--all-namespaces", who)
        assert answer.strip() == "no", verb


def test_operator_and_worker_pods_are_restricted(operator: Namespace, ground: Namespace, servers: Servers):
    """The API server itself judges the pods that are there by the Pod Security Standard `restricted`."""
    ground.apply(objects.backup_policy("app", objects.redis_source()))
    Policy(ground, "app").back_up("now")

    verdicts = {space.name: verdict_on_pods_of(space) for space in (operator, ground, servers.namespace)}

    assert "violate" in verdicts[servers.namespace.name], "the test's own servers run as root and must be seen"
    assert "violate" not in verdicts[operator.name]
    assert "violate" not in verdicts[ground.name]
    container = operator.list("pod", "app.kubernetes.io/instance=backup-operator")[0]["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def verdict_on_pods_of(space: Namespace) -> str:
    """What the API server would warn about if the namespace were restricted."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    return kubectl_with_warnings("label", "namespace", space.name, label, "--dry-run=server", "--overwrite")


def kubectl_with_warnings(*arguments: str) -> str:
    """What kubectl prints to stdout and stderr, whatever its exit code."""
    shell = LocalShell(prefix=("bash", "-c", 'kubectl "$@" 2>&1 || true', "kubectl"))
    return shell.run(*arguments).decode()


@pytest.mark.parametrize("resource", ["backuppolicies", "restorerequests"])
def test_every_field_is_explained(operator: Namespace, resource: str):
    definition = json.loads(operator.kubectl("get", "crd", f"{resource}.backup.agentsflow.ai", "--output=json"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    unexplained = [path for path, part in fields(schema, resource) if not part.get("description")]
    assert unexplained == []
    said = operator.kubectl("explain", f"{resource}.spec")
    assert all(name in said for name in schema["properties"]["spec"]["properties"])


def fields(schema, path):
    """Every property below a schema, by its path; metadata is Kubernetes' own."""
    for name, part in schema.get("properties", {}).items():
        if name == "metadata" and path.count(".") == 0:
            continue
        yield f"{path}.{name}", part
        yield from fields(part, f"{path}.{name}")
        yield from fields(part.get("items", {}), f"{path}.{name}")

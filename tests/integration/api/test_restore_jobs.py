"""The Jobs of RestoreRequests on a real API server: taken field for field, whatever names and sizes they have."""

from typing import Any

import pytest

from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.manifests.labels import Work
from backup_operator.manifests.pod import WorkerPod
from backup_operator.manifests.restore import restore_job
from tests.integration.api.conftest import Server
from tests.unit.manifests.policies import policy
from tests.unit.manifests.requests import STORE, request

WORKER = WorkerPod(image="backup-operator-worker:1", priority_class="")
LONGEST = ".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 61))
SECRET = {"name": "s" * 253, "key": "k" * 253}
LARGEST: dict[str, Any] = {
    "from": {
        "store": {
            **STORE,
            "encryption": {"passphraseSecretRef": SECRET, "previousPassphraseSecretRefs": [SECRET] * 10},
        }
    },
    "target": {"postgres": {"urlSecretRef": SECRET, "tls": {"caSecretRef": SECRET}}},
    "checks": [{"name": f"check {number}", "sql": "é" * 2000, "equals": "1"} for number in range(49)],
    "job": {
        "deadline": "36h",
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "2Gi", "cpu": 2}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        "imagePullSecrets": [{"name": "registry"}],
    },
}


@pytest.mark.parametrize("work", [Work.PLAN, Work.RESTORE])
@pytest.mark.parametrize(
    "one",
    [request(), request(LONGEST), request("n" * 253), request("a.b.c"), request(**LARGEST)],
    ids=["the shortest", "the longest name", "the longest name without dots", "a name with dots", "the largest order"],
)
def test_the_server_takes_the_job(server: Server, one: RestoreRequest, work: Work):
    made = one.model_copy(update={"metadata": one.metadata.model_copy(update={"namespace": server.namespace})})
    job = restore_job(made, policy(namespace=server.namespace), WORKER, work=work, approved="0123abcd", asked_by="me")
    jobs = f"/apis/batch/v1/namespaces/{server.namespace}/jobs"

    answer = server.ask("POST", jobs, job, dryRun="All", fieldValidation="Strict")

    assert answer.refusal == ""
    assert answer.body["spec"]["backoffLimit"] == 0
    assert answer.body["spec"]["podReplacementPolicy"] == "Failed"

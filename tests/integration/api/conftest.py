"""A real API server from KUBECONFIG, with our CRDs under a group of this run's own: nobody else's are touched."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client, config

from backup_operator.api.meta import GROUP, VERSION
from backup_operator.api.schema import RESOURCES, custom_resource_definition
from tests.support.polling import wait_until

AS_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Answer:
    """What the API server answered."""

    status: int
    body: Mapping[str, Any]

    @property
    def refusal(self) -> str:
        """Its words when it refused; empty when it did not."""
        return "" if self.status < 300 else str(self.body["message"])


@dataclass(frozen=True)
class Server:
    """The API server, a namespace, and the group under which our CRDs are served."""

    api: client.ApiClient
    group: str
    namespace: str

    def ask(
        self, verb: str, path: str, body: object = None, *, accept: str = "application/json", **query: str
    ) -> Answer:
        """One request; a refusal is an answer too."""
        headers = {"Accept": accept, "Content-Type": "application/json"}
        request = self.api.param_serialize(
            verb,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self.api.call_api(*request)
        return Answer(response.status, json.loads(response.read()))

    def collection(self, kind: str) -> str:
        """Where objects of this kind are."""
        plural = next(resource.plural for resource in RESOURCES if resource.kind == kind)
        return f"/apis/{self.group}/{VERSION}/namespaces/{self.namespace}/{plural}"

    def manifest(self, kind: str, spec: object) -> dict[str, Any]:
        """An object with this spec and a name of its own."""
        metadata = {"name": f"case-{uuid.uuid4().hex[:12]}"}
        return {"apiVersion": f"{self.group}/{VERSION}", "kind": kind, "metadata": metadata, "spec": spec}

    def create(self, kind: str, spec: object) -> Mapping[str, Any]:
        """The object, made for real."""
        answer = self.ask("POST", self.collection(kind), self.manifest(kind, spec), fieldValidation="Strict")
        assert answer.status == 201, answer.refusal
        return answer.body


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The API server with our CRDs; group and namespace go when the tests are over."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail("KUBECONFIG is not set; run `make cluster` and `export KUBECONFIG=$PWD/.cluster/kubeconfig`")
    config.load_kube_config(os.environ["KUBECONFIG"])
    run = f"t{uuid.uuid4().hex[:8]}"
    one = Server(client.ApiClient(), f"{run}.{GROUP}", f"api-{run}")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.namespace}}
    assert one.ask("POST", "/api/v1/namespaces", namespace).status == 201
    try:
        for resource in RESOURCES:
            _install(one, custom_resource_definition(resource))
        yield one
    finally:
        for resource in RESOURCES:
            one.ask("DELETE", f"{_DEFINITIONS}/{resource.plural}.{one.group}")
        one.ask("DELETE", f"/api/v1/namespaces/{one.namespace}")


def _install(server: Server, definition: dict[str, Any]) -> None:
    """The CRD under the group of this run; it is served when this returns."""
    text = json.dumps(definition).replace(f'"{GROUP}"', f'"{server.group}"')
    moved = json.loads(text)
    moved["metadata"]["name"] = f"{moved['spec']['names']['plural']}.{server.group}"
    answer = server.ask("POST", _DEFINITIONS, moved, fieldValidation="Strict")
    assert answer.status == 201, answer.refusal
    path = f"{_DEFINITIONS}/{moved['metadata']['name']}"
    wait_until(lambda: _true_conditions(server, path), {"Established", "NamesAccepted"}.issubset, for_what=path)
    kind = moved["spec"]["names"]["kind"]
    wait_until(lambda: server.ask("GET", server.collection(kind)).status, lambda status: status == 200, for_what=kind)


def _true_conditions(server: Server, path: str) -> set[str]:
    conditions = server.ask("GET", path).body.get("status", {}).get("conditions") or []
    return {condition["type"] for condition in conditions if condition["status"] == "True"}

"""Objects read from the API server of KUBECONFIG, without a program of its own. Used by `kubectl`.

Tests read the same object again and again until it is as they wait for. A kubectl each time takes 0.13 s of CPU: four
tests side by side would keep one of two cores busy with asking.
"""

import functools
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from tests.support.shell import ProgramFailed

_CORE, _BATCH, _OURS = "api/v1", "apis/batch/v1", "apis/backup.agentsflow.ai/v1alpha1"
COLLECTIONS: Mapping[str, tuple[str, str]] = {
    "pod": (_CORE, "pods"),
    "pvc": (_CORE, "persistentvolumeclaims"),
    "persistentvolumeclaim": (_CORE, "persistentvolumeclaims"),
    "secret": (_CORE, "secrets"),
    "serviceaccount": (_CORE, "serviceaccounts"),
    "job": (_BATCH, "jobs"),
    "cronjob": (_BATCH, "cronjobs"),
    "backuppolicy": (_OURS, "backuppolicies"),
    "restorerequest": (_OURS, "restorerequests"),
}
"""Where the kinds that are read here lie: API version and plural. All others are kubectl's to find."""
_TIMEOUT_SECONDS = 30


def find(namespace: str, kind: str, name: str) -> dict[str, Any]:
    """The object as `kubectl get` shows it, or an empty dict when there is none. Raises: ProgramFailed."""
    status, answer = _ask(f"{_collection(namespace, kind)}/{quote(name)}")
    return _shown(answer) if status == 200 else {}


def list_all(namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
    """All objects of the kind that the label selector takes; empty: all. Raises: ProgramFailed."""
    _, answer = _ask(f"{_collection(namespace, kind)}?{urlencode({'labelSelector': selector})}")
    own = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
    return [own | _shown(one) for one in answer["items"]]


def _collection(namespace: str, kind: str) -> str:
    version, plural = COLLECTIONS[kind]
    return f"{version}/namespaces/{namespace}/{plural}"


def _ask(path: str) -> tuple[int, dict[str, Any]]:
    """Status and body; 404 only for an object that is missing, never for a kind. Raises: ProgramFailed."""
    api = _api(os.environ.get("KUBECONFIG"))
    request = api.param_serialize(
        "GET", f"/{path}", header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
    )
    try:
        answer = api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
        body = answer.read()
    except (HTTPError, client.ApiException) as exc:
        raise ProgramFailed(f"GET {path}: {exc}") from exc
    missing = answer.status == 404 and b'"details"' in body
    if answer.status != 200 and not missing:
        raise ProgramFailed(f"GET {path}: {answer.status} {body.decode(errors='replace')}")
    return answer.status, json.loads(body)


@functools.cache
def _api(kubeconfig: str | None) -> client.ApiClient:
    made: client.ApiClient = config.new_client_from_config(kubeconfig)
    return made


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    """Without what kubectl does not show either."""
    found["metadata"].pop("managedFields", None)
    return found

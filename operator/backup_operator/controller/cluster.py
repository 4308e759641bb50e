"""Room `controller`: the one door to the API server; used by every other module of the room, imports the client alone.

ClusterError                    talking to the API server failed; its text holds the server's own words
├── Unreachable                 no answer: connection, TLS or timeout; the server may be restarting
└── Refused                     an answer of 4xx or 5xx
    ├── NotFound                404
    ├── AlreadyExists           409 on create
    └── Conflict                409 otherwise: somebody wrote in between, or another manager owns a field

Objects are plain dicts as the server sends them. One raw door because `CustomObjectsApi` cannot apply server-side and
returns None on 201 (kubernetes 37.0.2).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client, config

FIELD_MANAGER = "backup-operator"
_REQUEST_TIMEOUT_SECONDS = 30
_PAGE_SIZE = 500
_CONFLICT = 409
_NOT_FOUND = 404

_config: Any = config
"""The client's functions carry no annotations."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of object, by the words of its URL."""

    api_version: str
    plural: str
    kind: str

    @property
    def root(self) -> str:
        """The beginning of its URLs."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"


POLICIES = Resource("backup.agentsflow.ai/v1alpha1", "backuppolicies", "BackupPolicy")
RESTORES = Resource("backup.agentsflow.ai/v1alpha1", "restorerequests", "RestoreRequest")
CRONJOBS = Resource("batch/v1", "cronjobs", "CronJob")
JOBS = Resource("batch/v1", "jobs", "Job")
PODS = Resource("v1", "pods", "Pod")
CLAIMS = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CORE_EVENTS = Resource("v1", "events", "Event")
EVENTS = Resource("events.k8s.io/v1", "events", "Event")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")


@dataclass(frozen=True, order=True)
class Key:
    """An object's place: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Answered:
    """A request that is over, as it is counted."""

    verb: str
    """In the words of RBAC: get, list, create, patch, update, delete."""
    resource: str
    """The plural, with its subresource: `backuppolicies/status`; empty where the API itself was asked."""
    code: int
    """The HTTP status; 0 when there was no answer."""


class ClusterError(Exception):
    """The API server gave no answer, or not the one that was wanted."""


class Unreachable(ClusterError):
    """The API server could not be reached."""


class Refused(ClusterError):
    """The API server said no; `status` is the HTTP status, the text is its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFound(Refused):
    """There is no such object, or no such kind."""


class AlreadyExists(Refused):
    """An object of that name is there."""


class Conflict(Refused):
    """The object is not the one that was read."""


class Cluster:
    """The API server, as an asynchronous context manager. Raises: ClusterError from every method."""

    def __init__(self, api: Any, told: Callable[[Answered], None] = lambda _: None) -> None:
        self._api = api
        self._told = told

    @classmethod
    async def connect(cls, told: Callable[[Answered], None] = lambda _: None) -> Self:
        """By KUBECONFIG or ~/.kube/config where there is one, else by the pod's service account.

        `told` is called after each request.
        """
        configuration = client.Configuration()
        # Python 3.13 refuses CAs without a key usage extension, which clusters have and every other client takes
        configuration.disable_strict_ssl_verification = True
        path = _kubeconfig()
        if path is not None:
            await _config.load_kube_config(config_file=path, client_configuration=configuration)
        else:
            _config.load_incluster_config(client_configuration=configuration)
        return cls(client.ApiClient(configuration), told)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._api.close()

    async def get(self, resource: Resource, key: Key) -> Manifest | None:
        """The object, or None where there is none."""
        try:
            return await self._call("GET", _object_path(resource, key))
        except NotFound:
            return None

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """All objects in a namespace, or in all of them, that fit label and field selector."""
        query = {"limit": str(_PAGE_SIZE)}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        items: list[Manifest] = []
        while True:
            page = await self._call("GET", _collection_path(resource, namespace), query=query)
            items += page.get("items") or []
            query["continue"] = page.get("metadata", {}).get("continue") or ""
            if not query["continue"]:
                return items

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Server-side apply as our one field manager; takes fields back that others have changed."""
        return await self._apply(_object_path(resource, key_of(manifest)), manifest)

    async def apply_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        """The whole status of an object, bound to the resourceVersion in its metadata. Raises: Conflict."""
        return await self._apply(_object_path(resource, key_of(manifest)) + "/status", manifest)

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """A new object. Raises: AlreadyExists."""
        try:
            return await self._call(
                "POST",
                _collection_path(resource, key_of(manifest).namespace),
                query={"fieldManager": FIELD_MANAGER},
                body=manifest,
            )
        except Conflict as exc:
            raise AlreadyExists(exc.status, str(exc)) from exc

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """The whole object in place of the one whose resourceVersion it carries. Raises: Conflict."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PUT", _object_path(resource, key_of(manifest)), query=query, body=manifest)

    async def delete(self, resource: Resource, key: Key, *, uid: str) -> None:
        """That very object and, in the background, what it owns; gone already is fine."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", _object_path(resource, key), body=body)
        except (NotFound, Conflict):
            return

    async def kinds_served(self, api_version: str) -> frozenset[str]:
        """The plurals that the server knows in an API group version; empty when it does not know the group."""
        try:
            found = await self._call("GET", f"/apis/{api_version}")
        except NotFound:
            return frozenset()
        return frozenset(resource["name"] for resource in found.get("resources", []))

    async def _apply(self, path: str, manifest: Manifest) -> Manifest:
        return await self._call(
            "PATCH",
            path,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        try:
            request = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Content-Type": content_type, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=_REQUEST_TIMEOUT_SECONDS)
            text = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            self._told(_answered(method, path, code=0))
            raise Unreachable(f"{method} {path}: {exc or type(exc).__name__}") from exc
        self._told(_answered(method, path, code=response.status))
        return _answer(response.status, text)


def _kubeconfig() -> str | None:
    path = Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    return str(path) if path.exists() else None


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Where an object is."""
    metadata = manifest["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def _collection_path(resource: Resource, namespace: str | None) -> str:
    return f"{resource.root}/{resource.plural}" if not namespace else _namespaced(resource, namespace)


def _namespaced(resource: Resource, namespace: str) -> str:
    return f"{resource.root}/namespaces/{quote(namespace, safe='')}/{resource.plural}"


def _object_path(resource: Resource, key: Key) -> str:
    return f"{_namespaced(resource, key.namespace)}/{quote(key.name, safe='')}"


_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


def _answered(method: str, path: str, *, code: int) -> Answered:
    root = 4 if path.startswith("/apis/") else 3
    resource, *rest = _below_namespace(path.split("/")[root:]) or [""]
    reading = "get" if rest or not resource else "list"
    return Answered(_VERBS.get(method, reading), "/".join([resource, *rest[1:]]), code)


def _below_namespace(parts: list[str]) -> list[str]:
    return parts[2:] if parts[:1] == ["namespaces"] else parts


def _answer(status: int, text: bytes) -> Manifest:
    if status < 400:
        answer: Manifest = json.loads(text)
        return answer
    raise _refusal(status, _words(text))


def _refusal(status: int, words: str) -> Refused:
    if status == _NOT_FOUND:
        return NotFound(status, words)
    return Conflict(status, words) if status == _CONFLICT else Refused(status, words)


def _words(text: bytes) -> str:
    """The message of a Status object, or the answer as it is where a proxy wrote it."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text.decode(errors="replace")[:500]
    return str(answer.get("message") or answer) if isinstance(answer, dict) else str(answer)

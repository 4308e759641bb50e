"""An API server in memory with the methods of `controller.cluster.Cluster` that the operator needs."""

import asyncio
import builtins
import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from backup_operator.controller.cluster import AlreadyExists, Conflict, Key, NotFound, Resource, Unreachable, key_of

T = TypeVar("T")
START = "2026-11-24T02:00:00Z"


class FakeCluster:
    """Objects by kind and place; every write that changes something gives a new resourceVersion."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Key], dict[str, Any]] = {}
        self.created: list[tuple[str, Key]] = []
        """Everything that was ever created, in order."""
        self.served: frozenset[str] = frozenset()
        self.away = False
        self.before_call: Callable[[str], None] = lambda _call: None
        self.after_call: Callable[[str], None] = lambda _call: None
        """Called with `create jobs`, `get restorerequests`, …; what they raise, the caller gets."""
        self.birth = START
        """The creationTimestamp of what is made from now on."""
        self._version = 0
        self._births: Counter[tuple[str, Key]] = Counter()

    async def get(self, resource: Resource, key: Key) -> dict[str, Any] | None:
        return await self._call("get", resource, lambda: copy.deepcopy(self.objects.get((resource.plural, key))))

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        def found() -> "builtins.list[dict[str, Any]]":
            return [
                copy.deepcopy(one)
                for (plural, key), one in sorted(self.objects.items())
                if plural == resource.plural and namespace in (None, key.namespace) and _fits(one, labels, fields)
            ]

        return await self._call("list", resource, found)

    async def create(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            if (resource.plural, key_of(manifest)) in self.objects:
                raise AlreadyExists(409, f'{resource.plural} "{key_of(manifest).name}" already exists')
            self.created.append((resource.plural, key_of(manifest)))
            return self.put(resource, manifest)

        return await self._call("create", resource, make)

    async def apply(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        """One manager alone: what is applied is what there is."""

        def write() -> dict[str, Any]:
            known = self.objects.get((resource.plural, key_of(manifest)), {})
            status = {"status": known["status"]} if "status" in known else {}
            return self.put(resource, {**manifest, **status})

        return await self._call("apply", resource, write)

    async def replace(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            self._check_version(resource, manifest)
            return self.put(resource, manifest)

        return await self._call("replace", resource, write)

    async def apply_status(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            known = self._check_version(resource, manifest)
            return self.put(resource, {**known, "status": manifest["status"]})

        return await self._call("apply_status", resource, write)

    async def close(self) -> None:
        """Nothing is to be given back."""

    async def kinds_served(self, api_version: str) -> frozenset[str]:
        if self.away:
            raise Unreachable("connection refused")
        return self.served

    def put(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        """As a person or a controller writes it: no call of the operator's."""
        place = (resource.plural, key_of(manifest))
        known = self.objects.get(place, {}).get("metadata", {})
        self._version += 1
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("uid", known.get("uid") or self._new_uid(place))
        metadata.setdefault("creationTimestamp", known.get("creationTimestamp") or self.birth)
        self.objects[place] = stored
        return copy.deepcopy(stored)

    def _new_uid(self, place: tuple[str, Key]) -> str:
        """Of its own for each object, and the same in each world in which the same is made."""
        self._births[place] += 1
        return f"uid-of-{place[0]}-{place[1].namespace}-{place[1].name}-{self._births[place]}"

    def remove(self, resource: Resource, key: Key) -> dict[str, Any]:
        """As a person deletes it."""
        return self.objects.pop((resource.plural, key))

    def all(self, resource: Resource) -> "builtins.list[dict[str, Any]]":
        """Everything of a kind, by name."""
        return [one for (plural, _), one in sorted(self.objects.items()) if plural == resource.plural]

    def _check_version(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        known = self.objects.get((resource.plural, key_of(manifest)))
        if known is None:
            raise NotFound(404, "not found")
        if known["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict(409, "the object has been modified")
        return known

    async def _call(self, verb: str, resource: Resource, do: Callable[[], T]) -> T:
        if self.away:
            raise Unreachable("connection refused")
        call = f"{verb} {resource.plural}"
        # others have their turn in the middle of every call
        await asyncio.sleep(0)
        self.before_call(call)
        answer = do()
        self.after_call(call)
        return answer


def _fits(manifest: dict[str, Any], labels: str, fields: str) -> bool:
    metadata = manifest["metadata"]
    wanted = dict(one.split("=") for one in labels.split(",") if one)
    if fields and f"involvedObject.uid={manifest.get('involvedObject', {}).get('uid')}" not in fields.split(","):
        return False
    return bool(wanted.items() <= metadata.get("labels", {}).items())

"""An API server in memory with the methods of `controller.cluster.Cluster` that a Lease needs; counts its writes."""

import copy
from typing import Any

from backup_operator.controller.cluster import AlreadyExists, Conflict, Key, Resource, Unreachable, key_of


class FakeCluster:
    """Objects by kind and place; every write gives a new resourceVersion."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Key], dict[str, Any]] = {}
        self.served: frozenset[str] = frozenset()
        self.away = False
        self._version = 0

    async def get(self, resource: Resource, key: Key) -> dict[str, Any] | None:
        self._answer()
        return copy.deepcopy(self.objects.get((resource.plural, key)))

    async def create(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        if (resource.plural, key_of(manifest)) in self.objects:
            raise AlreadyExists(409, "already exists")
        return self._write(resource, manifest)

    async def replace(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        known = self.objects[resource.plural, key_of(manifest)]
        if known["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict(409, "the object has been modified")
        return self._write(resource, manifest)

    async def kinds_served(self, api_version: str) -> frozenset[str]:
        self._answer()
        return self.served

    def _write(self, resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        stored = copy.deepcopy(manifest)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.objects[resource.plural, key_of(manifest)] = stored
        return copy.deepcopy(stored)

    def _answer(self) -> None:
        if self.away:
            raise Unreachable("connection refused")

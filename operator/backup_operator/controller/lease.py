"""Room `controller`: the Lease: one operator at a time, and the proof that its watch is alive. Run by `engine`.

The holder renews the Lease, and every operator also sees it through its own watch: a Lease that changes and is not seen
to change means that the watch is deaf. While the API server is away nothing changes, so an outage is no reason to die.
Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from backup_operator.controller.cluster import LEASES, AlreadyExists, Cluster, ClusterError, Conflict, Key, Manifest

log = logging.getLogger(__name__)

_DEAF_AFTER = timedelta(seconds=60)
"""How far the watch may lag behind before it counts as deaf; Kopf reconnects within a few seconds."""
_RENEWALS_PER_DURATION = 4


class LeaseLost(Exception):
    """Another operator holds the Lease that was ours: the process must end, and starts again as a second one."""


class Leadership:
    """Takes and renews the Lease, and compares what it reads with what the watch shows."""

    def __init__(
        self,
        cluster: Cluster,
        lease: Key,
        identity: str,
        duration: timedelta,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._lease = lease
        self._identity = identity
        self._duration = duration
        self._clock = clock
        self._term = _Term(duration)
        self._read_change_at = self._watched_at = clock()
        self._read_version = ""
        self.taken = asyncio.Event()
        """Set when this operator is the one that works."""

    async def run(self) -> None:
        """Wait for the Lease, then renew it for ever. Raises: LeaseLost."""
        while True:
            try:
                await self._step()
            except (ClusterError, TimeoutError) as exc:
                log.warning("lease not renewed", extra={"lease": str(self._lease), "error": str(exc)})
            await asyncio.sleep(self._duration.total_seconds() / _RENEWALS_PER_DURATION)

    def seen_by_watch(self, lease: Manifest) -> None:
        """Take note of a change of the Lease that the watch has told."""
        metadata = lease["metadata"]
        if Key(metadata["namespace"], metadata["name"]) == self._lease:
            self._watched_at = self._clock()

    @property
    def watch_is_deaf(self) -> bool:
        """Whether the Lease has long changed and the watch has not told."""
        return self._read_change_at - self._watched_at > _DEAF_AFTER

    async def give_up(self) -> None:
        """Let the next operator take the Lease at once."""
        if not self.taken.is_set():
            return
        try:
            found = await self._cluster.get(LEASES, self._lease)
            if found is not None and _holder(found) == self._identity:
                await self._cluster.replace(LEASES, self._with_holder(found, ""))
        except ClusterError as exc:
            log.warning("lease not given up", extra={"lease": str(self._lease), "error": str(exc)})

    async def _step(self) -> None:
        found = await self._cluster.get(LEASES, self._lease)
        if found is None:
            found = await self._create()
        self._read(found)
        holder = _holder(found)
        if holder == self._identity:
            self._hold(await self._renew(found))
        elif self.taken.is_set():
            raise LeaseLost(f"Lease {self._lease} is held by {holder!r}")
        elif not holder or self._term.is_over(found, self._clock()):
            self._hold(await self._renew(found))

    async def _create(self) -> Manifest:
        empty = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._lease.namespace, "name": self._lease.name},
            "spec": {},
        }
        try:
            return await self._cluster.create(LEASES, empty)
        except AlreadyExists:
            return await self._cluster.get(LEASES, self._lease) or empty

    async def _renew(self, found: Manifest) -> Manifest | None:
        try:
            return await self._cluster.replace(LEASES, self._with_holder(found, self._identity))
        except Conflict:
            return None

    def _hold(self, renewed: Manifest | None) -> None:
        if renewed is None:
            return
        self._read(renewed)
        if not self.taken.is_set():
            log.info("lease taken", extra={"lease": str(self._lease), "identity": self._identity})
        self.taken.set()

    def _read(self, lease: Manifest) -> None:
        version = lease["metadata"].get("resourceVersion", "")
        if version != self._read_version:
            self._read_version, self._read_change_at = version, self._clock()

    def _with_holder(self, found: Manifest, holder: str) -> Manifest:
        spec = found.get("spec") or {}
        before, now = _holder(found), self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changed = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._duration.total_seconds()),
            "renewTime": now,
            "acquireTime": spec.get("acquireTime", now) if before == holder else now,
            "leaseTransitions": spec.get("leaseTransitions", 0) + (before != holder and bool(holder)),
        }
        return {**found, "spec": {**spec, **changed}}


class _Term:
    """Judges another holder's Lease by our own clock: it is over when it has not changed for its whole duration."""

    def __init__(self, duration: timedelta) -> None:
        self._duration = duration
        self._version = ""
        self._since: datetime | None = None

    def is_over(self, lease: Manifest, now: datetime) -> bool:
        """Whether the holder has not renewed for as long as it promised."""
        version = lease["metadata"].get("resourceVersion", "")
        if self._since is None or version != self._version:
            self._version, self._since = version, now
        return now - self._since > self._duration


def _holder(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")

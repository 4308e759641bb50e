"""Room `controller`: sends Events and never fails for one; called by `policies` and `restores`."""

import logging
from collections.abc import Iterable
from datetime import datetime

from backup_operator.controller.cluster import EVENTS, AlreadyExists, Cluster, ClusterError
from backup_operator.manifests.event import Occurrence, Subject, event

log = logging.getLogger(__name__)


async def announce(
    cluster: Cluster, subject: Subject, occurrences: Iterable[Occurrence], at: datetime, *, instance: str
) -> None:
    """Send each as an Event; one that is lost is logged, because the status says the same."""
    for occurrence in occurrences:
        try:
            await cluster.create(EVENTS, event(subject, occurrence, at, instance=instance))
        except AlreadyExists:
            continue
        except ClusterError as exc:
            log.warning("event lost", extra={"reason": occurrence.reason, "about": subject.name, "error": str(exc)})

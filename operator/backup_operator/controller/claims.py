"""Room `controller`: finds the claim of a policy, and makes that of a claimTemplate; called by `policies`.

Created, and never applied, patched or deleted: what is on it is worth more than what a template says today.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.controller.cluster import CLAIMS, AlreadyExists, Cluster, Key, Manifest, Refused
from backup_operator.controller.refusals import raise_if_it_heals
from backup_operator.controller.sight import moment
from backup_operator.manifests.claim import backup_claim
from backup_operator.manifests.order import claim_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimFound:
    """The claim that holds a store; without uid and time where there is none."""

    uid: str = ""
    created_at: datetime | None = None
    refused: str = ""
    """Why the one that a claimTemplate asks for cannot be written to."""


async def find_claim(cluster: Cluster, policy: BackupPolicy) -> ClaimFound:
    """The policy's claim, made where it is missing and a template says how. Raises: ClusterError."""
    key = Key(policy.metadata.namespace, claim_of(policy))
    live, wanted = await cluster.get(CLAIMS, key), backup_claim(policy)
    if live is None:
        return ClaimFound() if wanted is None else await _make(cluster, key, wanted)
    goes = wanted is not None and live["metadata"].get("deletionTimestamp")
    look = f"kubectl -n {key.namespace} describe pvc {key.name}"
    return _found(live, f"Claim {key} is being deleted, and the backups on it with it: {look}" if goes else "")


async def _make(cluster: Cluster, key: Key, wanted: Manifest) -> ClaimFound:
    try:
        made = await cluster.create(CLAIMS, wanted)
    except AlreadyExists:
        return ClaimFound()
    except Refused as exc:
        raise_if_it_heals(exc)
        log.warning("claim refused", extra={"claim": str(key), "error": str(exc)})
        words = f"The API server refused claim {key}, which spec.storage.claimTemplate asks for: {exc}"
        return ClaimFound(refused=words)
    log.info("claim made", extra={"claim": str(key)})
    return _found(made)


def _found(claim: Manifest, refused: str = "") -> ClaimFound:
    metadata = claim["metadata"]
    return ClaimFound(metadata["uid"], moment(metadata["creationTimestamp"]), refused)

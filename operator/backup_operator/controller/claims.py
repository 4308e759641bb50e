"""Room `controller`: makes the PersistentVolumeClaim of a claimTemplate where it is missing; called by `policies`.

Created, and never applied, patched or deleted: what is on it is worth more than what a template says today.
"""

import logging

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.controller.cluster import CLAIMS, AlreadyExists, Cluster, Refused, key_of
from backup_operator.controller.refusals import raise_if_it_heals
from backup_operator.manifests.claim import backup_claim

log = logging.getLogger(__name__)


async def make_claim_if_missing(cluster: Cluster, policy: BackupPolicy) -> str:
    """Why there is no claim to write to; empty when there is one, or none is ours to make. Raises: ClusterError."""
    wanted = backup_claim(policy)
    if wanted is None:
        return ""
    key = key_of(wanted)
    live = await cluster.get(CLAIMS, key)
    if live is not None and live["metadata"].get("deletionTimestamp"):
        look = f"kubectl -n {key.namespace} describe pvc {key.name}"
        return f"Claim {key} is being deleted, and the backups on it with it: {look}"
    if live is not None:
        return ""
    try:
        await cluster.create(CLAIMS, wanted)
    except AlreadyExists:
        return ""
    except Refused as exc:
        raise_if_it_heals(exc)
        log.warning("claim refused", extra={"claim": str(key), "error": str(exc)})
        return f"The API server refused claim {key}, which spec.storage.claimTemplate asks for: {exc}"
    log.info("claim made", extra={"claim": str(key), "policy": policy.metadata.name})
    return ""

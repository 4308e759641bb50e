"""Room `rules`: which PersistentVolumeClaim holds a policy's store; pure.

Called by `.admission`, `manifests` and `controller`: whoever asks gets the same name, whether a person or the operator
makes the claim.
"""

from backup_operator.api.storage import Storage
from backup_operator.rules.short_names import short_name

CLAIM_NAME_LIMIT = 63
"""Kubernetes takes 253, but provisioners put the name into labels and directories beside other names."""
_SUFFIX = "-backups"


def claim_name(policy: str, storage: Storage) -> str:
    """The claim that the spec names; with a claimTemplate `<policy>-backups`, so that a policy made again finds it."""
    if storage.claim_name is not None:
        return storage.claim_name
    return short_name(policy, CLAIM_NAME_LIMIT - len(_SUFFIX)) + _SUFFIX

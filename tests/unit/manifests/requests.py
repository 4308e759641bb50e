"""RestoreRequests for the tests of builders."""

from typing import Any

from backup_operator.api.meta import Metadata
from backup_operator.api.restorerequest import RestoreRequest, RestoreRequestSpec

UID = "99999999-8888-7777-6666-555555555555"
STORE = {
    "claimName": "backups",
    "path": "prod/app-db",
    "encryption": {
        "passphraseSecretRef": {"name": "key", "key": "PASSPHRASE"},
        "previousPassphraseSecretRefs": [{"name": "key", "key": "OF_2025"}],
    },
}


def request(name: str = "bring-back", namespace: str = "prod", uid: str = UID, **spec: Any) -> RestoreRequest:
    """A request for the newest backup of app-db; fields of the spec by their names in YAML."""
    wanted: dict[str, Any] = {
        "from": {"policyRef": {"name": "app-db"}},
        "backup": {"latest": True},
        "target": {"postgres": {}},
    } | spec
    metadata = Metadata(name=name, namespace=namespace, uid=uid, generation=1)
    return RestoreRequest(metadata=metadata, spec=RestoreRequestSpec.model_validate(wanted))

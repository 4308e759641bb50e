"""Policies for the tests of builders and rules."""

from typing import Any

from backup_operator.api.backuppolicy import BackupPolicy, BackupPolicySpec
from backup_operator.api.meta import Metadata


def policy(name: str = "app-db", namespace: str = "prod", **spec: Any) -> BackupPolicy:
    """A policy of a PostgreSQL database; fields of the spec by their names in YAML."""
    wanted: dict[str, Any] = {
        "source": {"postgres": {"urlSecretRef": {"name": "app", "key": "SUPABASE_DB_URL"}}},
        "schedule": "0 2 * * *",
        "encryption": {"passphraseSecretRef": {"name": "app", "key": "BACKUP_ENCRYPTION_KEY"}},
        "storage": {"claimName": "backups"},
    } | spec
    metadata = Metadata(name=name, namespace=namespace, uid="11111111-2222-3333-4444-555555555555", generation=1)
    return BackupPolicy(metadata=metadata, spec=BackupPolicySpec.model_validate(wanted))

"""Room `manifests`: the order of a policy's worker, and the secrets that it names.

Called by `manifests.children`, and by `manifests.restore` for what a restore shares with it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from backup_operator.api import source as api
from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.meta import SecretKeyRef
from backup_operator.api.source import PostgresSource, RedisSource
from backup_operator.api.storage import DEFAULT_MINIMUM
from backup_operator.contract.order import (
    BackupOrder,
    CompressionOrder,
    InventoryOrder,
    NameFilter,
    PolicyIdentity,
    PostgresOrder,
    PostgresTls,
    RedisOrder,
    RedisTls,
    RetentionOrder,
    StoreOrder,
    TableFilter,
)
from backup_operator.manifests.pod import STORE_MOUNT, SecretMount
from backup_operator.manifests.secrets import (
    optional_secret_file,
    passphrase_files,
    passphrases_by_role,
    secret_file,
    secret_mounts_of,
)
from backup_operator.rules.admission import accepted_run, store_path
from backup_operator.rules.claims import claim_name

_HEARTBEAT = "heartbeat"
_NO_RULES = {"dry_run", "digest"}
"""The parts of a retention order that are no rules."""


def backup_order(policy: BackupPolicy) -> BackupOrder:
    """What the worker of this policy's runs is asked to do."""
    spec, namespace = policy.spec, policy.metadata.namespace
    passphrase, *previous = passphrase_files(namespace, spec.encryption)
    return BackupOrder(
        policy=_identity(policy),
        postgres=_postgres(namespace, spec.source.postgres) if spec.source.postgres else None,
        redis=_redis(namespace, spec.source.redis) if spec.source.redis else None,
        passphrase=passphrase,
        previous_passphrases=tuple(previous),
        compression=CompressionOrder(algorithm=spec.compression.algorithm, level=spec.compression.effective_level),
        store=store_order(policy),
        retention=retention_order(policy),
        accepted_run=accepted_run(policy.metadata.annotations),
        heartbeat=optional_secret_file(namespace, _HEARTBEAT, _heartbeat(policy)),
        deadline=spec.job.deadline,
    )


def inventory_order(policy: BackupPolicy) -> InventoryOrder:
    """What the worker that reads this policy's catalog is asked to do."""
    passphrase, *previous = passphrase_files(policy.metadata.namespace, policy.spec.encryption)
    return InventoryOrder(
        policy=_identity(policy),
        passphrase=passphrase,
        previous_passphrases=tuple(previous),
        retention=retention_order(policy),
        accepted_run=accepted_run(policy.metadata.annotations),
        store=store_order(policy),
    )


def retention_order(policy: BackupPolicy) -> RetentionOrder:
    """The rules by which this policy's backups are kept, with every default filled in."""
    stated = policy.spec.retention
    rules = RetentionOrder(
        max_age=stated.effective_max_age,
        keep_last=stated.keep_last or 0,
        keep_daily=stated.keep_daily or 0,
        keep_weekly=stated.keep_weekly or 0,
        keep_monthly=stated.keep_monthly or 0,
        keep_yearly=stated.keep_yearly or 0,
        minimum=stated.minimum or DEFAULT_MINIMUM,
        time_zone=policy.spec.time_zone,
        dry_run=stated.dry_run,
    )
    return rules.model_copy(update={"digest": _long_digest(rules.model_dump(mode="json", exclude=_NO_RULES))})


def secret_mounts(policy: BackupPolicy) -> tuple[SecretMount, ...]:
    """Every secret that a backup of this policy reads."""
    source = policy.spec.source.postgres or policy.spec.source.redis
    assert source is not None
    refs = {**server_secrets(source.url_secret_ref, source.tls), _HEARTBEAT: _heartbeat(policy)}
    return (*secret_mounts_of(refs), *inventory_mounts(policy))


def inventory_mounts(policy: BackupPolicy) -> tuple[SecretMount, ...]:
    """The passphrases alone: an inventory needs no database."""
    return secret_mounts_of(passphrases_by_role(policy.spec.encryption))


def _heartbeat(policy: BackupPolicy) -> SecretKeyRef | None:
    return policy.spec.notify.heartbeat_url_secret_ref if policy.spec.notify else None


def claim_of(policy: BackupPolicy) -> str:
    """The claim that holds the store, made by a person or from the template."""
    return claim_name(policy.metadata.name, policy.spec.storage)


def store_of(policy: BackupPolicy) -> str:
    """Claim and path of the store, `claim:path`: two policies of a namespace with the same one are refused."""
    return f"{claim_of(policy)}:{_path(policy)}"


def _path(policy: BackupPolicy) -> str:
    return store_path(policy.spec, policy.metadata.namespace, policy.metadata.name)


def _identity(policy: BackupPolicy) -> PolicyIdentity:
    metadata = policy.metadata
    return PolicyIdentity(namespace=metadata.namespace, name=metadata.name, spec_digest=_spec_digest(policy))


def _spec_digest(policy: BackupPolicy) -> str:
    """Which form of the policy made a backup."""
    return _long_digest(policy.spec.model_dump(mode="json", by_alias=True, exclude_none=True))


def _long_digest(content: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal characters of SHA-256 over the content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def store_order(policy: BackupPolicy) -> StoreOrder:
    """Where the policy's store is, for any worker."""
    described = f"claim {policy.metadata.namespace}/{claim_of(policy)}"
    return StoreOrder(mount=STORE_MOUNT, path=_path(policy), described=described)


def _postgres(namespace: str, source: PostgresSource) -> PostgresOrder:
    return PostgresOrder(
        url=secret_file(namespace, "url", source.url_secret_ref),
        format=source.format,
        globals=source.globals,
        schemas=NameFilter(include=source.schemas.include, exclude=source.schemas.exclude),
        tables=TableFilter(exclude=source.tables.exclude, exclude_data=source.tables.exclude_data),
        profile=source.profile,
        tls=postgres_tls(namespace, source.tls),
    )


def _redis(namespace: str, source: RedisSource) -> RedisOrder:
    return RedisOrder(
        url=secret_file(namespace, "url", source.url_secret_ref),
        method=source.method,
        tls=redis_tls(namespace, source.tls),
    )


def server_secrets(url: SecretKeyRef, tls: api.PostgresTls | api.RedisTls) -> dict[str, SecretKeyRef | None]:
    """What a worker needs to reach a server, by role."""
    if isinstance(tls, api.PostgresTls):
        return {"url": url, "ca": tls.ca_secret_ref}
    return {"url": url, "ca": tls.ca_secret_ref, "certificate": tls.cert_secret_ref, "key": tls.key_secret_ref}


def postgres_tls(namespace: str, tls: api.PostgresTls) -> PostgresTls:
    """TLS to a PostgreSQL server, its files named."""
    return PostgresTls(mode=tls.mode, ca=optional_secret_file(namespace, "ca", tls.ca_secret_ref))


def redis_tls(namespace: str, tls: api.RedisTls) -> RedisTls:
    """TLS to a Redis server, its files named."""
    return RedisTls(
        ca=optional_secret_file(namespace, "ca", tls.ca_secret_ref),
        certificate=optional_secret_file(namespace, "certificate", tls.cert_secret_ref),
        key=optional_secret_file(namespace, "key", tls.key_secret_ref),
    )

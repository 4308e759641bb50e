"""Room `manifests`: the order of a policy's worker, and the secrets that it names; called by `manifests.children`."""

import hashlib
import json

from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.meta import SecretKeyRef
from backup_operator.api.source import PostgresSource, RedisSource
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
    SecretFile,
    StoreOrder,
    TableFilter,
)
from backup_operator.manifests.pod import STORE_MOUNT, SecretMount
from backup_operator.rules.admission import store_path


def backup_order(policy: BackupPolicy) -> BackupOrder:
    """What the worker of this policy's runs is asked to do."""
    spec = policy.spec
    return BackupOrder(
        policy=_identity(policy),
        postgres=_postgres(policy, spec.source.postgres) if spec.source.postgres else None,
        redis=_redis(policy, spec.source.redis) if spec.source.redis else None,
        passphrase=_passphrase(policy),
        compression=CompressionOrder(algorithm=spec.compression.algorithm, level=spec.compression.effective_level),
        store=_store(policy),
        deadline=spec.job.deadline,
    )


def inventory_order(policy: BackupPolicy) -> InventoryOrder:
    """What the worker that reads this policy's catalog is asked to do."""
    return InventoryOrder(policy=_identity(policy), passphrase=_passphrase(policy), store=_store(policy))


def secret_mounts(policy: BackupPolicy) -> tuple[SecretMount, ...]:
    """Every secret that a backup of this policy reads."""
    source, encryption = policy.spec.source, policy.spec.encryption
    if source.postgres is not None:
        roles = {"url": source.postgres.url_secret_ref, "ca": source.postgres.tls.ca_secret_ref}
    else:
        assert source.redis is not None
        tls = source.redis.tls
        roles = {
            "url": source.redis.url_secret_ref,
            "ca": tls.ca_secret_ref,
            "certificate": tls.cert_secret_ref,
            "key": tls.key_secret_ref,
        }
    mounts = tuple(_mount(role, ref) for role, ref in roles.items() if ref is not None)
    return (*mounts, _mount("passphrase", encryption.passphrase_secret_ref))


def inventory_mounts(policy: BackupPolicy) -> tuple[SecretMount, ...]:
    """The passphrase alone: an inventory needs no database."""
    return (_mount("passphrase", policy.spec.encryption.passphrase_secret_ref),)


def claim_of(policy: BackupPolicy) -> str:
    """The claim that holds the store. Raises: ValueError for a claimTemplate, which is never accepted yet."""
    name = policy.spec.storage.claim_name
    if name is None:
        raise ValueError("spec.storage.claimTemplate is a feature of a later release")
    return name


def store_of(policy: BackupPolicy) -> str:
    """Claim and path of the store, `claim:path`: two policies of a namespace with the same one are refused."""
    return f"{claim_of(policy)}:{_path(policy)}"


def _path(policy: BackupPolicy) -> str:
    return store_path(policy.spec, policy.metadata.namespace, policy.metadata.name)


def _identity(policy: BackupPolicy) -> PolicyIdentity:
    metadata = policy.metadata
    return PolicyIdentity(namespace=metadata.namespace, name=metadata.name, spec_digest=_spec_digest(policy))


def _spec_digest(policy: BackupPolicy) -> str:
    """The first 16 hexadecimal characters of SHA-256 over the spec: which form of the policy made a backup."""
    spec = policy.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def _store(policy: BackupPolicy) -> StoreOrder:
    described = f"claim {policy.metadata.namespace}/{claim_of(policy)}"
    return StoreOrder(mount=STORE_MOUNT, path=_path(policy), described=described)


def _postgres(policy: BackupPolicy, source: PostgresSource) -> PostgresOrder:
    return PostgresOrder(
        url=_file(policy, "url", source.url_secret_ref),
        format=source.format,
        globals=source.globals,
        schemas=NameFilter(include=source.schemas.include, exclude=source.schemas.exclude),
        tables=TableFilter(exclude=source.tables.exclude, exclude_data=source.tables.exclude_data),
        profile=source.profile,
        tls=PostgresTls(mode=source.tls.mode, ca=_optional_file(policy, "ca", source.tls.ca_secret_ref)),
    )


def _redis(policy: BackupPolicy, source: RedisSource) -> RedisOrder:
    return RedisOrder(
        url=_file(policy, "url", source.url_secret_ref),
        method=source.method,
        tls=RedisTls(
            ca=_optional_file(policy, "ca", source.tls.ca_secret_ref),
            certificate=_optional_file(policy, "certificate", source.tls.cert_secret_ref),
            key=_optional_file(policy, "key", source.tls.key_secret_ref),
        ),
    )


def _passphrase(policy: BackupPolicy) -> SecretFile:
    return _file(policy, "passphrase", policy.spec.encryption.passphrase_secret_ref)


def _optional_file(policy: BackupPolicy, role: str, ref: SecretKeyRef | None) -> SecretFile | None:
    return None if ref is None else _file(policy, role, ref)


def _file(policy: BackupPolicy, role: str, ref: SecretKeyRef) -> SecretFile:
    namespace = policy.metadata.namespace
    return SecretFile(
        path=_mount(role, ref).path,
        described=f"key {ref.key} of Secret {namespace}/{ref.name}",
        # works whether the Secret is there or not, and leaves its other keys as they are
        command=f"kubectl -n {namespace} create secret generic {ref.name} --from-file={ref.key}=<file> "
        "--dry-run=client -o yaml | kubectl apply --server-side -f -",
    )


def _mount(role: str, ref: SecretKeyRef) -> SecretMount:
    return SecretMount(role=role, secret=ref.name, key=ref.key)

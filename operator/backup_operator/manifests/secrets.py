"""Room `manifests`: secrets as orders name them and as pods mount them; called by `manifests.order` and `.restore`.

A role (`url`, `ca`, `passphrase-1`, …) ties the two together: the directory that one key of a Secret is mounted in.
"""

from collections.abc import Mapping

from backup_operator.api.meta import SecretKeyRef
from backup_operator.api.storage import Encryption
from backup_operator.contract.order import SecretFile
from backup_operator.manifests.pod import SecretMount

PASSPHRASE = "passphrase"  # noqa: S105 - the name of a directory


def secret_file(namespace: str, role: str, ref: SecretKeyRef) -> SecretFile:
    """Where the worker finds this key, how a person calls it, and what makes it when it is missing."""
    return SecretFile(
        path=_mount(role, ref).path,
        described=f"key {ref.key} of Secret {namespace}/{ref.name}",
        # works whether the Secret is there or not, and leaves its other keys as they are
        command=f"kubectl -n {namespace} create secret generic {ref.name} --from-file={ref.key}=<file> "
        "--dry-run=client -o yaml | kubectl apply --server-side -f -",
    )


def optional_secret_file(namespace: str, role: str, ref: SecretKeyRef | None) -> SecretFile | None:
    """The same where the spec names one."""
    return None if ref is None else secret_file(namespace, role, ref)


def secret_mounts_of(refs: Mapping[str, SecretKeyRef | None]) -> tuple[SecretMount, ...]:
    """The mounts of the secrets that are named, by role."""
    return tuple(_mount(role, ref) for role, ref in refs.items() if ref is not None)


def passphrases_by_role(encryption: Encryption) -> dict[str, SecretKeyRef]:
    """The current passphrase as `passphrase`, then those of before a rotation as `passphrase-1`, `passphrase-2`, …"""
    previous = enumerate(encryption.previous_passphrase_secret_refs, 1)
    return {PASSPHRASE: encryption.passphrase_secret_ref} | {f"{PASSPHRASE}-{number}": ref for number, ref in previous}


def passphrase_files(namespace: str, encryption: Encryption) -> tuple[SecretFile, ...]:
    """The current passphrase first, then those of before a rotation."""
    return tuple(secret_file(namespace, role, ref) for role, ref in passphrases_by_role(encryption).items())


def _mount(role: str, ref: SecretKeyRef) -> SecretMount:
    return SecretMount(role=role, secret=ref.name, key=ref.key)

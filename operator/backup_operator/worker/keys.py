"""Room `worker`: the passphrase of an order, read for writing or for reading; used by `worker.backup` and inventory."""

from dataclasses import dataclass, field
from functools import partial

from backup_operator.contract.order import SecretFile
from backup_operator.worker.errors import KeyInvalid, SecretMissing
from backup_operator.worker.secrets import secret_path
from backup_operator.worker.stages.openpgp_s2k import derive_authentication_key
from backup_operator.worker.stages.passphrase import Passphrase, parse_passphrase, passphrase_for_writing
from backup_operator.worker.store.entry import EntryKeys


@dataclass(frozen=True)
class Keys:
    """What files and entries are sealed and opened with."""

    candidates: tuple[bytes, ...] = field(repr=False)
    """Every reading of the passphrase, the one to write with first."""
    entries: EntryKeys
    warnings: tuple[str, ...] = ()


def keys_for_writing(passphrase: SecretFile) -> Keys:
    """Raises: SecretMissing; KeyInvalid when it is empty, too short, or one that gpg could not be given."""
    parsed = _read(passphrase)
    try:
        passphrase_for_writing(parsed)
    except KeyInvalid as error:
        raise KeyInvalid(f"{passphrase.described}: {error.message}", detail=error.detail, hint=error.hint) from error
    return _keys(parsed, passphrase)


def keys_for_reading(passphrase: SecretFile) -> Keys:
    """Raises: SecretMissing. A short passphrase reads what was written with it."""
    return _keys(_read(passphrase), passphrase)


def _read(passphrase: SecretFile) -> Passphrase:
    try:
        return parse_passphrase(secret_path(passphrase).read_bytes())
    except OSError as error:
        raise SecretMissing(
            f"{passphrase.described} cannot be read", detail=error.strerror or "", hint=passphrase.command
        ) from error


def _keys(parsed: Passphrase, passphrase: SecretFile) -> Keys:
    warning = (
        f"{passphrase.described} is enclosed in quotes, probably kept from an environment file; they were taken off. "
        "gpg needs the passphrase without them."
    )
    return Keys(
        candidates=parsed.candidates,
        entries=EntryKeys([partial(derive_authentication_key, candidate) for candidate in parsed.candidates]),
        warnings=(warning,) if parsed.quoted else (),
    )

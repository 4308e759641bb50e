"""Room `worker`: the passphrases of an order, for writing and for reading; used by backup, inventory and restore.

The current one comes first: everything new is written with it. Those of before a rotation only open what is stored;
the fingerprint in an entry tells which. One that is not mounted is missed only when something is locked with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from backup_operator.contract.order import SecretFile
from backup_operator.worker.errors import KeyInvalid, SecretMissing
from backup_operator.worker.secrets import secret_path
from backup_operator.worker.stages.openpgp_s2k import derive_authentication_key
from backup_operator.worker.stages.passphrase import Passphrase, parse_passphrase, passphrase_for_writing
from backup_operator.worker.store.entry import EntryKeys


@dataclass(frozen=True)
class Candidate:
    """One reading of one passphrase."""

    passphrase: bytes = field(repr=False)
    described: str
    """The Secret it comes from, as a person calls it."""
    is_current: bool


@dataclass(frozen=True)
class Keys:
    """What files and entries are sealed and opened with."""

    readings: tuple[Candidate, ...]
    """Every reading of every passphrase, the one to write with first."""
    entries: EntryKeys
    warnings: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[bytes, ...]:
        """The passphrases alone."""
        return tuple(reading.passphrase for reading in self.readings)

    def of_entry(self, key_fingerprint: str) -> Candidate | None:
        """What an entry with this fingerprint was opened with; None when none of ours has opened one."""
        number = self.entries.number_of(key_fingerprint)
        return None if number is None else self.readings[number]


def keys_for_writing(passphrase: SecretFile, previous: Sequence[SecretFile] = ()) -> Keys:
    """Raises: SecretMissing; KeyInvalid when the current one is empty, too short, or could not be given to gpg."""
    parsed = _read(passphrase)
    try:
        passphrase_for_writing(parsed)
    except KeyInvalid as error:
        raise KeyInvalid(f"{passphrase.described}: {error.message}", detail=error.detail, hint=error.hint) from error
    return _keys(passphrase, parsed, previous)


def keys_for_reading(passphrase: SecretFile, previous: Sequence[SecretFile] = ()) -> Keys:
    """Raises: SecretMissing for the current one. A short passphrase reads what was written with it."""
    return _keys(passphrase, _read(passphrase), previous)


def _read(passphrase: SecretFile) -> Passphrase:
    try:
        return parse_passphrase(secret_path(passphrase).read_bytes())
    except OSError as error:
        raise SecretMissing(
            f"{passphrase.described} cannot be read", detail=error.strerror or "", hint=passphrase.command
        ) from error


def _keys(current: SecretFile, parsed: Passphrase, previous: Sequence[SecretFile]) -> Keys:
    found = [(current, parsed)]
    missing: list[SecretMissing] = []
    for secret in previous:
        try:
            found.append((secret, _read(secret)))
        except SecretMissing as error:
            missing.append(error)
    readings = tuple(_readings(found))
    return Keys(
        readings=readings,
        entries=EntryKeys(
            [partial(derive_authentication_key, reading.passphrase) for reading in readings],
            described=[reading.described for reading in readings],
            missing=[error.message for error in missing],
        ),
        warnings=(
            *(_quoted(secret) for secret, text in found if text.quoted),
            *(f"A previous passphrase is not there: {error.message}. What it locks stays locked." for error in missing),
        ),
    )


def _readings(found: Sequence[tuple[SecretFile, Passphrase]]) -> Iterator[Candidate]:
    for number, (secret, parsed) in enumerate(found):
        for passphrase in parsed.candidates:
            yield Candidate(passphrase, secret.described, is_current=number == 0)


def _quoted(passphrase: SecretFile) -> str:
    return (
        f"{passphrase.described} is enclosed in quotes, probably kept from an environment file; they were taken off. "
        "gpg needs the passphrase without them."
    )

"""Room `worker.stages`: keys out of passphrases, OpenPGP's way; used by `openpgp`, and by the engine for entries.

Source: RFC 4880 section 3.7.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum

from backup_operator.worker.stages.base import unsupported
from backup_operator.worker.stages.openpgp_packets import Intake

HASH_NAMES = {2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
"""Source: RFC 4880 section 9.4. MD5 (1) is left out: gpg refuses it too."""

SHA256 = 8
COUNT_OCTET = 0xFF
"""The costliest count, 65,011,712 octets: what gpg-agent takes on a fast machine; 0.04 s here."""

HASHED_AT_ONCE_BYTES = 1 << 16


class Mode(IntEnum):
    """How a passphrase is stretched. Source: RFC 4880 section 3.7.1."""

    SIMPLE = 0
    SALTED = 1
    ITERATED = 3


@dataclass(frozen=True)
class StringToKey:
    """One way of making keys out of passphrases."""

    mode: Mode
    hash_id: int
    salt: bytes
    count_octet: int

    def derive(self, passphrase: bytes, size_bytes: int) -> bytes:
        """The key of `size_bytes` bytes. Source: RFC 4880 section 3.7.1: longer keys take more hashes, each with one
        more leading zero byte."""
        key = b""
        zeros = 0
        while len(key) < size_bytes:
            key += self._digest(bytes(zeros), self.salt + passphrase)
            zeros += 1
        return key[:size_bytes]

    def _digest(self, lead: bytes, seed: bytes) -> bytes:
        digest = new_hash(self.hash_id)
        digest.update(lead)
        left = max(len(seed), self._octets())
        block = seed * (HASHED_AT_ONCE_BYTES // len(seed) + 1) if seed else b""
        while block and left > len(block):
            digest.update(block)
            left -= len(block)
        digest.update(block[:left])
        return digest.digest()

    def _octets(self) -> int:
        if self.mode is not Mode.ITERATED:
            return 0
        return (16 + (self.count_octet & 15)) << ((self.count_octet >> 4) + 6)

    def header(self) -> bytes:
        """The specifier as it is stored."""
        return bytes((self.mode, self.hash_id)) + self.salt + bytes((self.count_octet,))


def strongest(salt: bytes) -> StringToKey:
    """The way in which we write: iterated, salted, SHA-256, the costliest count."""
    return StringToKey(Mode.ITERATED, SHA256, salt, COUNT_OCTET)


def read_string_to_key(intake: Intake) -> StringToKey:
    """The specifier at this place of a packet.

    Raises:
        VerificationFailed: a mode or hash that we do not have.
    """
    mode, hash_id = intake.octet(), intake.octet()
    if mode not in set(Mode):
        raise unsupported(f"Its passphrase is stretched in way {mode}, which is not simple, salted or iterated.")
    new_hash(hash_id)
    salt = b"" if mode == Mode.SIMPLE else intake.exactly(8)
    return StringToKey(Mode(mode), hash_id, salt, intake.octet() if mode == Mode.ITERATED else 0)


def new_hash(hash_id: int) -> "hashlib._Hash":
    """A fresh hash for OpenPGP's number of it.

    Raises:
        FormUnsupported: a number without a hash here.
    """
    try:
        return hashlib.new(HASH_NAMES[hash_id])
    except (KeyError, ValueError) as exc:
        raise unsupported(f"It uses hash number {hash_id}, which this machine does not have.") from exc


def derive_authentication_key(passphrase: bytes, salt: bytes) -> bytes:
    """The 32-byte key under which an entry is authenticated; guessing through it costs what guessing a file costs.

    `salt` is at least 8 random bytes, stored in the entry. The last step keeps it apart from every file's key.
    """
    if len(salt) < 8:
        raise ValueError("a salt has at least 8 bytes")
    return hmac.digest(strongest(salt).derive(passphrase, 32), b"backup-operator entry authentication 1", "sha256")

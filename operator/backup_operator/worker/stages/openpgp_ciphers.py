"""Room `worker.stages`: the block ciphers of OpenPGP by their numbers; used by `openpgp`.

Source: RFC 4880 section 9.2, RFC 5581 (Camellia).
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import CAST5, Blowfish, Camellia, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from backup_operator.worker.stages.base import unsupported

AES256 = 9


@dataclass(frozen=True)
class BlockCipher:
    """A cipher with the sizes that its frame in a message depends on, in bytes."""

    name: str
    key_bytes: int
    block_bytes: int
    algorithm: Callable[[bytes], BlockCipherAlgorithm]

    def encryptor(self, key: bytes) -> CipherContext:
        """Starts a message, or an encrypted session key, under `key`."""
        return self._mode(key).encryptor()

    def decryptor(self, key: bytes) -> CipherContext:
        """Starts reading what `encryptor` wrote.

        Raises:
            FormUnsupported: the cryptographic library was built without the cipher.
        """
        try:
            return self._mode(key).decryptor()
        except UnsupportedAlgorithm as exc:
            raise unsupported(f"It is encrypted with {self.name}, which this machine does not have.") from exc

    def _mode(self, key: bytes) -> Cipher[CFB]:
        """Cipher feedback from a zero vector: the message's random prefix takes the vector's place (RFC 4880 5.13)."""
        return Cipher(self.algorithm(key), CFB(bytes(self.block_bytes)))


CIPHERS = {
    2: BlockCipher("3DES", 24, 8, TripleDES),
    3: BlockCipher("CAST5", 16, 8, CAST5),
    4: BlockCipher("Blowfish", 16, 8, Blowfish),
    7: BlockCipher("AES128", 16, 16, AES),
    8: BlockCipher("AES192", 24, 16, AES),
    AES256: BlockCipher("AES256", 32, 16, AES),
    11: BlockCipher("Camellia128", 16, 16, Camellia),
    12: BlockCipher("Camellia192", 24, 16, Camellia),
    13: BlockCipher("Camellia256", 32, 16, Camellia),
}

NAMES_WITHOUT_CIPHER = {0: "no cipher at all", 1: "IDEA", 10: "Twofish"}


def cipher(number: int) -> BlockCipher:
    """The cipher of OpenPGP's number.

    Raises:
        FormUnsupported: a number without a cipher here.
    """
    if number not in CIPHERS:
        name = NAMES_WITHOUT_CIPHER.get(number, f"cipher number {number}")
        raise unsupported(f"It is encrypted with {name}, which this worker does not have.")
    return CIPHERS[number]

"""Room `worker.stages`: symmetric OpenPGP messages, streamed in both directions; used by `chain`.

Written: SKESK version 4 (iterated and salted, SHA-256, AES-256), then SEIPD version 1 with its MDC, in it a binary
literal packet, both in partial lengths: the form that every gpg 1.4-2.5, Sequoia, RNP and rPGP reads. Read: all that
`gpg --symmetric` writes. Source: RFC 4880 sections 5.3, 5.6, 5.9, 5.13 and 5.14.

What `decode` yields is *not verified* before its end: the check sum over the plaintext is the message's last packet.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from cryptography.hazmat.primitives.ciphers import CipherContext

from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.stages.base import Decoder, damaged, regroup, unsupported
from backup_operator.worker.stages.compress import Unchanged, bzip2_decoder, raw_deflate_decoder, zlib_decoder
from backup_operator.worker.stages.openpgp_armor import without_armor
from backup_operator.worker.stages.openpgp_ciphers import AES256, CIPHERS, BlockCipher, cipher
from backup_operator.worker.stages.openpgp_packets import Intake, Packet, Tag, frame, read_packet, small_packet
from backup_operator.worker.stages.openpgp_s2k import StringToKey, read_string_to_key, strongest

MDC_HEADER = b"\xd3\x14"
MDC_BYTES = 22
LITERAL_HEADER = b"b\x00" + bytes(4)
"""Binary, no file name, no date: the same dump gives the same plaintext."""

MOST_KEY_PACKETS = 16
MOST_MARKERS = 16
MOST_NESTED = 8
LARGEST_KEY_PACKET_BYTES = 4096
DECOMPRESSORS: dict[int, Callable[[], Decoder]] = {
    0: Unchanged,
    1: raw_deflate_decoder,
    2: zlib_decoder,
    3: bzip2_decoder,
}
"""Source: RFC 4880 section 9.3."""

STARTS_CONTENT = frozenset({Tag.COMPRESSED, Tag.LITERAL, Tag.MARKER, Tag.ONE_PASS_SIGNATURE, Tag.SIGNATURE})


@dataclass(frozen=True)
class OpenPgpEncoder:
    """Encrypts one stream under a passphrase."""

    passphrase: bytes = field(repr=False)
    entropy: Callable[[int], bytes] = os.urandom

    def encode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The message."""
        way = strongest(self.entropy(8))
        yield small_packet(Tag.SYMMETRIC_KEY_SESSION_KEY, bytes((4, AES256)) + way.header())
        key = way.derive(self.passphrase, CIPHERS[AES256].key_bytes)
        content = frame(Tag.LITERAL, chain((LITERAL_HEADER,), chunks))
        yield from frame(Tag.ENCRYPTED_PROTECTED, self._encrypt(CIPHERS[AES256].encryptor(key), content))

    def _encrypt(self, encryptor: CipherContext, content: Iterable[bytes]) -> Iterator[bytes]:
        lead = self.entropy(CIPHERS[AES256].block_bytes)
        digest = hashlib.sha1(usedforsecurity=False)
        yield b"\x01"
        for block in chain((lead + lead[-2:],), content):
            digest.update(block)
            yield encryptor.update(block)
        digest.update(MDC_HEADER)
        yield encryptor.update(MDC_HEADER + digest.digest()) + encryptor.finalize()


@dataclass(frozen=True)
class KeyPacket:
    """One way to the session key (SKESK version 4)."""

    cipher: BlockCipher
    way: StringToKey
    encrypted_key: bytes

    def session_key(self, passphrase: bytes) -> tuple[BlockCipher, bytes] | None:
        """The message's cipher and key, or none where the passphrase visibly does not fit."""
        key = self.way.derive(passphrase, self.cipher.key_bytes)
        if not self.encrypted_key:
            return self.cipher, key
        opened = self.cipher.decryptor(key).update(self.encrypted_key)
        found = CIPHERS.get(opened[0])
        if found is None or len(opened) - 1 != found.key_bytes:
            return None
        return found, opened[1:]


@dataclass(frozen=True)
class Opened:
    """A message whose random prefix fits the key: what is read so far, and what decrypts the rest."""

    decryptor: CipherContext
    prefix: bytes
    start: bytes


class OpenPgpDecoder:
    """Decrypts one message under the first of several passphrases that fits."""

    def __init__(self, passphrases: Sequence[bytes]) -> None:
        self._passphrases = passphrases
        self._keys: list[KeyPacket] = []
        self._refusals: list[VerificationFailed] = []

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The plaintext, unverified before the iterator's end.

        Raises:
            KeyInvalid: no passphrase fits.
            VerificationFailed: damaged, cut, unprotected, or of a form that we do not read.
        """
        intake = Intake(without_armor(chunks))
        yield from self._plaintext(self._read_up_to_the_encrypted_packet(intake))
        if not intake.at_end():
            raise damaged("Something follows the OpenPGP message.")

    def _read_up_to_the_encrypted_packet(self, intake: Intake) -> Packet:
        for _ in range(MOST_KEY_PACKETS):
            packet = read_packet(intake)
            if packet is None:
                raise damaged("It holds no encrypted packet.")
            if packet.tag == Tag.ENCRYPTED_PROTECTED:
                return packet
            self._read_key_packet(packet)
        raise damaged(f"More than {MOST_KEY_PACKETS} packets come before the encrypted one.")

    def _read_key_packet(self, packet: Packet) -> None:
        if packet.tag in REFUSED_OUTSIDE:
            raise unsupported(REFUSED_OUTSIDE[Tag(packet.tag)])
        body = packet.small_body(LARGEST_KEY_PACKET_BYTES)
        if packet.tag == Tag.SYMMETRIC_KEY_SESSION_KEY:
            self._keep_key_packet(body)
        elif packet.tag == Tag.MARKER:
            _check_marker(body)
        elif packet.tag != Tag.PUBLIC_KEY_SESSION_KEY:
            raise damaged(f"An OpenPGP packet with tag {packet.tag} is where the keys should be.")

    def _keep_key_packet(self, body: bytes) -> None:
        intake = Intake((body,))
        try:
            version = intake.octet()
            if version != 4:
                raise unsupported(f"Its key packet has version {version}; gpg writes version 4.")
            self._keys.append(KeyPacket(cipher(intake.octet()), read_string_to_key(intake), b"".join(intake.rest())))
        except VerificationFailed as refusal:
            self._refusals.append(refusal)

    def _plaintext(self, packet: Packet) -> Iterator[bytes]:
        intake = Intake(packet.body)
        version = intake.octet()
        if version != 1:
            raise unsupported(f"Its encrypted packet has version {version} (AEAD); only version 1 with MDC is read.")
        opened = self._open(intake.exactly(CIPHERS[AES256].block_bytes + 3))
        yield from _content(Intake(_verified(opened, intake)), nested=0)

    def _open(self, head: bytes) -> Opened:
        for key_packet in self._keys:
            for passphrase in self._passphrases:
                session = key_packet.session_key(passphrase)
                opened = session and _try_key(*session, head)
                if opened:
                    return opened
        raise self._closed()

    def _closed(self) -> VerificationFailed | KeyInvalid:
        if self._refusals:
            return self._refusals[0]
        if not self._keys:
            return unsupported("It is encrypted for a public key only, not with a passphrase.")
        return KeyInvalid(
            "no passphrase opens the stored file",
            detail=f"{len(self._passphrases)} tried; a damaged first block looks the same.",
            hint="Try it by hand: `gpg --pinentry-mode loopback --passphrase-file KEYFILE --decrypt FILE > /dev/null`.",
        )


REFUSED_OUTSIDE = {
    Tag.ENCRYPTED: "It is encrypted without integrity protection (no MDC): a changed byte would go unnoticed.",
    Tag.ENCRYPTED_AEAD: "It is encrypted with AEAD (OCB), which only GnuPG 2.3 and later writes and reads.",
    Tag.COMPRESSED: "It is an OpenPGP message that is compressed but not encrypted.",
    Tag.LITERAL: "It is an OpenPGP message that is not encrypted.",
    Tag.SIGNATURE: "It is a signature, not an encrypted message.",
    Tag.ONE_PASS_SIGNATURE: "It is signed but not encrypted.",
}


def _try_key(message_cipher: BlockCipher, key: bytes, head: bytes) -> Opened | None:
    """Whether the prefix repeats its last two bytes and the first packet is one that may be there: wrong keys pass
    once in a million times, and then fail at the MDC. Source: RFC 4880 section 5.13."""
    decryptor = message_cipher.decryptor(key)
    plain = decryptor.update(head)
    size = message_cipher.block_bytes + 2
    prefix, start = plain[:size], plain[size:]
    if prefix[-2:] != prefix[-4:-2] or not _starts_content(start[0]):
        return None
    return Opened(decryptor, prefix, start)


def _starts_content(first: int) -> bool:
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    return bool(first & 0x80) and tag in STARTS_CONTENT


def _verified(opened: Opened, intake: Intake) -> Iterator[bytes]:
    """The plaintext packets without the MDC packet, which is checked before the end."""
    digest = hashlib.sha1(opened.prefix, usedforsecurity=False)
    held = opened.start
    for block in intake.rest():
        held += opened.decryptor.update(block)
        ready, held = held[:-MDC_BYTES], held[-MDC_BYTES:]
        digest.update(ready)
        yield ready
    digest.update(held[:2])
    if held[:2] != MDC_HEADER or not hmac.compare_digest(held[2:], digest.digest()):
        raise damaged("The check sum over the whole message (MDC) is wrong.")


def _content(intake: Intake, *, nested: int) -> Iterator[bytes]:
    packet = _first_content_packet(intake)
    if packet.tag == Tag.LITERAL:
        yield from _literal(Intake(packet.body))
    elif packet.tag == Tag.COMPRESSED:
        yield from _decompressed(Intake(packet.body), nested)
    elif packet.tag in {Tag.SIGNATURE, Tag.ONE_PASS_SIGNATURE}:
        raise unsupported("It is signed as well as encrypted; signatures are not checked here.")
    else:
        raise damaged(f"An OpenPGP packet with tag {packet.tag} is where the plaintext should be.")
    if not intake.at_end():
        raise damaged("Something follows the plaintext inside the OpenPGP message.")


def _first_content_packet(intake: Intake) -> Packet:
    for _ in range(MOST_MARKERS):
        packet = read_packet(intake)
        if packet is None:
            raise damaged("The OpenPGP message holds no plaintext.")
        if packet.tag != Tag.MARKER:
            return packet
        _check_marker(packet.small_body(LARGEST_KEY_PACKET_BYTES))
    raise damaged(f"The OpenPGP message holds more than {MOST_MARKERS} markers.")


def _check_marker(body: bytes) -> None:
    if body != b"PGP":
        raise damaged("A marker packet does not say PGP.")


def _decompressed(body: Intake, nested: int) -> Iterator[bytes]:
    if nested == MOST_NESTED:
        raise damaged(f"Compressed packets are nested more than {MOST_NESTED} deep.")
    algorithm = body.octet()
    if algorithm not in DECOMPRESSORS:
        raise unsupported(f"It is compressed with algorithm {algorithm}, which OpenPGP does not name.")
    plain = DECOMPRESSORS[algorithm]().decode(body.rest())
    return _content(Intake(plain), nested=nested + 1)


def _literal(body: Intake) -> Iterator[bytes]:
    kind = body.exactly(1)
    body.exactly(body.octet())
    body.exactly(4)
    if kind == b"b":
        return body.rest()
    if kind in {b"t", b"u"}:
        # gpg drops every carriage return of a text packet as well (g10/plaintext.c, handle_plaintext)
        return regroup(block.replace(b"\r", b"") for block in body.rest())
    raise unsupported(f"Its plaintext is of kind {kind!r}, not binary or text.")

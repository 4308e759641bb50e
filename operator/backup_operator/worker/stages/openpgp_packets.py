"""Room `worker.stages`: the packets of an OpenPGP message, framed and taken apart; used by `openpgp`.

Source: RFC 4880 section 4 (the form that every gpg reads), RFC 9580 for the words about what is newer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from backup_operator.worker.errors import VerificationFailed
from backup_operator.worker.stages.base import BLOCK_BYTES, damaged, regroup


class Tag(IntEnum):
    """The packets that a message may hold. Source: RFC 4880 section 4.3, RFC 9580 section 5."""

    PUBLIC_KEY_SESSION_KEY = 1
    SIGNATURE = 2
    SYMMETRIC_KEY_SESSION_KEY = 3
    ONE_PASS_SIGNATURE = 4
    COMPRESSED = 8
    ENCRYPTED = 9
    MARKER = 10
    LITERAL = 11
    ENCRYPTED_PROTECTED = 18
    MODIFICATION_DETECTION = 19
    ENCRYPTED_AEAD = 20


STREAMED = {Tag.COMPRESSED, Tag.ENCRYPTED, Tag.LITERAL, Tag.ENCRYPTED_PROTECTED, Tag.ENCRYPTED_AEAD}
"""The packets that may come in partial or without a length. Source: RFC 4880 section 4.2.2.4."""

PARTIAL_LENGTH = 0xE0 | (BLOCK_BYTES.bit_length() - 1)
"""The length octet of a partial body of BLOCK_BYTES, which must be a power of two. Source: RFC 4880 section 4.2.2.4."""


class Intake:
    """A stream of blocks, read as bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._block = b""
        self._at = 0

    def some(self, limit_bytes: int) -> bytes:
        """Between 1 and `limit_bytes` bytes, or none at the end of the stream."""
        if self.at_end():
            return b""
        taken = self._block[self._at : self._at + limit_bytes]
        self._at += len(taken)
        return taken

    def exactly(self, size_bytes: int) -> bytes:
        """`size_bytes` bytes.

        Raises:
            VerificationFailed: the stream ends before.
        """
        taken = self.some(size_bytes)
        while len(taken) < size_bytes:
            more = self.some(size_bytes - len(taken))
            if not more:
                raise cut_short()
            taken += more
        return taken

    def octet(self) -> int:
        """The next byte as a number."""
        return self.exactly(1)[0]

    def at_end(self) -> bool:
        """Whether the stream is over; runs it to its end when no byte is left, so that its own checks are made."""
        while self._at == len(self._block):
            block = next(self._chunks, None)
            if block is None:
                return True
            self._block, self._at = block, 0
        return False

    def rest(self) -> Iterator[bytes]:
        """Everything up to the end."""
        while taken := self.some(BLOCK_BYTES):
            yield taken


@dataclass(frozen=True)
class Packet:
    """One packet; its body must be taken to the end before the next packet is read."""

    tag: int
    body: Iterator[bytes]

    def small_body(self, limit_bytes: int) -> bytes:
        """The whole body of a packet that has no business being larger than `limit_bytes`."""
        taken = b""
        for piece in self.body:
            taken += piece
            if len(taken) > limit_bytes:
                raise damaged(f"An OpenPGP packet with tag {self.tag} is larger than {limit_bytes} bytes.")
        return taken


def cut_short() -> VerificationFailed:
    """The error for a stream that ends inside a packet."""
    return damaged("The OpenPGP message ends too early.")


def frame(tag: Tag, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One packet with the new header and partial lengths around a stream of unknown size."""
    yield bytes((0xC0 | tag,))
    held = b""
    for block in regroup(chunks):
        if held:
            yield bytes((PARTIAL_LENGTH,)) + held
        held = block
    yield _definite_length(len(held)) + held


def small_packet(tag: Tag, body: bytes) -> bytes:
    """One packet with the new header around a short body."""
    return bytes((0xC0 | tag,)) + _definite_length(len(body)) + body


def _definite_length(size_bytes: int) -> bytes:
    if size_bytes < 192:
        return bytes((size_bytes,))
    if size_bytes < 8384:
        return (size_bytes - 192 + 0xC000).to_bytes(2, "big")
    return b"\xff" + size_bytes.to_bytes(4, "big")


def read_packet(intake: Intake) -> Packet | None:
    """The next packet, or none at the end of the stream.

    Raises:
        VerificationFailed: what follows is no packet.
    """
    if intake.at_end():
        return None
    first = intake.octet()
    if not first & 0x80:
        raise damaged("An OpenPGP packet was expected and something else was found.")
    if first & 0x40:
        tag = first & 0x3F
        return Packet(tag, regroup(_new_body(intake, tag)))
    tag = first >> 2 & 0x0F
    return Packet(tag, _old_body(intake, tag, first & 3))


def _old_body(intake: Intake, tag: int, length_type: int) -> Iterator[bytes]:
    if length_type < 3:
        size = int.from_bytes(intake.exactly(1 << length_type), "big")
        return _pieces(intake, size)
    if tag not in STREAMED:
        raise damaged(f"An OpenPGP packet with tag {tag} has no length.")
    return intake.rest()


def _new_body(intake: Intake, tag: int) -> Iterator[bytes]:
    while True:
        first = intake.octet()
        if not 224 <= first < 255:
            yield from _pieces(intake, _definite_size(intake, first))
            return
        if tag not in STREAMED:
            raise damaged(f"An OpenPGP packet with tag {tag} has a partial length.")
        yield from _pieces(intake, 1 << (first & 0x1F))


def _definite_size(intake: Intake, first: int) -> int:
    if first < 192:
        return first
    if first < 224:
        return ((first - 192) << 8) + intake.octet() + 192
    return int.from_bytes(intake.exactly(4), "big")


def _pieces(intake: Intake, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        piece = intake.some(min(left, BLOCK_BYTES))
        if not piece:
            raise cut_short()
        left -= len(piece)
        yield piece

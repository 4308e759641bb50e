"""Room `worker.stages`: what every stage is, and how a stored file is refused; used by all stages.

A stage is a pair of twins, `encode` and `decode`, that turn one stream of blocks into another. Both are lazy: they
take a block only when the next is asked for, so that memory is bounded however far a stream expands.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from backup_operator.worker.errors import VerificationFailed

BLOCK_BYTES = 1 << 18
"""What stages hand on at a time: 256 KiB; larger blocks got nothing faster (tests/bench/stages.py)."""


class Encoder(Protocol):
    """The writing twin of a stage."""

    def encode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The encoded stream; taken to its end it is whole."""
        ...


class Decoder(Protocol):
    """The reading twin of a stage."""

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The stream as it was before encoding, in blocks of at most BLOCK_BYTES.

        Only the *end* of the iterator says that what came before it was whole and right.

        Raises:
            VerificationFailed: the stream is damaged, cut, or followed by something else.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """How far a stream has come, in bytes."""

    plain_bytes: int
    stored_bytes: int


class FormUnsupported(VerificationFailed):
    """The file may be whole, but it has a form that we do not read; stock tools perhaps do."""

    retryable = False


def damaged(detail: str) -> VerificationFailed:
    """The error for a stored file that is not what was written."""
    return VerificationFailed(
        "the stored file is damaged",
        detail=detail,
        hint="Compare `sha256sum FILE` with the hash in its entry; restore another backup if they differ.",
    )


def unsupported(detail: str) -> FormUnsupported:
    """The error for a file of a form that we do not read."""
    return FormUnsupported(
        "the stored file has a form that this worker does not read",
        detail=detail,
        hint="Try `gpg --decrypt FILE`, and encrypt again with `gpg --symmetric --cipher-algo AES256`.",
    )


def regroup(chunks: Iterable[bytes], size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in blocks of exactly `size_bytes`, the last one shorter; nothing for an empty stream."""
    waiting: list[bytes] = []
    missing = size_bytes
    for chunk in chunks:
        at = 0
        while len(chunk) - at >= missing:
            yield b"".join((*waiting, chunk[at : at + missing]))
            at, missing = at + missing, size_bytes
            waiting.clear()
        if at < len(chunk):
            waiting.append(chunk[at:])
            missing -= len(chunk) - at
    if waiting:
        yield b"".join(waiting)

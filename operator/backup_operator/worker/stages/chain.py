"""Room `worker.stages`: the whole way from a dump to a stored file and back, on several cores; used by the engine.

seal     caller: takes the dump, SHA-256 | thread: compress | thread: encrypt, SHA-256, write
unseal   thread: read, SHA-256, decrypt | thread: decompress | caller: SHA-256, yields

The caller's own thread takes the dump's chunks, so that a signal or deadline raised in it is never waited for.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.stages.base import BLOCK_BYTES, Progress, regroup
from backup_operator.worker.stages.compress import decoder, encoder
from backup_operator.worker.stages.openpgp import OpenPgpDecoder, OpenPgpEncoder
from backup_operator.worker.stages.relay import Channel, Crew


@dataclass(frozen=True)
class Recipe:
    """How a dump is stored."""

    algorithm: Compression
    level: int
    passphrase: bytes = field(repr=False)


@dataclass(frozen=True)
class Sealed:
    """What was written, or read back: sizes in bytes, SHA-256 in hexadecimal."""

    plain_bytes: int
    plain_sha256: str
    stored_bytes: int
    stored_sha256: str


class Tally:
    """Size and SHA-256 of a stream that passes by; the size alone where it is not hashed."""

    def __init__(self, *, hashed: bool = True) -> None:
        self.size_bytes = 0
        self._digest = hashlib.sha256() if hashed else None

    def count(self, block: bytes) -> None:
        """Adds a block."""
        if self._digest is not None:
            self._digest.update(block)
        self.size_bytes += len(block)

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks, each counted before it is handed on."""
        for block in blocks:
            self.count(block)
            yield block

    def sha256(self) -> str:
        """In hexadecimal; empty where it is not hashed."""
        return "" if self._digest is None else self._digest.hexdigest()


def seal(
    chunks: Iterable[bytes],
    destination: BinaryIO,
    recipe: Recipe,
    observe: Callable[[Progress], None] | None = None,
) -> Sealed:
    """Compresses and encrypts `chunks` into `destination`, which is neither synced nor closed.

    `observe` is called in the caller's thread after every block taken.

    Raises:
        Exception: whatever `chunks`, `destination` or `observe` raised, from whichever thread; no thread is left then.
    """
    plain, stored = Tally(), Tally()
    # a dump that is a generator is closed here, whichever side failed
    source = closing(chunks) if isinstance(chunks, Generator) else nullcontext(chunks)
    with source, Crew(threads=2) as crew:
        taken, packed = crew.channel(), crew.channel()
        crew.start(lambda: _pass_on(encoder(recipe.algorithm, recipe.level).encode(taken), packed))
        crew.start(lambda: _write(stored.watch(OpenPgpEncoder(recipe.passphrase).encode(packed)), destination))
        for block in plain.watch(regroup(chunks)):
            taken.put(block)
            if observe is not None:
                observe(Progress(plain.size_bytes, stored.size_bytes))
        taken.end()
    return _sealed(plain, stored)


class Unsealing:
    """The plaintext of a stored file, as an iterator of blocks. Not verified before its end: run it to the end first.

    The end means: a passphrase fitted, the MDC is right, the compression's trailer is right, and nothing follows.
    Closing it, or leaving its `with` block, ends its threads at any point.

    Raises, while iterating:
        KeyInvalid: no passphrase fits.
        VerificationFailed: damaged, cut, or of a form that we do not read.
        OSError: `stored` could not be read.
    """

    def __init__(
        self, stored: BinaryIO, passphrases: Sequence[bytes], algorithm: Compression, *, hashes_plaintext: bool
    ) -> None:
        self._stored_tally, self._plain_tally = Tally(), Tally(hashed=hashes_plaintext)
        self._sealed: Sealed | None = None
        self._blocks = self._run(stored, passphrases, algorithm)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(self._plain_tally.size_bytes, self._stored_tally.size_bytes)

    @property
    def sealed(self) -> Sealed:
        """Sizes and hashes of what was read, to be compared with what was written.

        Raises:
            RuntimeError: asked before the end.
        """
        if self._sealed is None:
            raise RuntimeError("the stored file has not been read to its end")
        return self._sealed

    def _run(self, stored: BinaryIO, passphrases: Sequence[bytes], algorithm: Compression) -> Generator[bytes]:
        with Crew(threads=2) as crew:
            opened, unpacked = crew.channel(), crew.channel()
            read = self._stored_tally.watch(_read(stored))
            crew.start(lambda: _pass_on(OpenPgpDecoder(passphrases).decode(read), opened))
            crew.start(lambda: _pass_on(decoder(algorithm).decode(opened), unpacked))
            yield from self._plain_tally.watch(unpacked)
        self._sealed = _sealed(self._plain_tally, self._stored_tally)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._blocks)

    def close(self) -> None:
        """Stops, wherever it is."""
        self._blocks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def unseal(
    stored: BinaryIO, passphrases: Sequence[bytes], algorithm: Compression, *, hashes_plaintext: bool = True
) -> Unsealing:
    """Starts to read a stored file from where `stored` stands; see Unsealing.

    Without its hash the plaintext is still proven by its size, the MDC and the SHA-256 of what is stored.
    """
    return Unsealing(stored, passphrases, algorithm, hashes_plaintext=hashes_plaintext)


def _pass_on(blocks: Iterable[bytes], channel: Channel) -> None:
    for block in blocks:
        channel.put(block)
    channel.end()


def _read(stored: BinaryIO) -> Iterator[bytes]:
    while block := stored.read(BLOCK_BYTES):
        yield block


def _write(blocks: Iterable[bytes], destination: BinaryIO) -> None:
    for block in blocks:
        left = memoryview(block)
        while left:
            # an unbuffered file may take less than it is given, last when the volume fills up
            left = left[destination.write(left) :]


def _sealed(plain: Tally, stored: Tally) -> Sealed:
    return Sealed(plain.size_bytes, plain.sha256(), stored.size_bytes, stored.sha256())

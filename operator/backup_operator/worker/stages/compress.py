"""Room `worker.stages`: gzip and zstd streams and their decode twins; used by `chain` and `openpgp`.

Levels of gzip, chosen by measurement (tests/bench/stages.py): 1-3 are igzip's, several times faster than zlib at nearly
its size; 4-9 are zlib's, of the sizes that `gzip -4` to `gzip -9` make. Levels of zstd are zstd's.
"""

import bz2
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from backports import zstd
from isal import igzip_lib, isal_zlib

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.stages.base import BLOCK_BYTES, Decoder, Encoder, damaged

GZIP_WINDOW_BITS = 31
"""32 KiB of window, with gzip's header and trailer. Source: zlib.h, deflateInit2."""

IGZIP_MEMORY_LEVEL = 9
"""igzip's largest buffers, below 1 MiB. zlib keeps its default: larger tables made it half as fast."""

FASTEST_ZLIB_LEVEL = 4

ZSTD_WINDOW_LOG = 20
"""1 MiB: a fixed window, far below the 128 MiB that stock `zstd -d` opens without a flag."""
ZSTD_TABLE_LOG = 18
"""Entries of the tables that levels above 3 search the window with, as a power of two. Without it level 19's tables
take 80 MB; with it they take 4 MB, and a dump becomes no larger and is done in half the time.
Source: zstd.h, ZSTD_c_chainLog.
"""
_FIRST_LEVEL_WITH_LARGE_TABLES = 4

ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # isal's stub types the class as an instance

_LEVELS = {Compression.GZIP: range(1, 10), Compression.ZSTD: range(1, 20)}
"""As the policy's `compression.level` allows them."""

UNREADABLE = (ISAL_ERROR, zstd.ZstdError, OSError, EOFError, ValueError)
"""What the decompressors raise for streams that are not theirs; bz2 raises the last three."""

ZSTD_WINDOW_LOG_READ = 27
"""What stock `zstd -d` opens without a flag. Source: zstd(1), --memory."""


class Deflater(Protocol):
    """A compressor of the standard library's kind."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of the stream."""
        ...

    def flush(self) -> bytes:
        """The rest of the stream."""
        ...


class Inflater(Protocol):
    """A decompressor of bz2's kind; igzip and zstd have it too."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end mark and check sum were read."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before something is put in."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What followed the end mark."""
        ...

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        """At most `max_length` bytes of plaintext."""
        ...


@dataclass(frozen=True)
class Packing:
    """Encodes into one compressed stream."""

    start: Callable[[], Deflater]

    def encode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The compressed stream."""
        deflater = self.start()
        for chunk in chunks:
            if packed := deflater.compress(chunk):
                yield packed
        yield deflater.flush()


@dataclass(frozen=True)
class Unpacking:
    """Decodes a compressed stream, or several one after the other where the format allows it."""

    name: str
    start: Callable[[], Inflater]
    several: bool

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The plaintext; its end means that each stream's end mark and check sum were there and right.

        Raises:
            VerificationFailed: damaged, cut, empty, or followed by something else.
        """
        inflater = self.start()
        started = False
        for chunk in chunks:
            left = chunk
            while left:
                if inflater.eof:
                    inflater = self._next()
                started = True
                yield from self._inflate(inflater, left)
                left = inflater.unused_data if inflater.eof else b""
        if not (started and inflater.eof):
            raise damaged(f"The {self.name} stream ends too early.")

    def _next(self) -> Inflater:
        if not self.several:
            raise damaged(f"Something follows the end of the {self.name} stream.")
        return self.start()

    def _inflate(self, inflater: Inflater, packed: bytes) -> Iterator[bytes]:
        while True:
            try:
                plain = inflater.decompress(packed, max_length=BLOCK_BYTES)
            except UNREADABLE as exc:
                raise damaged(f"The {self.name} stream cannot be read: {exc}.") from exc
            packed = b""
            if plain:
                yield plain
            if inflater.eof or inflater.needs_input:
                return


class Unchanged:
    """Both twins of no compression."""

    def encode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks."""
        return iter(chunks)

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks."""
        return iter(chunks)


def _gzip(level: int) -> Deflater:
    if level >= FASTEST_ZLIB_LEVEL:
        return zlib.compressobj(level, zlib.DEFLATED, GZIP_WINDOW_BITS)
    compressor: Deflater = isal_zlib.compressobj(level, isal_zlib.DEFLATED, GZIP_WINDOW_BITS, IGZIP_MEMORY_LEVEL)
    return compressor


def _zstd(level: int) -> Deflater:
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: level,
        parameter.window_log: ZSTD_WINDOW_LOG,
        parameter.checksum_flag: 1,
    }
    if level >= _FIRST_LEVEL_WITH_LARGE_TABLES:
        options |= {parameter.chain_log: ZSTD_TABLE_LOG, parameter.hash_log: ZSTD_TABLE_LOG}
    return zstd.ZstdCompressor(options=options)


def _unzstd() -> Inflater:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_READ})


def encoder(algorithm: Compression, level: int) -> Encoder:
    """The writing twin; `level` is 1 (fastest) to 9 (smallest), with Zstd up to 19, and means nothing with None."""
    levels = _LEVELS.get(algorithm)
    if levels is not None and level not in levels:
        raise ValueError(f"{algorithm} has no compression level {level}, only {levels[0]}-{levels[-1]}")
    if algorithm is Compression.GZIP:
        return Packing(lambda: _gzip(level))
    if algorithm is Compression.ZSTD:
        return Packing(lambda: _zstd(level))
    return Unchanged()


def decoder(algorithm: Compression) -> Decoder:
    """The reading twin; reads what any gzip or zstd wrote, in any number of members or frames."""
    if algorithm is Compression.GZIP:
        return Unpacking("gzip", lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), several=True)
    if algorithm is Compression.ZSTD:
        return Unpacking("zstd", _unzstd, several=True)
    return Unchanged()


def raw_deflate_decoder() -> Decoder:
    """Reads deflate without header or check sum: OpenPGP's ZIP."""
    return Unpacking("ZIP", lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE), several=False)


def zlib_decoder() -> Decoder:
    """Reads deflate in zlib's wrapping: OpenPGP's ZLIB."""
    return Unpacking("ZLIB", lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB), several=False)


def bzip2_decoder() -> Decoder:
    """Reads bzip2, of which OpenPGP allows one stream."""
    return Unpacking("BZIP2", bz2.BZ2Decompressor, several=False)

"""Compressed streams are whole or refused, and are read in small blocks however far they expand."""

import gzip
import random
import zlib

import pytest
from backports import zstd

from backup_operator.api.storage import LEVELS, CompressionSettings
from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.errors import VerificationFailed
from backup_operator.worker.stages.base import BLOCK_BYTES
from backup_operator.worker.stages.compress import decoder, encoder

TEXT = b"".join(b"%d\tsome text\t%d\n" % (row, row * row) for row in range(3000))
ALGORITHMS = [Compression.GZIP, Compression.ZSTD]


def packed(algorithm: Compression, content: bytes, level: int = 2) -> bytes:
    return b"".join(encoder(algorithm, level).encode([content]))


def unpacked(algorithm: Compression, stored: bytes, step: int = 0) -> bytes:
    blocks = [stored[at : at + step] for at in range(0, len(stored), step)] if step else [stored]
    return b"".join(decoder(algorithm).decode(blocks))


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("algorithm", Compression)
def test_every_level_is_read_back(algorithm, level):
    assert unpacked(algorithm, packed(algorithm, TEXT, level), step=1000) == TEXT


@pytest.mark.parametrize("algorithm", Compression)
def test_an_empty_stream_is_read_back(algorithm):
    assert unpacked(algorithm, b"".join(encoder(algorithm, 2).encode([])), step=1) == b""


@pytest.mark.parametrize("level", range(1, 10))
def test_gzip_is_one_that_the_standard_library_reads(level):
    assert gzip.decompress(packed(Compression.GZIP, TEXT, level)) == TEXT


def test_gzip_holds_no_time():
    assert packed(Compression.GZIP, TEXT)[4:8] == bytes(4)


def test_zstd_has_a_check_sum_and_a_small_window():
    stored = packed(Compression.ZSTD, random.Random(1).randbytes(1 << 22), level=9)

    descriptor, window = stored[4], stored[5]
    assert descriptor & 0x04
    assert 10 + (window >> 3) == 20


@pytest.mark.parametrize(
    ("algorithm", "level", "words"),
    [(Compression.GZIP, 0, "1-9"), (Compression.GZIP, 10, "1-9"), (Compression.ZSTD, -1, "1-19"),
     (Compression.ZSTD, 20, "1-19")],
)  # fmt: skip
def test_a_level_that_is_none_is_refused(algorithm, level, words):
    with pytest.raises(ValueError, match=words):
        encoder(algorithm, level)


@pytest.mark.parametrize(
    "compression",
    [
        *(CompressionSettings(algorithm=algorithm) for algorithm in Compression),
        *(CompressionSettings(algorithm=algorithm, level=n) for algorithm in ALGORITHMS for n in LEVELS[algorithm]),
    ],
    ids=lambda one: f"{one.algorithm} {one.level}",
)
def test_every_compression_that_a_policy_may_ask_for_is_read_back(compression):
    stored = packed(compression.algorithm, TEXT, compression.effective_level)

    assert unpacked(compression.algorithm, stored) == TEXT


@pytest.mark.parametrize("step", [0, 1, 17])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_members_are_read_as_one(algorithm, step):
    stored = packed(algorithm, b"one ") + packed(algorithm, b"") + packed(algorithm, b"two", level=9)

    assert unpacked(algorithm, stored, step) == b"one two"


def test_a_member_with_a_file_name_is_read():
    stored = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03dump.sql\0" + gzip.compress(TEXT)[10:]

    assert unpacked(Compression.GZIP, stored, step=5) == TEXT


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_cut_is_refused(algorithm):
    stored = packed(algorithm, TEXT[:200])
    for size in range(len(stored)):
        with pytest.raises(VerificationFailed):
            unpacked(algorithm, stored[:size])


@pytest.mark.parametrize("tail", [b"\0", b"x", b"\x1f", b"\x1f\x8b", b"\n" * 600])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_follows_the_end_is_refused(algorithm, tail):
    with pytest.raises(VerificationFailed):
        unpacked(algorithm, packed(algorithm, TEXT) + tail)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_byte_of_content_or_trailer_is_refused(algorithm):
    stored = packed(algorithm, TEXT[:300])
    for at in range(10, len(stored)):
        changed = bytearray(stored)
        changed[at] ^= 0xFF
        with pytest.raises(VerificationFailed):
            unpacked(algorithm, bytes(changed))


def test_the_other_compression_is_refused():
    with pytest.raises(VerificationFailed, match="damaged"):
        unpacked(Compression.GZIP, packed(Compression.ZSTD, TEXT))
    with pytest.raises(VerificationFailed, match="damaged"):
        unpacked(Compression.ZSTD, packed(Compression.GZIP, TEXT))


def test_raw_zlib_is_no_gzip():
    with pytest.raises(VerificationFailed):
        unpacked(Compression.GZIP, zlib.compress(TEXT))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stream_that_expands_far_is_read_in_small_blocks(algorithm):
    stored = packed(algorithm, bytes(1 << 27))

    sizes = [len(block) for block in decoder(algorithm).decode([stored])]

    assert max(sizes) <= BLOCK_BYTES
    assert sum(sizes) == 1 << 27


def test_a_zstd_window_beyond_that_of_the_stock_tool_is_refused():
    options = {int(zstd.CompressionParameter.window_log): 28}
    writer = zstd.ZstdCompressor(options=options)
    stored = writer.compress(TEXT) + writer.flush()

    with pytest.raises(VerificationFailed):
        unpacked(Compression.ZSTD, stored)

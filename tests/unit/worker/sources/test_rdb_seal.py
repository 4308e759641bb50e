"""The head and end of an RDB: CRC-64, end mark, versions."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.sources.rdb_seal import RdbSeal, crc64, rdb_version
from tests.unit.worker.sources.rdb_writing import GOLDEN, rdb


def seal(whole: bytes, chunk_bytes: int = 1 << 20) -> RdbSeal:
    made = RdbSeal()
    for start in range(0, len(whole), chunk_bytes):
        made.update(whole[start : start + chunk_bytes])
    return made


def test_the_checksum_is_the_one_that_redis_tests_itself_with():
    # Source: https://github.com/redis/redis/blob/7.0/src/crc64.c, function crc64Test
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize("chunk_bytes", [1, 2, 8, 9, 10, 17, 1000, 1 << 20])
def test_a_real_rdb_is_whole_however_it_is_cut_into_chunks(chunk_bytes):
    made = seal((GOLDEN / "redis-8.0.rdb").read_bytes(), chunk_bytes)

    assert made.verify() is True
    assert made.version == 12


def test_an_rdb_without_a_checksum_is_whole_and_says_so():
    assert seal(rdb(checksum=False)).verify() is False


def test_an_rdb_without_keys_is_whole():
    assert seal(rdb()).verify() is True


def test_every_flipped_bit_is_found():
    whole = rdb(b"\xfe\x00\x00\x01k\x05value")
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            with pytest.raises((DumpIncomplete, SourceError)):
                seal(bytes(flipped)).verify()


def test_every_cut_is_found():
    whole = (GOLDEN / "redis-8.0.rdb").read_bytes()
    for end in (*range(200), *range(200, len(whole), 11), len(whole) - 1):
        with pytest.raises(DumpIncomplete):
            seal(whole[:end]).verify()


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"REDIS0004", SourceError),
        (b"VALKEY080", SourceError),
        (b"REDIS00x1", DumpIncomplete),
        (b"-ERR oh n", DumpIncomplete),
    ],
)
def test_a_header_that_is_none_of_ours_is_refused(header, error):
    with pytest.raises(error) as caught:
        rdb_version(header)

    assert caught.value.reason in (Reason.MODULE_DATA_UNSUPPORTED, Reason.DUMP_INCOMPLETE)

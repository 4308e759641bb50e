"""Cutting one database out of an RDB."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.sources.rdb_filter import RdbFilter
from tests.unit.worker.sources.rdb_writing import EVERY_KIND, GOLDEN, SELECT, key, length, rdb, string

AUX = b"\xfa" + string(b"redis-ver") + string(b"7.0.15")
FUNCTION = b"\xf5" + string(b"#!lua name=lib\n")
UNKNOWN = key(26, b"new", string(b"value"))


def cut(whole: bytes, database: int, chunk_bytes: int = 1 << 20, *, others_are_empty: bool = False) -> bytes:
    keeping = RdbFilter(database, others_are_empty=others_are_empty)
    pieces: list[bytes] = []
    for start in range(0, len(whole), chunk_bytes):
        pieces += keeping.update(whole[start : start + chunk_bytes])
    return b"".join([*pieces, *keeping.finish()])


def section(database: int, *keys: bytes) -> bytes:
    return SELECT + length(database) + b"\xfb" + length(len(keys)) + length(0) + b"".join(keys)


@given(
    databases=st.dictionaries(
        st.sampled_from([0, 1, 63, 64, 9999]), st.lists(st.sampled_from(sorted(EVERY_KIND)), max_size=4), max_size=4
    ),
    wanted=st.sampled_from([0, 1, 64, 5]),
    chunk_bytes=st.integers(1, 60),
)
def test_only_the_wanted_database_and_what_belongs_to_none_stay(databases, wanted, chunk_bytes):
    sections = {number: section(number, *(EVERY_KIND[kind] for kind in kinds)) for number, kinds in databases.items()}
    whole = rdb(AUX, FUNCTION, *sections.values(), AUX)

    assert cut(whole, wanted, chunk_bytes) == rdb(AUX, FUNCTION, sections.get(wanted, b""), AUX)


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000, 1 << 20])
def test_an_rdb_with_one_database_stays_as_it_is(chunk_bytes):
    whole = rdb(AUX, section(3, *EVERY_KIND.values()))

    assert cut(whole, 3, chunk_bytes) == whole


def test_a_missing_checksum_is_made():
    assert cut(rdb(section(0), checksum=False), 0) == rdb(section(0))


def test_an_rdb_that_is_cut_is_refused_at_its_end():
    whole = (GOLDEN / "redis-8.0.rdb").read_bytes()
    for end in (*range(100), *range(100, len(whole), 37), len(whole) - 1):
        with pytest.raises(DumpIncomplete):
            cut(whole[:end], 7)


def test_a_record_of_an_unknown_kind_cannot_be_cut():
    whole = rdb(section(0, EVERY_KIND["string"], UNKNOWN), section(1, EVERY_KIND["string"]))
    for database in (0, 1):
        with pytest.raises(SourceError) as caught:
            cut(whole, database)
        assert caught.value.reason is Reason.MODULE_DATA_UNSUPPORTED
        assert "value type 26" in caught.value.detail


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
def test_a_record_of_an_unknown_kind_passes_where_no_other_database_holds_keys(chunk_bytes):
    whole = rdb(AUX, section(0, EVERY_KIND["string"], UNKNOWN, EVERY_KIND["hash"]))

    assert cut(whole, 0, chunk_bytes, others_are_empty=True) == whole


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
def test_a_record_of_an_unknown_kind_in_another_database_never_passes(chunk_bytes):
    whole = rdb(AUX, section(1, EVERY_KIND["string"], UNKNOWN))

    with pytest.raises(SourceError):
        cut(whole, 0, chunk_bytes, others_are_empty=True)

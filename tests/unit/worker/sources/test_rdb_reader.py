"""The walk over an RDB's structure: every kind of record, chunks cut anywhere, and bytes that are none."""

import tracemalloc
from collections.abc import Callable

import pytest

from backup_operator.worker.sources.rdb_encoding import BrokenRdb
from backup_operator.worker.sources.rdb_reader import THE_END, RdbReader, RdbStructure, UnknownRecord
from tests.unit.worker.sources.rdb_writing import (
    EVERY_KIND,
    GOLDEN,
    MODULE_VALUE,
    SELECT,
    key,
    length,
    module_id,
    rdb,
    string,
)

AROUND = key(0, b"before", string(b"value"))


def _noting(parts: list[tuple[int, int | None]]) -> Callable[[int, int | None], None]:
    return lambda offset, database: parts.append((offset, database))


def read(whole: bytes, chunk_bytes: int = 1 << 20) -> RdbStructure:
    reader = RdbReader()
    for start in range(0, len(whole), chunk_bytes):
        reader.feed(whole[start : start + chunk_bytes])
    return reader.structure


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1 << 20])
def test_a_key_of_every_kind_is_passed_over(kind, chunk_bytes):
    found = read(rdb(SELECT + length(2), AROUND, EVERY_KIND[kind], AROUND), chunk_bytes)

    assert (found.keys, found.expiring, found.whole) == ({2: 3}, {2: 0}, True)


def test_what_stands_before_a_key_is_passed_over_and_its_time_to_live_counted():
    milliseconds, seconds, idle, frequency = b"\xfc" + bytes(8), b"\xfd" + bytes(4), b"\xf8" + length(300), b"\xf9\x05"
    for before, expiring in [
        (milliseconds, 1),
        (seconds, 1),
        (idle, 0),
        (frequency, 0),
        (milliseconds + idle, 1),
        (milliseconds + frequency, 1),
        (seconds + idle, 1),
    ]:
        for kind in ("string", "hash", "stream, version 2"):
            for chunk_bytes in (1, 5, 1 << 20):
                found = read(rdb(SELECT + length(0), AROUND, before + EVERY_KIND[kind], AROUND), chunk_bytes)
                assert (found.keys, found.expiring) == ({0: 3}, {0: expiring})


def test_records_beside_the_keys_are_passed_over():
    aux = b"\xfa" + string(b"redis-ver") + string(b"7.0.15")
    function = b"\xf5" + string(b"#!lua name=lib\n")
    module_aux = b"\xf7" + module_id("ft_index0") + length(2) + length(1)
    module_aux += MODULE_VALUE + string(b"x") + length(0)
    resize, slot = b"\xfb" + length(1) + length(0), b"\xf4" + length(5) + length(1) + length(0)

    for chunk_bytes in (1, 4, 1 << 20):
        found = read(rdb(aux, function, module_aux, SELECT + length(0), slot, resize, AROUND, module_aux), chunk_bytes)

        assert found == RdbStructure({0: 1}, {0: 0}, functions=1, modules={"ft_index0"}, whole=True)


def test_a_module_s_name_is_told():
    assert read(rdb(SELECT + length(0), EVERY_KIND["module"])).modules == {"ReJSON-RL"}


@pytest.mark.parametrize("chunk_bytes", [1, 2, 13, 64, 4096, 1 << 20])
def test_a_dump_of_redis_8_is_counted(chunk_bytes):
    found = read((GOLDEN / "redis-8.0.rdb").read_bytes(), chunk_bytes)

    assert found == RdbStructure({0: 15, 7: 2}, {0: 1, 7: 1}, functions=1, whole=True)


def test_a_vector_set_of_redis_8_is_module_data():
    found = read((GOLDEN / "redis-8.0-with-vectorset.rdb").read_bytes())

    assert found == RdbStructure({0: 16, 7: 2}, {0: 1, 7: 1}, functions=1, modules={"vectorset"}, whole=True)


def test_parts_begin_where_they_begin():
    aux, function = b"\xfa" + string(b"a") + string(b"b"), b"\xf5" + string(b"code")
    whole = rdb(aux, function, SELECT + length(1), AROUND, SELECT + length(700), AROUND, aux)
    expected = [
        (0, None),
        (9, None),
        (9 + len(aux), None),
        (9 + len(aux + function), 1),
        (9 + len(aux + function) + 2 + len(AROUND), 700),
        (len(whole) - 9 - len(aux), None),
        (len(whole) - 9, THE_END),
    ]
    for chunk_bytes in (1, 2, 3, 1 << 20):
        parts: list[tuple[int, int | None]] = []
        reader = RdbReader(_noting(parts))
        for start in range(0, len(whole), chunk_bytes):
            reader.feed(whole[start : start + chunk_bytes])

        assert parts == expected


@pytest.mark.parametrize("record", [key(26, b"k", b""), key(6, b"k", b""), b"\xf6" + string(b"x"), b"\xf0"])
def test_a_record_of_an_unknown_kind_is_told(record):
    with pytest.raises(UnknownRecord):
        read(rdb(SELECT + length(0), AROUND, record, AROUND))


@pytest.mark.parametrize(
    "record",
    [
        key(0, b"k", b"\xc4"),
        key(0, b"k", b"\xbf"),
        key(1, b"k", b"\xc0"),
        key(7, b"k", module_id("ReJSON-RL") + length(9)),
    ],
    ids=["a string of no kind", "a length of no kind", "a count that is none", "a module's operation of no kind"],
)
def test_bytes_that_are_no_rdb_are_refused(record):
    with pytest.raises(BrokenRdb):
        read(rdb(SELECT + length(0), record))


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_bytes_behind_the_end_are_refused(chunk_bytes):
    with pytest.raises(BrokenRdb, match="follow the end"):
        read(rdb(AROUND) + b"x", chunk_bytes)


def test_an_rdb_that_is_cut_anywhere_is_not_whole():
    whole = (GOLDEN / "redis-8.0.rdb").read_bytes()

    assert not any(read(whole[:end]).whole for end in range(1, len(whole), 23))
    assert not read(whole[:-1]).whole


def test_a_large_value_is_never_held():
    head, chunk = (
        b"REDIS0010" + SELECT + length(0) + b"\x00" + string(b"k") + b"\x80" + (1 << 28).to_bytes(4, "big"),
        bytes(1 << 16),
    )
    reader = RdbReader()
    reader.feed(head)
    tracemalloc.start()
    for _ in range((1 << 28) // len(chunk)):
        reader.feed(chunk)
    _now, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reader.feed(b"\xff" + bytes(8))

    assert reader.structure.keys == {0: 1}
    assert peak_bytes < 1 << 18

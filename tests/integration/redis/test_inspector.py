"""The inspector with the real redis-check-rdb: whole, changed, cut, and unreadable RDBs."""

import re
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError, WorkerError
from backup_operator.worker.sources.base import KeyCount
from backup_operator.worker.sources.rdb_inspector import reader_version
from tests.integration.redis.dumping import inspect
from tests.unit.worker.sources.rdb_writing import EVERY_KIND, SELECT, key, length, rdb, string

AUX = b"\xfa" + string(b"redis-ver") + string(b"7.0.15")
WHOLE = rdb(
    AUX,
    SELECT + length(0) + b"\xfb" + length(2) + length(1),
    key(0, b"key", string(b"value")),
    b"\xfc" + (4_102_444_800_000).to_bytes(8, "little") + key(0, b"expiring", string(b"value" * 20)),
    SELECT + length(5),
    key(4, b"hash", length(2) + string(b"a") + string(b"1") + string(b"b") + b"\xc0\x07"),
)


def test_a_whole_rdb_is_told_with_its_reader():
    contents = inspect(WHOLE, chunk_bytes=3)

    version = reader_version("redis-check-rdb")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert contents.keys_per_database == {0: KeyCount(2, 1), 5: KeyCount(1, 0)}
    assert contents.details == {
        "rdbVersion": 10,
        "checksum": "CRC64",
        "checkedBy": f"redis-check-rdb {version}",
        "functionLibraries": 0,
        "alreadyExpired": 0,
    }


def test_keys_that_have_expired_already_are_counted_apart():
    whole = rdb(SELECT + length(0), b"\xfc" + (1000).to_bytes(8, "little") + key(0, b"old", string(b"value")))

    contents = inspect(whole)

    assert contents.keys == 1
    assert contents.details["alreadyExpired"] == 1


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(position=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255), chunk_bytes=st.integers(1, 64))
@example(position=0, byte=0, chunk_bytes=1)
def test_a_changed_byte_is_always_refused_with_an_error_of_ours(position, byte, chunk_bytes):
    changed = bytearray(WHOLE)
    changed[position] = byte if byte != WHOLE[position] else byte ^ 1

    with pytest.raises((DumpIncomplete, SourceError)):
        inspect(bytes(changed), chunk_bytes=chunk_bytes)


def test_a_cut_at_any_place_is_always_incomplete():
    for end in range(len(WHOLE)):
        with pytest.raises(DumpIncomplete):
            inspect(WHOLE[:end])


def test_the_forty_bytes_of_an_end_mark_behind_the_rdb_are_refused():
    with pytest.raises(DumpIncomplete):
        inspect(WHOLE + b"m" * 40)


def test_bytes_behind_an_rdb_without_a_checksum_are_refused():
    whole = rdb(AUX, checksum=False)

    for surplus in (b"x", b"\xff" + bytes(8)):
        with pytest.raises(DumpIncomplete):
            inspect(whole + surplus)


def test_data_of_a_module_is_unsupported_and_the_module_named():
    whole = rdb(SELECT + length(0), key(0, b"key", string(b"value")), EVERY_KIND["module"])
    checked = subprocess.run(["redis-check-rdb", "/dev/stdin"], input=whole, capture_output=True, check=False)
    assert b"RDB looks OK" in checked.stdout, "redis-check-rdb alone does not notice"

    with pytest.raises(SourceError, match="ReJSON-RL") as caught:
        inspect(whole)

    assert caught.value.reason is Reason.MODULE_DATA_UNSUPPORTED
    assert not caught.value.retryable


def test_a_version_that_redis_server_cannot_read_is_unsupported():
    with pytest.raises(SourceError, match="its version is 99") as caught:
        inspect(rdb(version=99))

    assert caught.value.reason is Reason.MODULE_DATA_UNSUPPORTED
    assert "Can't handle RDB format version 99" in caught.value.detail
    assert not caught.value.retryable


def test_a_value_that_redis_server_cannot_build_is_unsupported():
    whole = rdb(SELECT + length(0), key(11, b"intset", string(b"no intset at all")))

    with pytest.raises(SourceError) as caught:
        inspect(whole)

    assert caught.value.reason is Reason.MODULE_DATA_UNSUPPORTED


def test_many_databases_do_not_fill_the_reader_s_pipe():
    whole = rdb(*(SELECT + length(number) + key(0, b"key", string(b"value")) for number in range(16)), AUX * 20_000)

    assert inspect(whole).keys == 16


def test_an_unknown_kind_of_record_is_left_to_redis_check_rdb(tmp_path):
    reader = tmp_path / "redis-check-rdb"
    reader.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "redis-check-rdb v=9.9.9"; exit; fi\n'
        'cat >/dev/null; echo "[info] 7 keys read"\n'
    )
    reader.chmod(0o755)
    whole = rdb(SELECT + length(0), key(0, b"key", string(b"value")), key(26, b"new", string(b"value")))

    contents = inspect(whole, check=str(reader))

    assert contents.keys_per_database is None
    assert contents.details["uncounted"] == "value type 26"
    assert contents.details["allKeys"] == 7


def test_readers_that_count_differently_are_a_fault(tmp_path):
    reader = tmp_path / "redis-check-rdb"
    reader.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo 1.2.3; exit; fi\ncat >/dev/null; echo "[info] 4 keys read"\n'
    )
    reader.chmod(0o755)

    with pytest.raises(WorkerError, match="two readers count different keys"):
        inspect(WHOLE, check=str(reader))

"""Spans, times, sizes and the reading of a status."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backup_operator.api.backuppolicy import BackupPolicyStatus, FailedBackup, status_in
from backup_operator.api.meta import Time, format_duration, format_time, parse_duration, size_in_words
from backup_operator.api.storage import CompressionSettings
from backup_operator.vocabulary.choices import Compression
from backup_operator.vocabulary.reasons import Reason


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30d", timedelta(days=30)),
        ("25h", timedelta(hours=25)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("1w2d3h4m5s", timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("0h90s", timedelta(seconds=90)),
    ],
)
def test_a_span_is_read(text: str, span: timedelta):
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(hours=25), "25h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=1, hours=12), "36h"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(), "0s"),
    ],
)
def test_a_span_is_written(span: timedelta, text: str):
    assert format_duration(span) == text


@given(st.integers(min_value=1, max_value=99_999 * 3600).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_span_that_is_written_reads_the_same(span: timedelta):
    assert parse_duration(format_duration(span)) == span


def test_the_longest_span_can_be_taken_from_today():
    longest = parse_duration("9999w9999d99999h99999m99999s")

    assert datetime(2026, 11, 23, tzinfo=UTC) - longest < datetime(2026, 11, 23, tzinfo=UTC) + longest


def test_a_time_is_written_in_utc_to_the_second():
    berlin = timezone(timedelta(hours=1))

    assert format_time(datetime(2026, 11, 23, 3, 0, 0, 999_999, tzinfo=berlin)) == "2026-11-23T02:00:00Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="timezone"):
        TypeAdapter(Time).validate_python("2026-11-23T02:00:00")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_288_490_189, "1.2 GiB"),
        (1_048_575, "1.0 MiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_a_size_is_said_in_words(size: int, words: str):
    assert size_in_words(size) == words


@pytest.mark.parametrize(("algorithm", "level"), [(Compression.GZIP, 2), (Compression.ZSTD, 3), (Compression.NONE, 0)])
def test_the_level_goes_with_the_algorithm(algorithm: Compression, level: int):
    assert CompressionSettings(algorithm=algorithm).effective_level == level


def test_a_status_without_anything_known_is_empty():
    assert BackupPolicyStatus().wire() == {}


def test_a_status_keeps_a_zero_that_is_known():
    assert BackupPolicyStatus(backup_count=0, size="").wire() == {"backupCount": 0}


def test_a_status_field_that_another_version_wrote_otherwise_is_passed_over():
    raw = {"status": {"backupCount": 3, "lastFailedBackup": {"reason": "OfTomorrow", "message": ""}, "novel": True}}

    assert status_in(raw) == BackupPolicyStatus(backup_count=3)


def test_an_object_without_a_status_has_an_empty_one():
    assert status_in({}) == BackupPolicyStatus()


def test_a_failed_backup_is_read_back_as_it_was_written():
    failed = FailedBackup(reason=Reason.SECRET_MISSING, message="no key", hint="kubectl …")
    status = BackupPolicyStatus(last_failed_backup=failed)

    assert status_in({"status": status.wire()}) == status

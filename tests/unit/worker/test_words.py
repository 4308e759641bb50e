"""Sizes and times as a tired person reads them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from backup_operator.worker.words import as_yaml, numbered, size_in_words, span_in_words, time_in_words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1288490189, "1.2 GiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 60, "5242880.0 TiB"),
    ],
)
def test_a_size_has_the_unit_that_fits(size_bytes, words):
    assert size_in_words(size_bytes) == words


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "less than a second"),
        (timedelta(milliseconds=999), "less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=61), "1 minute 1 second"),
        (timedelta(hours=3, minutes=12, seconds=59), "3 hours 12 minutes"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=2, seconds=59), "2 days 59 seconds"),
        (timedelta(days=400, hours=1), "400 days 1 hour"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(span, words):
    assert span_in_words(span) == words


def test_a_time_is_told_in_utc():
    at = datetime(2023, 12, 1, 4, 0, 0, tzinfo=timezone(timedelta(hours=2)))

    assert time_in_words(at) == time_in_words(at.astimezone(UTC)) == "2023-12-01 02:00:00 UTC"


@pytest.mark.parametrize(
    ("text", "yaml"),
    [
        ("app", "app"),
        ("redis.prod.svc/0", "redis.prod.svc/0"),
        ("my app", "'my app'"),
        ("2023", "'2023'"),
        ("it's", "'it''s'"),
        ("yes", "'yes'"),
        ("Null", "'Null'"),
        ("a: b", "'a: b'"),
        ("", "''"),
        ("*", "'*'"),
    ],
)
def test_what_a_person_copies_into_yaml_is_quoted_where_it_must_be(text, yaml):
    assert as_yaml(text) == yaml


@pytest.mark.parametrize(("count", "words"), [(0, "0 keys"), (1, "1 key"), (1200, "1,200 keys")])
def test_one_is_not_many(count, words):
    assert numbered(count, "key") == words

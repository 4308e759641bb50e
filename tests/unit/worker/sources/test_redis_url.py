"""Redis URLs, good and bad."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.redis_url import RedisUrl, parse_redis_url

SECRET = "key REDIS_URL of Secret prod/app"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://host", RedisUrl("host", 6379, uses_tls=False)),
        ("redis://host/", RedisUrl("host", 6379, uses_tls=False)),
        ("rediss://host:7000/0", RedisUrl("host", 7000, uses_tls=True, database=0)),
        ("redis://host/15?db=3", RedisUrl("host", 6379, uses_tls=False, database=15)),
        ("redis://host?db=3", RedisUrl("host", 6379, uses_tls=False, database=3)),
        ("redis://[::1]:7000/2", RedisUrl("::1", 7000, uses_tls=False, database=2)),
        ("redis://[fd00::7]", RedisUrl("fd00::7", 6379, uses_tls=False)),
        ("redis://:secret@host", RedisUrl("host", 6379, uses_tls=False, password="secret")),
        ("redis://user:p%40ss%2Fw%23rd%3F%20%C3%BC@host", RedisUrl("host", 6379, False, "user", "p@ss/w#rd? ü")),
        ("redis://us%3Aer:a:b@host", RedisUrl("host", 6379, uses_tls=False, username="us:er", password="a:b")),
        ("redis://user@host", RedisUrl("host", 6379, uses_tls=False, username="user", password="")),
        ("REDISS://Host.Example:1", RedisUrl("host.example", 1, uses_tls=True)),
        (" redis://host\n", RedisUrl("host", 6379, uses_tls=False)),
        ("rediss://host?ssl_cert_reqs=CERT_NONE", RedisUrl("host", 6379, uses_tls=True, checks_certificate=False)),
        ("rediss://host?ssl_cert_reqs=required", RedisUrl("host", 6379, uses_tls=True)),
        (
            "redis://host?socket_timeout=5&x=",
            RedisUrl(
                "host", 6379, uses_tls=False,
                warnings=(f"the Redis URL ({SECRET}) has options that a backup does not use: socket_timeout, x",),
            ),
        ),
    ],
)  # fmt: skip
def test_a_url_is_read(text, expected):
    assert parse_redis_url(text, SECRET) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host:6379", "does not begin with redis://"),
        ("s3cr3t", "does not begin with redis://"),
        ("http://:s3cr3t@host", "does not begin with redis://"),
        ("redis:/:s3cr3t@host", "does not begin with redis://"),
        ("redis://", "names no host"),
        ("redis://:s3cr3t@", "names no host"),
        ("redis://:s3cr3t@:6379", "names no host"),
        ("redis://:s3cr3t@host:port", "has a port"),
        ("redis://:s3cr3t@host:0", "has a port"),
        ("redis://:s3cr3t@host:65536", "has a port"),
        ("redis://:a/s3cr3t@host", "names no host"),
        ("redis://user:12/s3cr3t@host", "no database number"),
        ("redis://:s3cr3t#x@host", "a # that is not percent-encoded"),
        ("redis://:s3@cr3t@host", "an @ in its user name or password"),
        ("redis://:s3cr3t@host/name", "no database number"),
        ("redis://:s3cr3t@host/-1", "no database number"),
        ("redis://:s3cr3t@host/1/2", "no database number"),
        ("redis://:s3cr3t@host/²", "no database number"),
        ("redis://:s3cr3t@host?db=x", "no database number"),
        ("redis://:s3cr3t @host", "a space"),
        ("redis://user:12?s3cr3t@host", "a ? that is not percent-encoded"),
        ("redis://user:12?x=1&s3cr3t@host", "a ? that is not percent-encoded"),
        ("redis://host/1?s3cr3t", "a ? that is not percent-encoded"),
        ("redis://:s3cr3t\x00@host", "a space or another character"),
        ("redis://:s3cr3t@[::1", "its host is malformed"),
        ("redis://[s3cr3t]@host", "malformed"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_repeating_it(text, words):
    with pytest.raises(SourceError) as caught:
        parse_redis_url(text, SECRET)

    error = caught.value
    assert error.reason is Reason.URL_INVALID
    assert words in error.message
    assert SECRET in error.message
    assert "percent-encoded" in error.hint
    assert not any(part in error.message + error.detail + error.hint for part in ("s3cr3t", "s3", "cr3t"))
    assert not error.retryable


def test_a_password_is_not_shown():
    assert "s3cr3t" not in repr(parse_redis_url("redis://user:s3cr3t@host", SECRET))

"""A passphrase is the first line of its file, without quotes; for writing it has to be a real one."""

import pytest

from backup_operator.worker.errors import KeyInvalid
from backup_operator.worker.stages.passphrase import Passphrase, parse_passphrase, passphrase_for_writing

READINGS = {
    "a bare line": (b"correct horse", (b"correct horse",), False),
    "a line with its end": (b"correct horse\n", (b"correct horse",), False),
    "only the first line counts": (b"correct horse\nbattery\n", (b"correct horse",), False),
    "double quotes are taken off": (b'"correct horse"\n', (b"correct horse", b'"correct horse"'), True),
    "single quotes are taken off": (b"'correct horse'", (b"correct horse", b"'correct horse'"), True),
    "quotes that do not match stay": (b"\"correct horse'", (b"\"correct horse'",), False),
    "a quote on one side stays": (b'"correct horse', (b'"correct horse',), False),
    "a lone quote stays": (b'"', (b'"',), False),
    "spaces stay": (b" correct horse ", (b" correct horse ",), False),
    "a carriage return is part of it, or not": (b"correct\r\n", (b"correct\r", b"correct"), False),
    "quotes before a carriage return": (b'"correct"\r\n', (b"correct", b'"correct"', b'"correct"\r'), True),
    "an empty file": (b"", (), False),
    "an empty first line": (b"\ncorrect horse", (), False),
    "nothing between quotes": (b'""', (b'""',), True),
    "any bytes": (b"\xff\xfe\xfd", (b"\xff\xfe\xfd",), False),
}


@pytest.mark.parametrize(("content", "candidates", "quoted"), READINGS.values(), ids=READINGS.keys())
def test_a_passphrase_file_is_read(content, candidates, quoted):
    assert parse_passphrase(content) == Passphrase(candidates, quoted)


@pytest.mark.parametrize(
    ("content", "written"),
    [
        pytest.param(b"twelve chars", b"twelve chars", id="twelve characters"),
        pytest.param(b'"twelve chars"', b"twelve chars", id="without its quotes"),
        pytest.param("zwölf Zeiche".encode(), "zwölf Zeiche".encode(), id="characters, not bytes"),
    ],
)
def test_a_long_passphrase_is_written_with(content, written):
    assert passphrase_for_writing(parse_passphrase(content)) == written


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "empty", id="an empty file"),
        pytest.param(b"\n", "empty", id="an empty line"),
        pytest.param(b'""', "too short", id="only quotes"),
        pytest.param(b"eleven char", "too short", id="eleven characters"),
        pytest.param(b'"eleven char"', "too short", id="eleven characters and quotes"),
        pytest.param("äöüäöüäöüäö".encode(), "too short", id="eleven characters of two bytes"),
        pytest.param(b"twelve\0chars", "zero byte", id="a zero byte"),
    ],
)
def test_an_empty_or_short_passphrase_is_refused_for_writing(content, words):
    with pytest.raises(KeyInvalid) as refusal:
        passphrase_for_writing(parse_passphrase(content))

    assert words in refusal.value.message
    assert "openssl rand" in refusal.value.hint
    assert "eleven" not in f"{refusal.value.message}{refusal.value.detail}{refusal.value.hint}"

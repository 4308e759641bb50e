"""What a mounted secret is read as."""

from pathlib import Path

import pytest

from backup_operator.contract.order import SecretFile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SecretMissing, SourceError
from backup_operator.worker.secrets import read_secret

DESCRIBED = "key DB_URL of Secret prod/app"
COMMAND = "kubectl -n prod create secret generic app --from-env-file=.env"


def secret_holding(tmp_path: Path, content: bytes) -> SecretFile:
    path = tmp_path / "DB_URL"
    path.write_bytes(content)
    return SecretFile(path=str(path), described=DESCRIBED, command=COMMAND)


@pytest.mark.parametrize(
    ("content", "value", "warned"),
    [
        pytest.param(b"postgres://h/d", "postgres://h/d", False, id="as it is"),
        pytest.param(b"postgres://h/d\n", "postgres://h/d", False, id="trailing newline goes"),
        pytest.param(b"postgres://h/d\r\n", "postgres://h/d", False, id="trailing CRLF goes"),
        pytest.param(b'"postgres://h/d"', "postgres://h/d", True, id="double quotes go"),
        pytest.param(b"'postgres://h/d'\n", "postgres://h/d", True, id="single quotes go"),
        pytest.param(b"\"postgres://h/d'", "\"postgres://h/d'", False, id="quotes that differ stay"),
        pytest.param(b'say "hi"', 'say "hi"', False, id="quotes inside stay"),
        pytest.param(b'"', '"', False, id="a lone quote stays"),
    ],
)
def test_read_secret_takes_off_newlines_and_enclosing_quotes(tmp_path, content, value, warned):
    found, warnings = read_secret(secret_holding(tmp_path, content))

    assert (found, bool(warnings)) == (value, warned)
    assert all(DESCRIBED in warning and value not in warning for warning in warnings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", f"{DESCRIBED} is empty", id="empty"),
        pytest.param(b'""\n', f"{DESCRIBED} is empty", id="only quotes"),
        pytest.param(b"  \n", f"{DESCRIBED} is empty", id="blank"),
    ],
)
def test_read_secret_refuses_what_holds_nothing(tmp_path, content, message):
    with pytest.raises(SecretMissing) as caught:
        read_secret(secret_holding(tmp_path, content))

    assert (caught.value.message, caught.value.hint) == (message, COMMAND)


def test_a_secret_that_is_there_and_no_text_is_not_called_missing(tmp_path):
    with pytest.raises(SourceError) as caught:
        read_secret(secret_holding(tmp_path, "postgres://jürgen@h/d".encode("latin-1")))

    error = caught.value
    assert (error.reason, error.message) == (Reason.URL_INVALID, f"{DESCRIBED} is not UTF-8 text")
    assert "byte 12" in error.detail
    assert error.hint == COMMAND


def test_read_secret_names_a_secret_that_is_not_mounted(tmp_path):
    secret = SecretFile(path=str(tmp_path / "absent"), described=DESCRIBED, command=COMMAND)

    with pytest.raises(SecretMissing) as caught:
        read_secret(secret)

    assert (caught.value.message, caught.value.hint) == (f"{DESCRIBED} is missing", COMMAND)

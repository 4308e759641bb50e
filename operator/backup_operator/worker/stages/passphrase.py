"""Room `worker.stages`: the passphrase in a mounted file; used by the engine before it seals or unseals."""

from typing import NamedTuple

from backup_operator.worker.errors import KeyInvalid

LEAST_CHARACTERS = 12
QUOTES = (b"'", b'"')


class Passphrase(NamedTuple):
    """What a passphrase file says."""

    candidates: tuple[bytes, ...]
    """All readings, to be tried when reading; the first one is written with. Empty for an empty first line."""

    quoted: bool
    """Whether quotes enclosed it and are left out of the first reading."""


def parse_passphrase(file_content: bytes) -> Passphrase:
    """The first line, as gpg reads it, and without quotes that enclose it.

    A carriage return at its end belongs to the passphrase for gpg, and may not for whoever typed it: both are tried.
    """
    line = file_content.split(b"\n", 1)[0]
    bare = line.removesuffix(b"\r")
    quoted = len(bare) >= 2 and bare[:1] in QUOTES and bare[:1] == bare[-1:]
    readings = (bare[1:-1], bare, line) if quoted else (line, bare)
    return Passphrase(tuple(dict.fromkeys(reading for reading in readings if reading)), quoted)


def passphrase_for_writing(passphrase: Passphrase) -> bytes:
    """The reading that new files are written with.

    Raises:
        KeyInvalid: empty, shorter than 12 characters, or one that gpg could not be given.
    """
    written = passphrase.candidates[0] if passphrase.candidates else b""
    if not written:
        raise _refused("the passphrase is empty", "The first line of the key's value has no character.")
    characters = len(written.decode("utf-8", "surrogateescape"))
    if characters < LEAST_CHARACTERS:
        raise _refused("the passphrase is too short", f"It has {characters} characters of at least {LEAST_CHARACTERS}.")
    if b"\0" in written:
        raise _refused("the passphrase holds a zero byte", "gpg would end it there and not open the file.")
    return written


def _refused(message: str, detail: str) -> KeyInvalid:
    return KeyInvalid(
        message,
        detail=detail,
        hint="Make one with `openssl rand -base64 32`, keep a copy outside the cluster, and put it into the Secret.",
    )

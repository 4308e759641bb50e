"""Room `worker.stages`: takes off the ASCII armour of `gpg --armor`; used by `openpgp`.

Source: RFC 4880 section 6. The armour's own check sum is not used, as RFC 9580 section 6.1 asks: the MDC does more.
"""

import binascii
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from backup_operator.worker.stages.base import damaged

BEGIN = b"-----BEGIN PGP MESSAGE-----"
END = b"-----END PGP MESSAGE-----"
LONGEST_LINE_BYTES = 4096


def without_armor(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The binary message, whether `chunks` is it or holds it in armour."""
    stream = (chunk for chunk in chunks if chunk)
    first = next(stream, b"")
    if first[:1] != BEGIN[:1]:
        return chain((first,), stream)
    return _binary(_lines(chain((first,), stream)))


def _lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Whole lines without their ends, as many at a time as have come."""
    left = b""
    for chunk in chunks:
        *lines, left = (left + chunk).split(b"\n")
        if len(left) > LONGEST_LINE_BYTES:
            raise damaged("A line of the armour is too long.")
        yield [line.rstrip(b" \t\r") for line in lines]
    yield [left.rstrip(b" \t\r")]


def _binary(groups: Iterator[list[bytes]]) -> Iterator[bytes]:
    lines = _body(line for group in groups for line in group)
    while part := _joined(lines):
        yield _decoded(part)


def _decoded(part: bytes) -> bytes:
    try:
        binary = binascii.a2b_base64(part, strict_mode=True)
    except binascii.Error as exc:
        raise damaged(f"The armour is no Base64: {exc}.") from exc
    # strict mode lets the spare bits before the padding be anything
    if binascii.b2a_base64(binary, newline=False) != part:
        raise damaged("The last characters of the armour are not what was written.")
    return binary


def _joined(lines: Iterator[bytes]) -> bytes:
    """The next 4,096 lines; each but the last of a message holds a multiple of four characters."""
    return b"".join(islice(lines, 4096))


def _body(lines: Iterator[bytes]) -> Iterator[bytes]:
    if next(lines, b"") != BEGIN:
        raise damaged("The armour does not begin as that of an OpenPGP message.")
    while next(lines, b""):
        continue
    for line in lines:
        if line == END:
            break
        if line and not line.startswith(b"="):
            yield line
    else:
        raise damaged("The armour has no end.")
    if any(lines):
        raise damaged("Something follows the end of the armour.")

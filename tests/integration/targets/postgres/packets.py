"""Room `tests.integration.targets.postgres`: where the structures of an OpenPGP file are, to cut it there.

Source: RFC 9580, sections 4.2 (packet headers, partial lengths), 5.3 (SKESK) and 5.13.1 (SEIPD version 1, MDC)
"""

from collections.abc import Iterator
from dataclasses import dataclass

MDC_BYTES, GZIP_TRAILER_BYTES = 22, 8


@dataclass(frozen=True)
class Structure:
    """A part of the file: `[start, end)`."""

    name: str
    start: int
    end: int


def structures(file: bytes) -> list[Structure]:
    """The parts of a symmetrically encrypted file, in order; what is inside of the encryption is found from its end."""
    found: list[Structure] = []
    at = 0
    while at < len(file):
        name = f"packet {file[at] & 0x3F}"
        found.append(Structure(f"header of {name}", at, at + 1))
        at += 1
        for start, end, number in _chunks(file, at):
            found.append(Structure(f"length {number} of {name}", at, start))
            found.append(Structure(f"chunk {number} of {name}", start, end))
            at = end
    tail = len(file) - MDC_BYTES
    return [
        *found,
        Structure("gzip trailer", tail - GZIP_TRAILER_BYTES, tail),
        Structure("MDC", tail, len(file)),
    ]


def _chunks(file: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Start and end of each part of a packet's body, whose lengths are written in one of the new forms."""
    number, partial = 0, True
    while partial:
        first = file[at]
        partial = 224 <= first < 255
        if first < 192:
            at, size = at + 1, first
        elif first < 224:
            at, size = at + 2, ((first - 192) << 8) + file[at + 1] + 192
        elif partial:
            at, size = at + 1, 1 << (first & 0x1F)
        else:
            at, size = at + 5, int.from_bytes(file[at + 1 : at + 5], "big")
        yield at, at + size, number
        at, number = at + size, number + 1

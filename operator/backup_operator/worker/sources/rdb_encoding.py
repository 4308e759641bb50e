"""Room `worker.sources`: lengths, strings and names as an RDB writes them; called by rdb_reader.

Every function works on a buffer that can end anywhere and raises IndexError when what it reads goes on behind it.
"""

_MODULE_NAME_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class BrokenRdb(Exception):
    """The bytes cannot be an RDB."""


def read_length(buffer: bytes, at: int) -> tuple[int, int]:
    """A length and where it ends. Raises: IndexError when it goes on behind the buffer; BrokenRdb."""
    first = buffer[at]
    if first < 64:
        return first, at + 1
    if first < 128:
        return (first & 63) << 8 | buffer[at + 1], at + 2
    width = {0x80: 4, 0x81: 8}.get(first)
    if width is None:
        raise BrokenRdb(f"no length begins with the byte {first}")
    end = at + 1 + width
    if end > len(buffer):
        raise IndexError
    return int.from_bytes(buffer[at + 1 : end], "big"), end


def length_end(buffer: bytes, at: int) -> int:
    """Where a length ends."""
    return read_length(buffer, at)[1]


def string_head(buffer: bytes, at: int) -> tuple[int, int]:
    """Where a string's head ends and how many bytes follow it: plain, an integer in 1, 2 or 4 bytes, or LZF."""
    first = buffer[at]
    if first < 0xC0:
        length, at = read_length(buffer, at)
        return at, length
    if first < 0xC3:
        return at + 1, 1 << (first - 0xC0)
    if first > 0xC3:
        raise BrokenRdb(f"no string begins with the byte {first}")
    compressed, at = read_length(buffer, at + 1)
    return length_end(buffer, at), compressed


def string_end(buffer: bytes, at: int) -> int:
    """Where a string ends, be it behind the buffer."""
    first = buffer[at]
    if first < 64:  # most strings, so without further calls
        return at + 1 + first
    at, rest_bytes = string_head(buffer, at)
    return at + rest_bytes


def old_double_end(buffer: bytes, at: int) -> int:
    """Where a score of the old kind ends: text of a length below 253, or one byte for nan and the infinities."""
    length = buffer[at]
    return at + 1 + (length if length < 253 else 0)


def module_name(module_id: int) -> str:
    """The nine letters in the upper 54 bits of a module's id."""
    return "".join(_MODULE_NAME_LETTERS[module_id >> shift & 63] for shift in range(58, 9, -6))

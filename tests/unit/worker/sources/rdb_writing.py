"""Writes RDBs record by record, for the tests of their readers."""

from pathlib import Path

from backup_operator.worker.sources.rdb_seal import crc64

GOLDEN = Path(__file__).parent / "rdb"
SELECT = b"\xfe"


def length(number: int) -> bytes:
    if number < 64:
        return bytes([number])
    if number < 1 << 14:
        return (number | 1 << 14).to_bytes(2, "big")
    return b"\x80" + number.to_bytes(4, "big") if number < 1 << 32 else b"\x81" + number.to_bytes(8, "big")


def string(text: bytes) -> bytes:
    return length(len(text)) + text


def key(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes([kind]) + string(name) + value


def rdb(*records: bytes, version: int = 10, checksum: bool = True) -> bytes:
    """A whole RDB; every record is raw bytes."""
    body = b"REDIS%04d" % version + b"".join(records) + b"\xff"
    return body + (crc64(body) if checksum else 0).to_bytes(8, "little")


def module_id(name: str, version: int = 1) -> bytes:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for letter in name:
        number = number << 6 | letters.index(letter)
    return b"\x81" + (number << 10 | version).to_bytes(8, "big")


MODULE_VALUE = length(2) + length(7) + length(1) + length(3) + length(3) + bytes(4) + length(4) + bytes(8) + length(5)
"""One of every operation; a string and the end follow."""

EVERY_KIND = {
    "string": key(0, b"k", string(b"value")),
    "string of 14 bits' length": key(0, b"k" * 100, string(b"v" * 200)),
    "string of 32 bits' length": key(0, b"k", string(b"v" * 20_000)),
    "string of 64 bits' length": key(0, b"k", b"\x81" + (5).to_bytes(8, "big") + b"value"),
    "integers": key(0, b"k", b"\xc0\x7f"),
    "integer of 2 bytes": key(0, b"k", b"\xc1\x7f\x7f"),
    "integer of 4 bytes": key(0, b"k", b"\xc2\x7f\x7f\x7f\x7f"),
    "compressed string": key(0, b"k", b"\xc3" + length(5) + length(300) + b"12345"),
    "list": key(1, b"k", length(2) + string(b"a") + string(b"b")),
    "set": key(2, b"k", length(2) + string(b"a") + b"\xc0\x05"),
    "sorted set with scores as text": key(
        3, b"k", length(3) + string(b"a") + b"\x031.5" + string(b"b") + b"\xfe" + string(b"c") + b"\xfd"
    ),
    "hash": key(4, b"k", length(1) + string(b"f") + string(b"v")),
    "sorted set": key(5, b"k", length(1) + string(b"m") + bytes(8)),
    "zipmap": key(9, b"k", string(b"zipmap")),
    "ziplist": key(10, b"k", string(b"ziplist")),
    "intset": key(11, b"k", string(b"intset")),
    "sorted set as ziplist": key(12, b"k", string(b"z")),
    "hash as ziplist": key(13, b"k", string(b"z")),
    "quicklist of ziplists": key(14, b"k", length(2) + string(b"one") + string(b"two")),
    "hash as listpack": key(16, b"k", string(b"z")),
    "sorted set as listpack": key(17, b"k", string(b"z")),
    "quicklist": key(18, b"k", length(2) + length(2) + string(b"one") + length(1) + string(b"two" * 100)),
    "set as listpack": key(20, b"k", string(b"z")),
    "hash with field TTLs, before its release": key(22, b"k", length(1) + length(9) + string(b"f") + string(b"v")),
    "hash with field TTLs": key(24, b"k", bytes(8) + length(2) + (length(0) + string(b"f") + string(b"v")) * 2),
    "hash as listpack with field TTLs": key(25, b"k", bytes(8) + string(b"z")),
    "module": key(7, b"k", module_id("ReJSON-RL") + MODULE_VALUE + string(b"{}") + length(0)),
    **{
        f"stream, version {version}": key(
            kind,
            b"k",
            length(1) + string(bytes(16)) + string(b"listpack") + length(1) * (3 if version == 1 else 8)
            + length(1) + string(b"group") + length(1) * (2 if version == 1 else 3)
            + length(1) + bytes(16 + 8) + length(4)
            + length(1) + string(b"consumer") + bytes(8 if version < 3 else 16) + length(1) + bytes(16),
        )
        for kind, version in ((15, 1), (19, 2), (21, 3))
    },
}  # fmt: skip

"""Builds OpenPGP messages of every form that gpg and others write, with cheap keys so that thousands can be read."""

import hashlib
from collections.abc import Iterable

from backup_operator.worker.stages.openpgp import OpenPgpDecoder
from backup_operator.worker.stages.openpgp_ciphers import CIPHERS
from backup_operator.worker.stages.openpgp_packets import Tag, small_packet
from backup_operator.worker.stages.openpgp_s2k import Mode, StringToKey

PASSPHRASE = b"correct horse battery staple"
CHEAP = StringToKey(Mode.ITERATED, 8, b"saltsalt", 0)


def old_packet(tag: int, body: bytes, *, length_type: int = 0) -> bytes:
    """A packet with the old header; length type 3 has no length."""
    length = b"" if length_type == 3 else len(body).to_bytes(1 << length_type, "big")
    return bytes((0x80 | tag << 2 | length_type,)) + length + body


def partial_packet(tag: int, body: bytes, *, powers: Iterable[int]) -> bytes:
    """A packet with the new header whose body comes in parts of 2**power bytes and a definite rest."""
    packet = bytes((0xC0 | tag,))
    for power in powers:
        packet += bytes((0xE0 | power,)) + body[: 1 << power]
        body = body[1 << power :]
    return packet + small_packet(Tag(tag), body)[1:]


def literal(content: bytes, *, kind: bytes = b"b", name: bytes = b"") -> bytes:
    """The body of a literal packet."""
    return kind + bytes((len(name),)) + name + bytes(4) + content


def key_packet(way: StringToKey = CHEAP, *, cipher: int = 9, encrypted_key: bytes = b"", version: int = 4) -> bytes:
    """An SKESK packet."""
    header = bytes((way.mode, way.hash_id)) + way.salt
    if way.mode is Mode.ITERATED:
        header += bytes((way.count_octet,))
    return small_packet(Tag.SYMMETRIC_KEY_SESSION_KEY, bytes((version, cipher)) + header + encrypted_key)


def protected(content: bytes, key: bytes, *, cipher: int = 9) -> bytes:
    """The body of an SEIPD version 1 packet around packets."""
    block_cipher = CIPHERS[cipher]
    lead = bytes(range(block_cipher.block_bytes))
    plain = lead + lead[-2:] + content + b"\xd3\x14"
    plain += hashlib.sha1(plain).digest()
    return b"\x01" + block_cipher.encryptor(key).update(plain)


def message(content: bytes, *, way: StringToKey = CHEAP, cipher: int = 9) -> bytes:
    """A message around packets, as short as can be."""
    key = way.derive(PASSPHRASE, CIPHERS[cipher].key_bytes)
    body = protected(content, key, cipher=cipher)
    return key_packet(way, cipher=cipher) + small_packet(Tag.ENCRYPTED_PROTECTED, body)


def simple_message(content: bytes) -> bytes:
    """A message around a plaintext."""
    return message(small_packet(Tag.LITERAL, literal(content)))


def decode(stored: bytes, *, passphrases: tuple[bytes, ...] = (PASSPHRASE,), step: int = 0) -> bytes:
    """The plaintext; `step` cuts the stored bytes into blocks of that size."""
    blocks = [stored[at : at + step] for at in range(0, len(stored), step)] if step else [stored]
    return b"".join(OpenPgpDecoder(passphrases).decode(blocks))

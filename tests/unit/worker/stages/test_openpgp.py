"""What is written is read; every form that gpg writes is read; everything else is refused."""

import bz2
import hashlib
import random
import zlib

import pytest

from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.stages.base import BLOCK_BYTES, FormUnsupported
from backup_operator.worker.stages.openpgp import OpenPgpDecoder, OpenPgpEncoder
from backup_operator.worker.stages.openpgp_ciphers import CIPHERS
from backup_operator.worker.stages.openpgp_packets import Tag, small_packet
from backup_operator.worker.stages.openpgp_s2k import Mode, StringToKey
from tests.unit.worker.stages.messages import (
    CHEAP,
    PASSPHRASE,
    decode,
    key_packet,
    literal,
    message,
    old_packet,
    partial_packet,
    protected,
    simple_message,
)

TEXT = b"select 1;\n" * 3
PLAIN = small_packet(Tag.LITERAL, literal(TEXT))
MARKER = small_packet(Tag.MARKER, b"PGP")
REFUSED = (VerificationFailed, KeyInvalid)


def encode(content: list[bytes]) -> bytes:
    return b"".join(OpenPgpEncoder(PASSPHRASE).encode(content))


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def compressed(algorithm: int, content: bytes) -> bytes:
    return bytes((algorithm,)) + content


BOUNDARIES = [
    0,
    1,
    180,
    191,
    192,
    8377,
    8378,
    BLOCK_BYTES - 7,
    BLOCK_BYTES - 6,
    BLOCK_BYTES - 5,
    BLOCK_BYTES,
    3 * BLOCK_BYTES - 32,
    3 * BLOCK_BYTES + 5,
]


@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_message_of_any_size_is_read_back(size):
    content = random.Random(size).randbytes(size)

    stored = encode([content[: size // 3], b"", content[size // 3 :]])

    assert decode(stored) == content


def test_a_message_is_written_the_same_for_the_same_random_bytes():
    stored = b"".join(OpenPgpEncoder(PASSPHRASE, lambda size: b"\x07" * size).encode([TEXT]))

    assert stored[:16].hex() == "c30d04090308" + "07" * 8 + "ffd2"
    assert hashlib.sha256(stored).hexdigest() == "d3004c9094b0c2696bc6591bda6f9ed3271e25e618ecde46f2b7036244dcdc06"


def test_two_messages_share_no_salt_and_no_prefix():
    first, second = encode([TEXT]), encode([TEXT])

    assert first[6:14] != second[6:14]
    assert first[20:] != second[20:]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1000])
def test_a_message_is_read_in_blocks_of_any_size(step):
    stored = message(partial_packet(8, compressed(1, raw_deflate(PLAIN * 1)), powers=(1, 0, 2)))

    assert decode(stored, step=step) == TEXT


FORMS = {
    "a literal with a file name": small_packet(Tag.LITERAL, literal(TEXT, name=b"dump.sql")),
    "a text literal whose line ends gpg would fold": small_packet(
        Tag.LITERAL, literal(TEXT.replace(b"\n", b"\r\n"), kind=b"t")
    ),
    "a UTF-8 literal": small_packet(Tag.LITERAL, literal(TEXT, kind=b"u")),
    "an old header with one octet of length": old_packet(11, literal(TEXT)),
    "an old header with two octets of length": old_packet(11, literal(TEXT), length_type=1),
    "an old header with four octets of length": old_packet(11, literal(TEXT), length_type=2),
    "an old header without length": old_packet(11, literal(TEXT), length_type=3),
    "partial lengths": partial_packet(11, literal(TEXT), powers=(4, 0, 1)),
    "partial lengths that end in an empty part": partial_packet(11, literal(TEXT[:26]), powers=(5,)),
    "an uncompressed compressed packet": small_packet(Tag.COMPRESSED, compressed(0, PLAIN)),
    "ZIP": small_packet(Tag.COMPRESSED, compressed(1, raw_deflate(PLAIN))),
    "ZIP as gpg frames it": old_packet(8, compressed(1, raw_deflate(PLAIN)), length_type=3),
    "ZLIB": small_packet(Tag.COMPRESSED, compressed(2, zlib.compress(PLAIN))),
    "BZIP2": small_packet(Tag.COMPRESSED, compressed(3, bz2.compress(PLAIN))),
    "ZLIB in BZIP2": small_packet(
        Tag.COMPRESSED, compressed(3, bz2.compress(small_packet(Tag.COMPRESSED, compressed(2, zlib.compress(PLAIN)))))
    ),
    "markers before the plaintext": MARKER + MARKER + PLAIN,
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_plaintext_is_read(content):
    assert decode(message(content)) in {TEXT, TEXT[:26]}


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda number: CIPHERS[number].name)
def test_every_cipher_is_read(cipher):
    assert decode(message(PLAIN, cipher=cipher)) == TEXT


@pytest.mark.parametrize("hash_id", [2, 3, 8, 9, 10, 11])
@pytest.mark.parametrize("mode", Mode)
def test_every_way_of_making_keys_is_read(mode, hash_id):
    salt = b"" if mode is Mode.SIMPLE else b"8 octets"
    way = StringToKey(mode, hash_id, salt, 0x10 if mode is Mode.ITERATED else 0)

    assert decode(message(PLAIN, way=way)) == TEXT


def test_a_session_key_that_is_itself_encrypted_is_read():
    session_key = bytes(range(16))
    way_key = CHEAP.derive(PASSPHRASE, 32)
    wrapped = CIPHERS[9].encryptor(way_key).update(b"\x07" + session_key)

    stored = key_packet(encrypted_key=wrapped) + small_packet(
        Tag.ENCRYPTED_PROTECTED, protected(PLAIN, session_key, cipher=7)
    )

    assert decode(stored) == TEXT
    with pytest.raises(KeyInvalid):
        decode(stored, passphrases=(b"another",))


def test_several_key_packets_and_passphrases_are_tried():
    other = StringToKey(Mode.SALTED, 8, b"pepper!!", 0)
    twofish = small_packet(Tag.SYMMETRIC_KEY_SESSION_KEY, b"\x04\x0a\x00\x08")
    public = small_packet(Tag.PUBLIC_KEY_SESSION_KEY, b"\x03" + bytes(100))

    stored = MARKER + twofish + public + key_packet(other) + simple_message(TEXT)

    assert decode(stored, passphrases=(b"first", b"", PASSPHRASE)) == TEXT


def test_a_passphrase_of_any_length_is_read():
    way = StringToKey(Mode.ITERATED, 8, b"saltsalt", 0)
    for passphrase in (b"x", b"x" * 5000):
        stored = key_packet() + small_packet(Tag.ENCRYPTED_PROTECTED, protected(PLAIN, way.derive(passphrase, 32)))
        assert decode(stored, passphrases=(passphrase,)) == TEXT


REFUSALS = {
    "nothing": (b"", "no encrypted packet"),
    "plain text": (b"hello", "something else"),
    "a message without MDC": (key_packet() + small_packet(Tag.ENCRYPTED, b"x" * 60), "no MDC"),
    "the old header of one": (key_packet() + old_packet(9, b"x" * 60, length_type=3), "no MDC"),
    "AEAD of GnuPG 2.3": (key_packet() + small_packet(Tag.ENCRYPTED_AEAD, b"x" * 60), "AEAD"),
    "AEAD of RFC 9580": (key_packet() + small_packet(Tag.ENCRYPTED_PROTECTED, b"\x02" + b"x" * 60), "AEAD"),
    "a key packet of RFC 9580": (
        key_packet(version=6) + small_packet(Tag.ENCRYPTED_PROTECTED, b"\1" * 60),
        "version 6",
    ),
    "Twofish": (key_packet(cipher=10) + small_packet(Tag.ENCRYPTED_PROTECTED, b"\x01" * 60), "Twofish"),
    "IDEA": (key_packet(cipher=1) + small_packet(Tag.ENCRYPTED_PROTECTED, b"\x01" * 60), "IDEA"),
    "no cipher": (key_packet(cipher=0) + small_packet(Tag.ENCRYPTED_PROTECTED, b"\x01" * 60), "no cipher"),
    "MD5": (small_packet(Tag(3), b"\x04\x09\x00\x01") + small_packet(Tag(18), b"\x01" * 60), "hash number 1"),
    "GnuPG's own S2K": (small_packet(Tag(3), b"\x04\x09\x65\x08") + small_packet(Tag(18), b"\x01" * 60), "way 101"),
    "a public key only": (
        small_packet(Tag.PUBLIC_KEY_SESSION_KEY, bytes(9)) + small_packet(Tag(18), b"\x01" * 60),
        "public key",
    ),
    "a message that is not encrypted": (PLAIN, "not encrypted"),
    "a compressed one": (small_packet(Tag.COMPRESSED, b"\x00" + PLAIN), "not encrypted"),
    "a signature": (small_packet(Tag.SIGNATURE, b"x"), "signature"),
    "a key packet with a partial length": (b"\xc3\xe1xxx", "partial length"),
    "a key packet without length": (old_packet(3, b"x", length_type=3), "no length"),
    "a huge key packet": (b"\xc3\xff\xff\xff\xff\xff" + bytes(2 * BLOCK_BYTES), "larger than"),
    "a wrong marker": (small_packet(Tag.MARKER, b"PGQ") + simple_message(TEXT), "marker"),
    "a foreign packet": (small_packet(Tag(19), b"x") + simple_message(TEXT), "tag 19"),
    "more key packets than anyone writes": (key_packet() * 17, "More than 16"),
    "a marker after the end": (simple_message(TEXT) + MARKER, "follows the OpenPGP message"),
    "a newline after the end": (simple_message(TEXT) + b"\n", "follows the OpenPGP message"),
    "a second message": (simple_message(TEXT) * 2, "follows the OpenPGP message"),
    "a second plaintext": (message(PLAIN + PLAIN), "follows the plaintext"),
    "garbage after the plaintext": (message(PLAIN + b"x"), "follows the plaintext"),
    "no plaintext": (message(MARKER), "no plaintext"),
    "a signed message": (message(small_packet(Tag.ONE_PASS_SIGNATURE, b"x") + PLAIN), "signed"),
    "a signature before the plaintext": (message(small_packet(Tag.SIGNATURE, b"x") + PLAIN), "signed"),
    "markers without end": (message(MARKER * 40 + PLAIN), "markers"),
    "an unknown compression": (message(small_packet(Tag.COMPRESSED, b"\x09" + PLAIN)), "algorithm 9"),
    "deflate that is none": (message(small_packet(Tag.COMPRESSED, b"\x01\xff\xff\xff")), "ZIP stream"),
    "deflate that is cut": (message(small_packet(Tag(8), b"\x01" + raw_deflate(PLAIN)[:-3])), "too early"),
    "bytes after the deflate stream": (message(small_packet(Tag(8), b"\x01" + raw_deflate(PLAIN) + b"\0")), "follows"),
    "a wrong ZLIB check sum": (message(small_packet(Tag(8), b"\x02" + zlib.compress(PLAIN)[:-1] + b"\0")), "ZLIB"),
    "a literal of an unknown kind": (message(small_packet(Tag.LITERAL, literal(TEXT, kind=b"x"))), "kind"),
    "a literal that is cut": (message(PLAIN[:-1]), "too early"),
    "a literal without a header": (message(small_packet(Tag.LITERAL, b"b")), "too early"),
}


@pytest.mark.parametrize(("stored", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_every_other_form_is_refused_in_words(stored, words):
    with pytest.raises(VerificationFailed) as refusal:
        decode(stored)

    assert words in refusal.value.detail
    assert refusal.value.hint


def test_compression_nested_too_deep_is_refused():
    content = PLAIN
    for _ in range(9):
        content = old_packet(8, compressed(0, content), length_type=2)

    with pytest.raises(VerificationFailed, match="damaged") as refusal:
        decode(message(content))

    assert "8 deep" in refusal.value.detail


def test_a_wrong_passphrase_is_told_from_damage():
    with pytest.raises(KeyInvalid) as refusal:
        decode(simple_message(TEXT), passphrases=(b"wrong", b"wrong too"))

    assert "2 tried" in refusal.value.detail


def test_a_form_that_is_not_read_is_not_tried_again():
    with pytest.raises(FormUnsupported) as refusal:
        decode(key_packet() + small_packet(Tag.ENCRYPTED, b"x" * 60))

    assert not refusal.value.retryable


SMALL_MESSAGES = {
    "definite lengths": simple_message(TEXT),
    "partial lengths and ZIP": key_packet()
    + partial_packet(
        18,
        protected(partial_packet(8, compressed(1, raw_deflate(PLAIN)), powers=(3, 2)), CHEAP.derive(PASSPHRASE, 32)),
        powers=(5, 3),
    ),
    "old headers": message(old_packet(8, compressed(2, zlib.compress(old_packet(11, literal(TEXT)))), length_type=3)),
}


@pytest.mark.parametrize("stored", SMALL_MESSAGES.values(), ids=SMALL_MESSAGES.keys())
def test_every_flipped_bit_is_refused(stored):
    assert decode(stored) == TEXT
    for at in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[at] ^= 1 << bit
            with pytest.raises(REFUSED):
                decode(bytes(changed))


@pytest.mark.parametrize("stored", SMALL_MESSAGES.values(), ids=SMALL_MESSAGES.keys())
def test_every_cut_is_refused(stored):
    for size in range(len(stored)):
        with pytest.raises(REFUSED):
            decode(stored[:size])


@pytest.mark.parametrize("stored", SMALL_MESSAGES.values(), ids=SMALL_MESSAGES.keys())
def test_every_missing_and_doubled_byte_is_refused(stored):
    for at in range(len(stored)):
        with pytest.raises(REFUSED):
            decode(stored[:at] + stored[at + 1 :])
        with pytest.raises(REFUSED):
            decode(stored[: at + 1] + stored[at:])


def test_every_flipped_byte_of_our_own_message_is_refused():
    stored = encode([TEXT])
    for at in range(len(stored)):
        changed = bytearray(stored)
        changed[at] ^= 0xFF
        with pytest.raises(REFUSED):
            decode(bytes(changed))


def test_a_bomb_is_read_in_small_blocks():
    zeros = bytes(1 << 26)
    content = old_packet(8, compressed(3, bz2.compress(literal_of(zeros))), length_type=3)

    sizes = [len(block) for block in OpenPgpDecoder((PASSPHRASE,)).decode([message_of_any_size(content)])]

    assert max(sizes) <= BLOCK_BYTES
    assert sum(sizes) == len(zeros)


def literal_of(content: bytes) -> bytes:
    return old_packet(11, literal(content), length_type=2)


def message_of_any_size(content: bytes) -> bytes:
    return key_packet() + small_packet(Tag.ENCRYPTED_PROTECTED, protected(content, CHEAP.derive(PASSPHRASE, 32)))

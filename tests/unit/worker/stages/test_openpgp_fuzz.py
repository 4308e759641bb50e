"""Whatever bytes are stored: a plaintext, or an error of ours, and never another one."""

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.stages.compress import decoder, encoder
from tests.unit.worker.stages.messages import decode, key_packet, literal, message, old_packet, simple_message

TEXT = b"insert into t values (1);\n" * 4
SEEDS = [
    simple_message(TEXT),
    message(old_packet(8, b"\x02" + zlib.compress(old_packet(11, literal(TEXT))), length_type=3)),
]


@st.composite
def changed_messages(draw):
    stored = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(stored) - 1))
        removed = draw(st.integers(0, 3))
        stored[at : at + removed] = draw(st.binary(max_size=4))
        stored = stored or bytearray(1)
    return bytes(stored)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: key_packet() + tail)))
def test_random_bytes_are_refused_in_our_words(stored):
    try:
        decode(stored)
    except (VerificationFailed, KeyInvalid):
        return
    raise AssertionError("random bytes were taken for a message")


@settings(max_examples=300, deadline=None)
@given(changed_messages())
def test_a_changed_message_is_refused_or_what_it_was(stored):
    try:
        assert decode(stored) == TEXT
        assert stored in SEEDS
    except (VerificationFailed, KeyInvalid):
        assert stored not in SEEDS


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_packets_inside_an_intact_message_are_refused_in_our_words(content):
    try:
        plain = decode(message(content))
    except (VerificationFailed, KeyInvalid):
        return
    assert content[:1] >= b"\x80"
    assert plain in content


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, 2, 3]), st.binary(max_size=300))
def test_random_compressed_bytes_are_refused_in_our_words(algorithm, content):
    try:
        decode(message(old_packet(8, bytes((algorithm,)) + content, length_type=3)))
    except VerificationFailed:
        return
    raise AssertionError("random bytes were taken for a compressed packet")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([Compression.GZIP, Compression.ZSTD]), st.binary(max_size=200), st.booleans())
def test_random_compressed_streams_are_refused_in_our_words(algorithm, content, append):
    start = b"".join(encoder(algorithm, 2).encode([TEXT])) if append else b""
    try:
        plain = b"".join(decoder(algorithm).decode([start + content] if start + content else []))
    except VerificationFailed:
        return
    assert plain.startswith(TEXT)
    assert append


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=30))
def test_random_armour_is_refused_in_our_words(lines):
    try:
        decode(b"-----BEGIN PGP MESSAGE-----\n" + b"\n".join(lines))
    except (VerificationFailed, KeyInvalid):
        return
    raise AssertionError("random lines were taken for an armoured message")

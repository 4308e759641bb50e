"""Keys are those that OpenPGP makes; what entries hold is as costly to guess through as the files."""

import hashlib
import time

import pytest

from backup_operator.worker.errors import VerificationFailed
from backup_operator.worker.stages.openpgp_packets import Intake
from backup_operator.worker.stages.openpgp_s2k import (
    Mode,
    StringToKey,
    derive_authentication_key,
    read_string_to_key,
    strongest,
)

SALT = b"8 octets"


def test_a_simple_key_is_the_hash_of_the_passphrase():
    assert StringToKey(Mode.SIMPLE, 8, b"", 0).derive(b"secret", 32) == hashlib.sha256(b"secret").digest()


def test_a_key_longer_than_the_hash_takes_a_second_hash_with_a_zero_before_it():
    key = StringToKey(Mode.SALTED, 2, SALT, 0).derive(b"secret", 32)

    first, second = hashlib.sha1(SALT + b"secret"), hashlib.sha1(b"\0" + SALT + b"secret")
    assert key == (first.digest() + second.digest())[:32]


@pytest.mark.parametrize(("count_octet", "octets"), [(0, 1024), (0x60, 65536), (0x9F, 1015808), (0xFF, 65011712)])
def test_an_iterated_key_hashes_exactly_the_counted_octets(count_octet, octets):
    seed = SALT + b"secret"
    repeated = (seed * (octets // len(seed) + 1))[:octets]

    key = StringToKey(Mode.ITERATED, 8, SALT, count_octet).derive(b"secret", 32)

    assert key == hashlib.sha256(repeated).digest()


def test_a_passphrase_longer_than_the_count_is_hashed_whole():
    passphrase = bytes(range(256)) * 1000

    key = StringToKey(Mode.ITERATED, 8, SALT, 0).derive(passphrase, 32)

    assert key == hashlib.sha256(SALT + passphrase).digest()


def test_our_own_way_is_stored_as_iterated_salted_sha256_with_the_costliest_count():
    assert strongest(SALT).header() == b"\x03\x08" + SALT + b"\xff"
    assert read_string_to_key(Intake((strongest(SALT).header(),))) == strongest(SALT)


@pytest.mark.parametrize("stored", [b"", b"\x03", b"\x03\x08salt", b"\x01\x08salt", b"\x03\x08saltsalt", b"\x02\x08"])
def test_a_cut_or_unknown_specifier_is_refused(stored):
    with pytest.raises(VerificationFailed):
        read_string_to_key(Intake((stored,)))


def test_entry_keys_are_apart_from_each_other_and_from_file_keys():
    file_key = strongest(SALT).derive(b"secret", 32)
    entry_key = derive_authentication_key(b"secret", SALT)

    assert len({file_key, entry_key, derive_authentication_key(b"secret", b"another salt")}) == 3
    assert len(entry_key) == 32


def test_guessing_through_an_entry_is_no_cheaper_than_through_a_file():
    def seconds(work):
        started = time.process_time()
        work()
        return time.process_time() - started

    def once() -> tuple[float, float]:
        return (
            seconds(lambda: strongest(SALT).derive(b"secret", 32)),
            seconds(lambda: derive_authentication_key(b"secret", SALT)),
        )

    # side by side, since a machine that does much else is slow at one moment and fast at another
    assert any(entry > 0.5 * file for file, entry in (once() for _ in range(5)))


def test_a_short_salt_is_refused():
    with pytest.raises(ValueError, match="at least 8"):
        derive_authentication_key(b"secret", b"short")

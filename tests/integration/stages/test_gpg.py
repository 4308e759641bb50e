"""gpg reads what we write, and we read what gpg writes, in all its variants."""

import gzip
import hashlib
import io
import random
import subprocess

import pytest

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.stages.chain import Recipe, seal, unseal
from backup_operator.worker.stages.openpgp import OpenPgpDecoder, OpenPgpEncoder
from tests.integration.stages.conftest import PASSPHRASE, Gpg

ROWS = b"".join(b"%d\tsome text\t%d\n" % (row, row * row) for row in range(20_000))
SIZES = [0, 1, 191, 192, 8383, 8384, (1 << 18) - 6, 1 << 18, (1 << 18) * 3 + 1]
STOCK = {Compression.GZIP: ["gunzip", "-c"], Compression.ZSTD: ["zstd", "-dc"], Compression.NONE: ["cat"]}


def read(stored: bytes, passphrase: bytes = PASSPHRASE) -> bytes:
    return b"".join(OpenPgpDecoder([passphrase]).decode([stored]))


def write(content: bytes, passphrase: bytes = PASSPHRASE) -> bytes:
    return b"".join(OpenPgpEncoder(passphrase).encode([content]))


@pytest.mark.parametrize("size", SIZES)
def test_gpg_reads_ours_of_any_size(gpg: Gpg, size):
    content = random.Random(size).randbytes(size)

    assert gpg.decrypt(write(content)) == content


def test_gpg_sees_the_one_form_that_every_gpg_reads(gpg: Gpg):
    listing = gpg.list_packets(write(b"x" * 600_000))

    assert "symkey enc packet: version 4, cipher 9, aead 0,s2k 3, hash 8" in listing
    assert "count 65011712 (255)" in listing
    assert "encrypted data packet:" in listing
    assert "mdc_method: 2" in listing
    assert "mode b (62), created 0, name=" in listing


def test_gpg_reads_the_golden_message(gpg: Gpg):
    stored = b"".join(OpenPgpEncoder(PASSPHRASE, lambda size: b"\x07" * size).encode([b"select 1;\n" * 3]))

    assert hashlib.sha256(stored).hexdigest() == "d3004c9094b0c2696bc6591bda6f9ed3271e25e618ecde46f2b7036244dcdc06"
    assert gpg.decrypt(stored) == b"select 1;\n" * 3


@pytest.mark.parametrize("level", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("algorithm", Compression)
def test_a_stored_file_opens_with_stock_tools_alone(gpg: Gpg, algorithm, level):
    stored = io.BytesIO()
    seal([ROWS], stored, Recipe(algorithm, level, PASSPHRASE), None)

    packed = gpg.decrypt(stored.getvalue())

    plain = subprocess.run(STOCK[algorithm], input=packed, capture_output=True, check=True, timeout=60).stdout
    assert plain == ROWS


def test_gpg_refuses_ours_with_a_flipped_byte(gpg: Gpg):
    stored = bytearray(write(ROWS))
    stored[-30] ^= 1

    assert gpg.run("--decrypt", content=bytes(stored)).returncode == 2


def test_gpg_takes_the_same_first_line_of_the_passphrase_file(gpg: Gpg):
    assert gpg.run("--decrypt", content=write(ROWS, PASSPHRASE + b"\nsecond line")).returncode == 2


VARIANTS = {
    "its defaults": [],
    "as the old scripts do": ["--cipher-algo", "AES256"],
    **{f"compression {name}": ["--compress-algo", name] for name in ("none", "zip", "zlib", "bzip2")},
    "compression at its strongest": ["--compress-algo", "zlib", "-z", "9"],
    **{
        f"cipher {name}": ["--cipher-algo", name]
        for name in (
            *("3DES", "CAST5", "BLOWFISH", "AES", "AES192", "AES256"),
            *("CAMELLIA128", "CAMELLIA192", "CAMELLIA256"),
        )
    },
    **{
        f"digest {name}": ["--s2k-digest-algo", name]
        for name in ("SHA1", "RIPEMD160", "SHA224", "SHA256", "SHA384", "SHA512")
    },
    "a key longer than its digest": ["--s2k-digest-algo", "SHA1", "--cipher-algo", "AES256"],
    "an unsalted key": ["--s2k-mode", "0"],
    "a salted key": ["--s2k-mode", "1"],
    "a low count": ["--s2k-mode", "3", "--s2k-count", "2048"],
    "the highest count": ["--s2k-mode", "3", "--s2k-count", "65011712"],
    "a count between": ["--s2k-mode", "3", "--s2k-count", "1015808"],
    "armour": ["--armor"],
    "armour with a comment": ["--armor", "--comment", "from the old host"],
    "text mode": ["--textmode"],
    "no file name": ["--set-filename", ""],
}


@pytest.mark.parametrize("content", [b"", b"one line\n", ROWS], ids=["empty", "one line", "500 KB"])
@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS.keys())
def test_we_read_what_gpg_writes_from_a_pipe(gpg: Gpg, arguments, content):
    assert read(gpg.encrypt(content, *arguments)) == content


@pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS.keys())
def test_we_read_what_gpg_writes_from_a_file(gpg: Gpg, arguments):
    assert read(gpg.encrypt_file(ROWS, *arguments)) == ROWS


def test_gpg_writes_definite_lengths_for_a_file(gpg: Gpg):
    stored = gpg.encrypt_file(ROWS, "--compress-algo", "none")

    at = stored.index(b"\xd2", 15)
    assert stored[at + 1] == 0xFF


@pytest.mark.parametrize("passphrase", [b"x", b"eleven char", "zwölf Zeichen €".encode(), b"y" * 255])
def test_a_passphrase_of_any_length_opens_what_gpg_wrote(gpg: Gpg, passphrase):
    (gpg.home / "other").write_bytes(passphrase + b"\n")
    stored = gpg.encrypt(ROWS, "--passphrase-file", str(gpg.home / "other"))

    assert read(stored, passphrase) == ROWS
    with pytest.raises(KeyInvalid):
        read(stored)


def test_twofish_is_refused_by_its_name(gpg: Gpg):
    with pytest.raises(VerificationFailed) as refusal:
        read(gpg.encrypt(ROWS, "--cipher-algo", "TWOFISH"))

    assert "Twofish" in refusal.value.detail


def test_a_message_without_mdc_is_refused(gpg: Gpg):
    stored = gpg.encrypt(ROWS, "--rfc2440", "--cipher-algo", "CAST5", "--s2k-digest-algo", "SHA1")

    with pytest.raises(VerificationFailed) as refusal:
        read(stored)

    assert "no MDC" in refusal.value.detail


@pytest.mark.parametrize("arguments", [["--compress-algo", "none"], [], ["--compress-algo", "bzip2"], ["--armor"]])
def test_flipped_and_cut_bytes_of_gpgs_messages_are_refused(gpg: Gpg, arguments):
    # the flips leave out the armour's own lines, which are not part of the message
    stored = gpg.encrypt(b"select 1;\n" * 9, "--s2k-count", "2048", *arguments)
    body = range(stored.index(b"\n\n") + 2, stored.index(b"\n=")) if stored.startswith(b"-") else range(len(stored))
    for at in body:
        changed = bytearray(stored)
        changed[at] ^= 0x15
        with pytest.raises((VerificationFailed, KeyInvalid)):
            read(bytes(changed))
        with pytest.raises((VerificationFailed, KeyInvalid)):
            read(stored[:at])


def test_a_file_of_the_old_scripts_is_unsealed(gpg: Gpg):
    stored = gpg.encrypt(gzip.compress(ROWS, 6), "--cipher-algo", "AES256")

    unsealing = unseal(io.BytesIO(stored), [PASSPHRASE], Compression.GZIP)

    assert b"".join(unsealing) == ROWS
    assert unsealing.sealed.plain_bytes == len(ROWS)

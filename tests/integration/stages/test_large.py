"""Memory stays constant, and gpg and we agree on streams that hold many blocks."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.stages.chain import Recipe, seal, unseal
from backup_operator.worker.stages.openpgp import OpenPgpDecoder
from tests.integration.stages.conftest import PASSPHRASE, Gpg

LIMIT_KIB = 64 * 1024
BLOCKS = [random.Random(seed).randbytes(1_000_003) for seed in range(120)]
"""120 MB that no compression makes smaller."""


def sha256(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("algorithm", "level", "megabytes"),
    [
        (Compression.GZIP, 2, 5_000),
        (Compression.ZSTD, 3, 1_000),
        (Compression.ZSTD, 19, 50),
        (Compression.NONE, 1, 500),
    ],
)
def test_memory_stays_within_64_mib_above_the_interpreter(tmp_path: Path, algorithm, level, megabytes):
    program = Path(__file__).with_name("synthetic.py")
    command = [sys.executable, str(program), str(tmp_path / "stored"), algorithm, str(level), str(megabytes)]

    printed = subprocess.run(command, capture_output=True, check=True, timeout=1500).stdout

    peak_kib, plain_bytes = map(int, printed.split())
    assert plain_bytes >= megabytes * 1_000_000
    assert peak_kib < LIMIT_KIB


def test_gpg_reads_a_large_stream_of_ours(gpg: Gpg, tmp_path: Path):
    with (tmp_path / "stored").open("wb") as destination:
        written = seal(BLOCKS, destination, Recipe(Compression.NONE, 1, PASSPHRASE))

    with (tmp_path / "stored").open("rb") as stored, (tmp_path / "plain").open("wb") as opened:
        gpg.pipe(["--decrypt"], stored, opened)

    with (tmp_path / "plain").open("rb") as plain:
        assert hashlib.file_digest(plain, "sha256").hexdigest() == written.plain_sha256 == sha256(BLOCKS)


@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_we_read_a_large_stream_of_gpgs(gpg: Gpg, tmp_path: Path, compression):
    (tmp_path / "plain").write_bytes(b"".join(BLOCKS))
    with (tmp_path / "plain").open("rb") as plain, (tmp_path / "stored").open("wb") as stored:
        gpg.pipe(["--compress-algo", compression, "-z", "1", "--symmetric"], plain, stored)

    with (tmp_path / "stored").open("rb") as stored:
        blocks = OpenPgpDecoder([PASSPHRASE]).decode(iter(lambda: stored.read(1 << 18), b""))
        assert sha256(blocks) == sha256(BLOCKS)


def test_the_pipe_of_the_old_scripts_is_unsealed(gpg: Gpg, tmp_path: Path):
    rows = b"".join(b"%d\tsome text\t%d\n" % (row, row * row) for row in range(3_000_000))
    (tmp_path / "plain").write_bytes(rows)
    with (tmp_path / "plain").open("rb") as plain, (tmp_path / "stored").open("wb") as destination:
        packer = subprocess.Popen(["gzip", "-1"], stdin=plain, stdout=subprocess.PIPE)
        assert packer.stdout is not None
        gpg.pipe(["--symmetric", "--cipher-algo", "AES256"], packer.stdout, destination)
        packer.stdout.close()
        assert packer.wait(60) == 0

    with (tmp_path / "stored").open("rb") as stored, unseal(stored, [PASSPHRASE], Compression.GZIP) as unsealing:
        assert sha256(unsealing) == hashlib.sha256(rows).hexdigest()
        assert unsealing.sealed.plain_sha256 == hashlib.sha256(rows).hexdigest()

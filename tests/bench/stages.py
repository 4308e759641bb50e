"""Measures the stages: compressors against `gzip -6`, the primitives of OpenPGP, and whole files sealed and unsealed.

Called by a person: `python -m tests.bench.stages [SQL_DUMP …]`. Without dumps it makes two of 100 MB: pgbench's rows
and chat messages of text and JSON. Rates are of plain bytes and CPU time, so that a busy machine changes them little.
"""

import collections
import hashlib
import io
import itertools
import json
import os
import random
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from isal import isal_zlib

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.stages.base import BLOCK_BYTES, Decoder, Encoder, regroup
from backup_operator.worker.stages.chain import Recipe, seal, unseal
from backup_operator.worker.stages.compress import Deflater, decoder, encoder
from backup_operator.worker.stages.openpgp_ciphers import AES256, CIPHERS
from backup_operator.worker.stages.openpgp_s2k import strongest

MEGABYTE = 1_000_000
MADE_BYTES = 100 * MEGABYTE
Found = TypeVar("Found")
PASSPHRASE = b"correct horse battery staple"


def timed(work: Callable[[], Found]) -> tuple[float, Found]:
    """CPU seconds of one call, of all its threads, and what it returned."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def pgbench_rows() -> Iterator[bytes]:
    filler = b" " * 84
    for aid in range(1, 10_000_000):
        yield b"%d\t%d\t0\t%s\n" % (aid, aid // 100_000 + 1, filler)


def chat_rows() -> Iterator[bytes]:
    dice = random.Random(7)
    text = "".join(path.read_text(errors="ignore") for path in sorted(Path(json.__file__).parents[1].glob("*.py")))
    words = text.split()
    for row in range(1, 10_000_000):
        start = dice.randrange(len(words) - 12)
        body = " ".join(dice.choices(words, k=dice.randint(5, 40)) + words[start : start + 12])
        meta = json.dumps({"model": dice.choice("abc"), "tokens": dice.randint(5, 4000), "ms": round(dice.random(), 4)})
        session = f"{dice.getrandbits(128):032x}"
        yield f"{row}\t{session}\t2023-01-01 00:{row % 60:02}:00+00\t{body}\t{meta}\n".encode()


def made(rows: Iterable[bytes]) -> bytes:
    """The first MADE_BYTES of a dump."""
    taken = bytearray()
    for row in rows:
        taken += row
        if len(taken) >= MADE_BYTES:
            break
    return bytes(taken)


def packed_bytes(plain: bytes, packer: Deflater) -> int:
    return sum(len(packer.compress(block)) for block in regroup([plain])) + len(packer.flush())


def encoded_bytes(plain: bytes, stage: Encoder) -> int:
    return sum(len(block) for block in stage.encode(regroup([plain])))


def decoded_bytes(stored: bytes, stage: Decoder) -> int:
    return sum(len(block) for block in stage.decode([stored]))


def measure_compressors(plain: bytes) -> None:
    reference = packed_bytes(plain, zlib.compressobj(6, zlib.DEFLATED, 31))

    def measure(name: str, work: Callable[[], int]) -> None:
        cpu, size_bytes = timed(work)
        print(f"  {name:12} {len(plain) / MEGABYTE / cpu:7.0f} MB/s  {size_bytes / reference:5.3f} of gzip -6")

    for level in (1, 2, 6):
        measure(f"zlib {level}", partial(packed_bytes, plain, zlib.compressobj(level, zlib.DEFLATED, 31)))
    for level in (0, 1, 2, 3):
        measure(f"igzip {level}", partial(packed_bytes, plain, isal_zlib.compressobj(level, zlib.DEFLATED, 31, 9)))
    for algorithm in (Compression.GZIP, Compression.ZSTD):
        for level in range(1, 10):
            measure(f"our {algorithm} {level}", partial(encoded_bytes, plain, encoder(algorithm, level)))


def measure_decompressors(plain: bytes) -> None:
    for algorithm in (Compression.GZIP, Compression.ZSTD):
        stored = b"".join(encoder(algorithm, 2).encode([plain]))
        cpu, size_bytes = timed(partial(decoded_bytes, stored, decoder(algorithm)))
        assert size_bytes == len(plain)
        print(f"  {algorithm:12} {len(plain) / MEGABYTE / cpu:7.0f} MB/s")


def measure_primitives() -> None:
    block = os.urandom(BLOCK_BYTES)
    aes = CIPHERS[AES256]
    steps: dict[str, Callable[[bytes], object]] = {
        "SHA-1": hashlib.sha1(usedforsecurity=False).update,
        "SHA-256": hashlib.sha256().update,
        "AES encrypt": aes.encryptor(bytes(32)).update,
        "AES decrypt": aes.decryptor(bytes(32)).update,
    }
    for name, step in steps.items():
        cpu, _ = timed(partial(collections.deque, map(step, itertools.repeat(block, 1000)), maxlen=0))
        print(f"  {name:12} {len(block) * 1000 / MEGABYTE / cpu:7.0f} MB/s")
    cpu, _ = timed(partial(strongest(bytes(8)).derive, PASSPHRASE, 32))
    print(f"  key          {cpu:7.3f} s")


def measure_files(plain: bytes) -> None:
    for algorithm in Compression:
        stored = io.BytesIO()
        print(
            f"  seal   {algorithm:5} {rates(plain, partial(seal, [plain], stored, Recipe(algorithm, 2, PASSPHRASE)))}"
        )
        stored.seek(0)
        unsealing = unseal(stored, [PASSPHRASE], algorithm)
        print(f"  unseal {algorithm:5} {rates(plain, partial(collections.deque, unsealing, maxlen=0))}")
        assert unsealing.sealed.plain_bytes == len(plain)


def rates(plain: bytes, work: Callable[[], object]) -> str:
    started = time.monotonic()
    cpu, _ = timed(work)
    wall = time.monotonic() - started
    megabytes = len(plain) / MEGABYTE
    return f"{megabytes / wall:7.0f} MB/s, {megabytes / cpu:.0f} MB for each second of CPU"


def main() -> None:
    dumps = {path: Path(path).read_bytes() for path in sys.argv[1:]} or {
        "pgbench rows": made(pgbench_rows()),
        "chat rows": made(chat_rows()),
    }
    print("primitives")
    measure_primitives()
    for name, plain in dumps.items():
        print(f"{name}: compress")
        measure_compressors(plain)
        print(f"{name}: decompress")
        measure_decompressors(plain)
        print(f"{name}: whole files, level 2")
        measure_files(plain)


if __name__ == "__main__":
    main()

"""Seals and unseals a synthetic stream in a process of its own; prints its peak memory in KiB above a bare interpreter.

Called by test_large.py: `python synthetic.py FILE ALGORITHM LEVEL MEGABYTES`. The bare interpreter's peak is read
before anything is imported.
"""

import sys


def peak_kib() -> int:
    """This program's own peak; getrusage's would be that of whoever started it, where that was larger."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - a bare interpreter has not imported pathlib
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


BARE_KIB = peak_kib()

from collections.abc import Iterator  # noqa: E402 - memory is measured first
from pathlib import Path  # noqa: E402
from random import Random  # noqa: E402

from backup_operator.vocabulary.choices import Compression  # noqa: E402
from backup_operator.worker.stages.chain import Recipe, seal, unseal  # noqa: E402

MEGABYTE = 1_000_000
PASSPHRASE = b"correct horse battery staple"


def rows(megabytes: int) -> Iterator[bytes]:
    """Half of it random, half zeros: neither the compressed nor the plain side stays small."""
    random = Random(5).randbytes(MEGABYTE // 4) + bytes(MEGABYTE // 4)
    for number in range(megabytes):
        yield random
        yield b"%d" % number
        yield bytes(MEGABYTE // 2)


def main() -> None:
    path, algorithm, level, megabytes = Path(sys.argv[1]), Compression(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    with path.open("wb") as destination:
        written = seal(rows(megabytes), destination, Recipe(algorithm, level, PASSPHRASE))
    with path.open("rb") as stored, unseal(stored, [PASSPHRASE], algorithm) as unsealing:
        for _ in unsealing:
            pass
        assert unsealing.sealed == written
    print(peak_kib() - BARE_KIB, written.plain_bytes)


if __name__ == "__main__":
    main()

"""Seals and unseals a synthetic stream in a process of its own; prints its peak memory in KiB above a bare interpreter.

Called by test_large.py: `python synthetic.py FILE ALGORITHM MEGABYTES`. The bare interpreter's peak is measured before
anything is imported.
"""

import resource
import sys

BARE_KIB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

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
    path, algorithm, megabytes = Path(sys.argv[1]), Compression(sys.argv[2]), int(sys.argv[3])
    with path.open("wb") as destination:
        written = seal(rows(megabytes), destination, Recipe(algorithm, 2, PASSPHRASE))
    with path.open("rb") as stored, unseal(stored, [PASSPHRASE], algorithm) as unsealing:
        for _ in unsealing:
            pass
        assert unsealing.sealed == written
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - BARE_KIB, written.plain_bytes)


if __name__ == "__main__":
    main()

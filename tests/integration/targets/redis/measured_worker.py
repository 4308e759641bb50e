"""Room `tests.integration.targets.redis`: a restore in a process of its own that says how much memory it took at most.

`python -m … SCRATCH URL STRATEGY RDB`: prints KiB above a bare interpreter.
"""

import re
from pathlib import Path


def peak_kib() -> int:
    """This process's high-water mark."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


BARE_KIB = peak_kib()

import sys  # noqa: E402 - memory is measured first
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402

from backup_operator.contract.order import SecretFile  # noqa: E402
from backup_operator.contract.restore import RedisTargetOrder  # noqa: E402
from backup_operator.vocabulary.choices import ArtifactKind, RedisStrategy  # noqa: E402
from backup_operator.worker.targets.base import RestoredArtifact  # noqa: E402
from backup_operator.worker.targets.redis import RedisTarget  # noqa: E402


def main(scratch: Path, url: str, strategy: str, rdb: Path) -> None:
    """One restore."""

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        with rdb.open("rb") as file:
            yield iter(lambda: file.read(65536), b"")

    backup = RestoredArtifact(ArtifactKind.REDIS_RDB, "redis_20260102_030405.rdb", rdb.stat().st_size, opened)
    order = RedisTargetOrder(url=SecretFile(path=url, described="the URL"), strategy=RedisStrategy(strategy))
    into = RedisTarget(order, scratch=scratch, confirm="127.0.0.1/all", memory_limit_bytes=None)
    assert into.survey([backup]).obstacles == ()
    into.apply([backup], lambda _: None)
    print(peak_kib() - BARE_KIB)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))

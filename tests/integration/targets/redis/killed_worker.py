"""Room `tests.integration.targets.redis`: a restore in a process of its own, run by `test_kills` to be killed.

`python -m … SCRATCH URL STRATEGY RDB KEYS`: surveys, then applies; says each step on stdout when it begins, and goes on
when it gets a line on stdin.
"""

import json
import sys
from pathlib import Path

from backup_operator.contract.order import SecretFile
from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.worker.targets.redis import RedisTarget
from tests.integration.targets.redis.restoring import artifact


def wait_at(step: str) -> None:
    """Say the step and wait for leave."""
    print(step, flush=True)
    sys.stdin.readline()


def main(scratch: Path, url: str, strategy: str, rdb: Path, keys: str) -> None:
    """One restore."""
    backup = artifact(rdb.read_bytes(), {int(number): count for number, count in json.loads(keys).items()})
    secret = SecretFile(path=url, described="the URL")
    order = RedisTargetOrder(url=secret, strategy=RedisStrategy(strategy))
    into = RedisTarget(order, scratch=scratch, confirm="127.0.0.1/all", memory_limit_bytes=None)
    into.survey([backup])
    wait_at("surveyed")
    into.apply([backup], wait_at)
    wait_at("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])

"""Values larger than what the worker may keep in memory."""

import subprocess
import sys

import pytest

from backup_operator.vocabulary.choices import RedisStrategy
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.restoring import backup_of
from tests.support.redis_server import RedisServer

TEXT_BYTES = 100_000_000
FIELDS = 1_000_000
LIMIT_KIB = 64 * 1024
_FILL_HASH = "for i = ARGV[1], ARGV[2] do redis.call('HSET', 'hash', 'field ' .. i, i) end"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The RDB of a server with a string of 100 MB and a hash of 1,000,000 fields."""
    directory = tmp_path_factory.mktemp("large")
    with RedisServer(settings={"rdbcompression": "no"}) as server, server.client() as client:
        client.setrange("text", TEXT_BYTES - 3, "end")
        for first in range(1, FIELDS, 10_000):
            client.eval(_FILL_HASH, 0, first, first + 9_999)
        with backup_of(directory, server.url()).open() as chunks:
            (directory / "rdb").write_bytes(b"".join(chunks))
    return directory / "rdb"


@pytest.mark.parametrize("strategy", list(RedisStrategy))
def test_large_values_come_back_within_64_mib_above_the_interpreter(tmp_path, large, strategy):
    (tmp_path / "scratch").mkdir()
    with RedisServer() as server, server.client() as client:
        url = secret(tmp_path, "TARGET_URL", server.url()).path
        argv = ["tests.integration.targets.redis.measured_worker", str(tmp_path / "scratch"), url, str(strategy)]
        finished = subprocess.run(
            [sys.executable, "-m", *argv, str(large)], stdout=subprocess.PIPE, text=True, check=True
        )
        assert client.strlen("text") == TEXT_BYTES
        assert client.getrange("text", TEXT_BYTES - 4, -1) == b"\0end"
        assert client.hlen("hash") == FIELDS
        assert client.hmget("hash", "field 1", f"field {FIELDS}") == [b"1", str(FIELDS).encode()]

    assert int(finished.stdout) < LIMIT_KIB

"""A server with many small keys, for the tests of restores that fail."""

import pytest

from tests.integration.targets.redis.restoring import KEYS
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def plain():
    with RedisServer() as server, server.client() as client:
        client.mset({f"key:{number}": "x" * 100 for number in range(KEYS)})
        yield server

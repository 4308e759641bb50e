"""A merge beside an application that writes: what it made is never overwritten by Keep."""

import threading

from backup_operator.vocabulary.choices import RedisStrategy
from tests.integration.targets.redis.restoring import backup_of, restore
from tests.support.redis_server import RedisServer

KEYS = 20_000


def test_keep_never_touches_a_key_that_an_application_made_meanwhile(tmp_path):
    with RedisServer() as source, source.client() as client:
        client.mset({f"key:{number}": "from the backup" for number in range(KEYS)})
        backup = backup_of(tmp_path, source.url())
    made: list[int] = []
    stop = threading.Event()

    def write() -> None:
        with server.client() as client:
            for number in range(KEYS):
                if stop.is_set():
                    return
                if client.set(f"key:{number}", "from the application", nx=True):
                    made.append(number)

    with RedisServer() as server:
        writer = threading.Thread(target=write)
        writer.start()
        restore(tmp_path, server.url(), backup, strategy=RedisStrategy.MERGE, confirm="127.0.0.1/all")
        stop.set()
        writer.join()
        with server.client() as client:
            found = client.mget(f"key:{number}" for number in range(KEYS))

    expected = [b"from the backup"] * KEYS
    for number in made:
        expected[number] = b"from the application"
    assert found == expected
    assert made

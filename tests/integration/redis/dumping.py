"""Room `tests.integration.redis`: dumps a server with the source under test, and reads dumps back."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from backup_operator.contract.order import RedisOrder, RedisTls, SecretFile
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.sources.base import Contents, SourceFacts
from backup_operator.worker.sources.redis import RedisSource
from tests.support.redis_server import RedisServer

DESCRIBED = "key REDIS_URL of Secret prod/app"


def secret(directory: Path, name: str, text: str) -> SecretFile:
    """A mounted secret."""
    path = directory / name
    path.write_text(text)
    return SecretFile(path=str(path), described=f"key {name} of Secret prod/app", command="kubectl create secret …")


def source(directory: Path, url: str, tls: RedisTls | None = None, *, check: str = "redis-check-rdb") -> RedisSource:
    """A source for the URL, as the worker makes it from an order."""
    order = RedisOrder(url=secret(directory, "REDIS_URL", url), tls=tls or RedisTls())
    return RedisSource(order, scratch=directory, redis_check_rdb=check)


def dump(directory: Path, url: str, tls: RedisTls | None = None) -> tuple[SourceFacts, bytes]:
    """What preflight found, and the whole RDB."""
    made = source(directory, url, tls)
    facts = made.preflight()
    with made.dumps()[0].stream() as chunks:
        return facts, b"".join(chunks)


def fault(directory: Path, url: str) -> WorkerError:
    """The error with which a dump ends."""
    with pytest.raises(WorkerError) as caught:
        dump(directory, url)
    return caught.value


def inspect(rdb: bytes, *, chunk_bytes: int = 65536, check: str = "redis-check-rdb") -> Contents:
    """What the inspector says of an RDB that arrives in chunks."""
    from backup_operator.worker.sources.rdb_inspector import rdb_inspector

    with rdb_inspector(check) as inspector:
        for start in range(0, len(rdb), chunk_bytes):
            inspector.update(rdb[start : start + chunk_bytes])
        return inspector.finish()


def everything(client: redis.Redis, databases: Sequence[int]) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    """Every key of those databases with its DUMP and the time at which it expires."""
    found = {}
    for database in databases:
        client.execute_command("SELECT", database)
        for key in client.scan_iter(count=1000):
            found[database, key] = (_value(client, key), int(client.execute_command("PEXPIRETIME", key)))
    client.execute_command("SELECT", 0)
    return found


def _value(client: redis.Redis, key: bytes) -> bytes:
    """The key's DUMP; a set's or hash's elements stand in it in an order that differs from server to server."""
    kind = client.type(key)
    if kind == b"set":
        return repr(sorted(client.smembers(key))).encode()
    if kind == b"hash":
        return repr(sorted(client.hgetall(key).items())).encode()
    dumped = client.dump(key)
    assert isinstance(dumped, bytes)
    return dumped


def loaded(directory: Path, rdb: bytes, version: str = "host") -> RedisServer:
    """A fresh server that loads the RDB when it is entered."""
    path = directory / "loaded.rdb"
    path.write_bytes(rdb)
    return RedisServer(version=version, rdb=path)

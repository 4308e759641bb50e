"""Room `tests.integration.targets.redis`: makes backups of real servers and restores them with the target tested."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from backup_operator.contract.order import RedisTls
from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis import RedisSource
from backup_operator.worker.targets.base import Applied, RestoredArtifact
from backup_operator.worker.targets.redis import RedisTarget
from tests.integration.redis.dumping import inspect, secret, source
from tests.support.redis_server import RedisServer

KEYS = 20_000
"""Of the fixture `plain`."""


def backup_of(
    directory: Path, url: str, tls: RedisTls | None = None, *, check: str = "redis-check-rdb"
) -> RestoredArtifact:
    """The server's RDB with what an entry says of it."""
    made: RedisSource = source(directory, url, tls, check=check)
    facts = made.preflight()
    with made.dumps()[0].stream() as chunks:
        rdb = b"".join(chunks)
    counted = inspect(rdb, check=check).keys_per_database
    assert counted is not None
    return artifact(rdb, {number: count.keys for number, count in counted.items()}, facts.server)


def artifact(
    plaintext: bytes,
    keys: Mapping[int, int] | None = None,
    server: Mapping[str, object] | None = None,
    *,
    name: str = "redis_20260102_030405.rdb.gz.gpg",
    kind: ArtifactKind = ArtifactKind.REDIS_RDB,
    breaks_with: Exception | None = None,
) -> RestoredArtifact:
    """An artifact of this plaintext; with `breaks_with`, reading it ends with that error."""

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield chunks()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(plaintext), 65536):
            yield plaintext[start : start + 65536]
        if breaks_with is not None:
            raise breaks_with

    return RestoredArtifact(
        kind=kind,
        name=name,
        plain_bytes=len(plaintext),
        open=lambda: _as_context(opened()),
        keys_per_database=keys,
        server=server or {},
    )


def _as_context(opened: AbstractContextManager[Iterator[bytes]]) -> AbstractContextManager[Iterator[bytes]]:
    return opened


def target(
    directory: Path,
    url: str,
    *,
    confirm: str = "",
    memory_limit_bytes: int | None = None,
    redis_server: str = "redis-server",
    has_safety_backup: bool = True,
    **order: Any,
) -> RedisTarget:
    """A target for the URL, as the worker makes it from an order; `order` are further fields of it."""
    scratch = directory / "scratch"
    scratch.mkdir(exist_ok=True)
    return RedisTarget(
        RedisTargetOrder(url=secret(directory, "TARGET_URL", url), **order),
        scratch=scratch,
        confirm=confirm,
        memory_limit_bytes=memory_limit_bytes,
        redis_server=redis_server,
        has_safety_backup=has_safety_backup,
    )


def restore(directory: Path, url: str, backup: RestoredArtifact, *, confirm: str = "", **order: Any) -> Applied:
    """Survey without an obstacle, then apply."""
    into = target(directory, url, confirm=confirm, **order)
    try:
        assert into.survey([backup]).obstacles == ()
        return into.apply([backup], lambda _: None)
    finally:
        into.close()


def refused(
    directory: Path,
    url: str,
    backup: RestoredArtifact,
    step: Callable[[str], None] = lambda _: None,
    **asked: Any,
) -> TargetError:
    """The error with which `apply` ends; nothing is left behind then. `asked` is as for `target`."""
    into = target(directory, url, **asked)
    with pytest.raises(TargetError) as caught:
        into.apply([backup], step)
    into.close()
    assert left_behind(directory) == []
    assert not caught.value.retryable
    return caught.value


def left_behind(directory: Path) -> list[str]:
    """What is left in the scratch directory, and the throw-away servers that still run in it."""
    scratch = directory / "scratch"
    running = [
        f"process {process.name}"
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _works_in(process, scratch)
    ]
    return [*(path.name for path in scratch.iterdir()), *running]


def _works_in(process: Path, scratch: Path) -> bool:
    try:
        return str((process / "cwd").readlink()).startswith(f"{scratch}/")
    except OSError:
        return False


def contents(server: RedisServer, databases: range = range(16)) -> dict[tuple[int, bytes], tuple[object, int]]:
    """Every key of those databases with its type and value, read by the commands of its type, and when it expires."""
    found = {}
    for database in databases:
        with server.client(database) as client:
            for key in client.scan_iter(count=1000):
                found[database, key] = (value(client, key), _expires_at_ms(client, key, server))
    return found


def value(client: redis.Redis, key: bytes) -> object:
    """A key's value in a form that does not depend on the server's version."""
    kind: Any = client.type(key)
    readers = {
        b"string": lambda: client.get(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: sorted(client.smembers(key)),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"hash": lambda: sorted(client.hgetall(key).items()),
        b"stream": lambda: _stream(client, key),
    }
    return kind, readers[kind]()


def _stream(client: redis.Redis, key: bytes) -> object:
    about = client.xinfo_stream(key)
    groups = {
        group["name"]: (
            group["last-delivered-id"],
            [
                (entry["message_id"], entry["consumer"], entry["times_delivered"])
                for entry in client.xpending_range(key, group["name"], "-", "+", 1000)
            ],
            sorted(consumer["name"] for consumer in client.xinfo_consumers(key, group["name"])),
        )
        for group in client.xinfo_groups(key)
    }
    return client.xrange(key), about["last-generated-id"], about["length"], groups


def _expires_at_ms(client: redis.Redis, key: bytes, server: RedisServer) -> int:
    """As PEXPIRETIME, also of servers before 7.0, in whose words 0 stands for a time that is near enough."""
    if server.version != "redis-6.2":
        return int(client.execute_command("PEXPIRETIME", key))
    left = client.pttl(key)
    return left if left < 0 else 0

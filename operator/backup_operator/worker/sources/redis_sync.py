"""Room `worker.sources`: reads a whole RDB from a Redis server as a replica would, over SYNC; called by redis.

`REPLCONF capa eof` lets the server send its snapshot without knowing its length: `$EOF:` and a mark of 40 bytes that
ends it; otherwise `$` and the length. While it forks it sends newlines. `REPLCONF rdb-only 1` keeps it from collecting
writes for us.
Source: https://github.com/redis/redis/blob/7.0/src/replication.c and redis-cli.c, function sendSync
"""

import re
from collections.abc import Iterator

from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis, RedisWire

SILENCE_SECONDS = 120.0
"""How long the server may say nothing; while it forks it sends a newline each second."""
_MARK_BYTES = 40
_EOF_FORM = b"$EOF:"
_LENGTH_FORM = re.compile(rb"\$(\d{1,19})")


def request_snapshot(wire: RedisWire) -> None:
    """Ask for the snapshot; older servers do not know every option. Raises: ErrorReply for a missing permission."""
    for option in (("capa", "eof"), ("rdb-only", "1")):
        try:
            wire.command("REPLCONF", *option)
        except ErrorReply as exc:
            if exc.code == "NOPERM":
                raise
    wire.send("SYNC")


def snapshot_chunks(wire: RedisWire) -> Iterator[bytes]:
    """The RDB that the server sends now, without envelope and mark. Its normal end means that the whole RDB came.

    Raises: ErrorReply, NotRedis, OSError; a connection that ends early is one of them, never a normal end.
    """
    wire.wait_at_most(SILENCE_SECONDS)
    head = _first_line(wire)
    if head.startswith(b"-"):
        raise ErrorReply(head[1:].decode(errors="replace"))
    if head.startswith(_EOF_FORM) and len(head) == len(_EOF_FORM) + _MARK_BYTES:
        yield from _until_mark(wire, head[len(_EOF_FORM) :])
    elif counted := _LENGTH_FORM.fullmatch(head):
        yield from _counted(wire, int(counted[1]))
    else:
        raise NotRedis(head)


def _first_line(wire: RedisWire) -> bytes:
    while not (line := wire.line()):
        pass
    return line


def _counted(wire: RedisWire, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        chunk = wire.some(left)
        left -= len(chunk)
        yield chunk


def _until_mark(wire: RedisWire, mark: bytes) -> Iterator[bytes]:
    """All bytes before the mark; the last 40 are held back, for they may be its beginning."""
    held = b""
    while True:
        held += wire.some()
        end = held.find(mark)
        if end >= 0:
            yield held[:end]  # what follows the mark, if anything, are writes since the snapshot
            return
        if len(held) > _MARK_BYTES:
            yield held[:-_MARK_BYTES]
            held = held[-_MARK_BYTES:]

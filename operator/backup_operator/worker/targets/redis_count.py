"""Room `worker.targets`: compares what a Redis target holds with what was to be written; called by redis."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from backup_operator.worker.sources.redis_wire import ErrorReply
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded
from backup_operator.worker.targets.redis_throwaway import ThrowAwayServer

_CLOCK_MARGIN_MS = 1000
"""How far the clocks of pod and target may be apart when the target cannot be asked for its time."""


@dataclass(frozen=True)
class Difference:
    """What became of one database's keys."""

    missing: int
    """Neither in the target nor expired."""
    expired: int
    """Expired between the load and now."""


def compare(server: ThrowAwayServer, pipeline: Pipeline, expected: Mapping[int, int]) -> dict[int, Difference]:
    """Look for every key, by database. Raises: ErrorReply, OSError, TargetError."""
    return {database: _compare_one(server, pipeline, database, keys) for database, keys in expected.items()}


def _compare_one(server: ThrowAwayServer, pipeline: Pipeline, database: int, keys: int) -> Difference:
    pipeline.call("SELECT", database)
    found = missing = 0
    for names in server.key_batches(database):
        found += len(names)
        # a key can be named twice, and counts twice
        if pipeline.call("EXISTS", *names) != len(names) and (absent := _absent(pipeline, names)):
            found -= len(absent)
            missing += server.still_there(absent, _now_ms(pipeline))
    return Difference(missing=missing, expired=max(0, keys - found - missing))


def _absent(pipeline: Pipeline, names: list[bytes]) -> list[bytes]:
    there = pipeline.ask([b"".join(encoded("EXISTS", name) for name in names)], len(names))
    if errors := [reply for reply in there if isinstance(reply, ErrorReply)]:
        raise errors[0]
    return [name for name, exists in zip(names, there, strict=True) if not exists]


def _now_ms(pipeline: Pipeline) -> int:
    """The later of our time and the target's."""
    ours = int(time.time() * 1000) + _CLOCK_MARGIN_MS
    try:
        theirs = pipeline.call("TIME")
    except ErrorReply:
        return ours
    if not isinstance(theirs, list) or not isinstance(theirs[0], bytes):
        return ours
    return max(ours, (int(theirs[0]) + 1) * 1000)

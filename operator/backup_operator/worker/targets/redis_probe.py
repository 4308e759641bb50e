"""Room `worker.targets`: asks a Redis server, without writing, which commands it would take; called by redis.

Every command is queued in a transaction that is then discarded: at that moment already the server looks at the user's
permissions, at its role, its memory and its disk. Source: https://redis.io/docs/latest/develop/using-commands/transactions/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.worker.sources.redis_wire import ErrorReply
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded

PROBED_KEY: Final = "backup-operator:probe"
_GLOB_LETTERS: Final = "*?[]\\"

_LOOK: Final = "+ping +info +select +exists +time +multi +exec +discard +client|setname +client|id +client|list"
_WRITE: Final = "+set +rpush +sadd +zadd +hmset +pexpireat +xadd +xsetid +xgroup +xclaim"
RESTORE_COMMANDS: Final = {
    RedisStrategy.FAIL_IF_NOT_EMPTY: f"{_LOOK} {_WRITE}",
    RedisStrategy.MERGE: f"{_LOOK} {_WRITE} +watch +unwatch +unlink",
    RedisStrategy.REPLACE: f"{_LOOK} {_WRITE} +flushall +flushdb +scan +unlink",
}
"""What ACL SETUSER must grant the URL's user, beside its keys (`~*`), for each strategy.

A safety backup needs `worker.sources.redis_faults.LEAST_COMMANDS` too. The stream commands (`+x…`) are needed for
backups with streams only.
"""
RARE_COMMANDS: Final = {
    "7.0": "+function|load +function|list +function|flush",
    "7.4": "+hpexpireat",
    "8.0": "+vadd",
}
"""Further ones for backups that hold function libraries, hash fields that expire, and vector sets, by the version of
Redis that brought them: an older server refuses to grant what it does not know."""

RARE_NAMES: Final = ("FUNCTION", "HPEXPIREAT", "VADD", "XADD", "XSETID", "XGROUP", "XCLAIM")
"""Commands that few backups need."""

_DATA_COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("SET", "{key}", "v"),
    ("RPUSH", "{key}", "v"),
    ("SADD", "{key}", "v"),
    ("ZADD", "{key}", "1", "v"),
    ("HMSET", "{key}", "f", "v"),
    ("PEXPIREAT", "{key}", "9999999999999"),
    ("XADD", "{key}", "1-1", "f", "v"),
    ("XSETID", "{key}", "1-1"),
    ("XGROUP", "CREATE", "{key}", "g", "0"),
    ("XCLAIM", "{key}", "g", "c", "0", "1-1"),
)
_NEWER_COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("HPEXPIREAT", "{key}", "9999999999999", "FIELDS", "1", "f"),
    ("VADD", "{key}", "VALUES", "1", "1", "e"),
)
_FUNCTIONS: Final = ("FUNCTION", "LOAD", "#!lua name=probe")


@dataclass(frozen=True)
class Probed:
    """What the server would not take."""

    forbidden: tuple[str, ...] = ()
    """Commands that the user may not use, spelled as ACL SETUSER takes them (`+rpush`)."""
    forbids_keys: bool = False
    """The user may not write the key that was tried."""
    unknown: tuple[str, ...] = ()
    """Commands that the server does not have: too old, or renamed."""
    refusals: tuple[str, ...] = ()
    """What the server says against writing as such: READONLY, OOM, MISCONF, NOREPLICAS."""
    transactions: bool = True
    """Whether MULTI is taken at all; without it nothing else is known."""


def probe(pipeline: Pipeline, strategy: RedisStrategy, pattern: str, *, functions: bool) -> Probed:
    """Queue and discard one of each command that the restore needs."""
    # one by one, and looked at: behind a MULTI that was refused, the commands would run
    if pipeline.ask([encoded("MULTI")], 1) != [b"OK"]:
        return Probed(transactions=False)
    first = pipeline.ask([encoded("PING")], 1)[0]
    if first != b"QUEUED":
        pipeline.ask([encoded("DISCARD")], 1)
        return _not_queued(str(first))
    commands = _commands(strategy, _key_for(pattern), functions=functions)
    replies = pipeline.ask([encoded(*words) for words in commands], len(commands))
    pipeline.ask([encoded("DISCARD")], 1)
    return _judged(
        [(words, str(reply)) for words, reply in zip(commands, replies, strict=True) if isinstance(reply, ErrorReply)]
    )


def _not_queued(said: str) -> Probed:
    """Of a server that refuses all commands of a transaction: a full one does (OOM)."""
    return Probed(refusals=(said,)) if _is_about_writing(said) else Probed(transactions=False)


def _is_about_writing(said: str) -> bool:
    return said.split(" ", maxsplit=1)[0] in ("READONLY", "OOM", "MISCONF", "NOREPLICAS")


def _commands(strategy: RedisStrategy, key: str, *, functions: bool) -> Sequence[tuple[str, ...]]:
    data = [tuple(word.format(key=key) for word in words) for words in (*_DATA_COMMANDS, *_NEWER_COMMANDS)]
    clearing: list[tuple[str, ...]] = []
    if strategy is RedisStrategy.MERGE:
        clearing = [("UNLINK", key), ("WATCH", key)]
    if strategy is RedisStrategy.REPLACE:
        clearing = [("SCAN", "0"), ("UNLINK", key), ("FLUSHDB", "ASYNC"), ("FLUSHALL", "ASYNC")]
    return [("SELECT", "0"), ("EXISTS", key), *data, *([_FUNCTIONS] if functions else []), *clearing]


def _judged(refused: Sequence[tuple[tuple[str, ...], str]]) -> Probed:
    permissions = [(words, said) for words, said in refused if said.startswith("NOPERM")]
    about_keys = [said for _, said in permissions if " to access " in said]
    others = [(words, said) for words, said in refused if not said.startswith("NOPERM")]
    unknown = [words[0] for words, said in others if "unknown command" in said.lower()]
    stops = sorted({said for _, said in others if _is_about_writing(said)})
    return Probed(
        forbidden=tuple(f"+{words[0].lower()}" for words, said in permissions if said not in about_keys),
        forbids_keys=bool(about_keys),
        unknown=tuple(unknown),
        refusals=tuple(stops),
    )


def _key_for(pattern: str) -> str:
    """A key that the glob matches, or nearly: what stands before its first special letter, and a name of ours."""
    cut = next((index for index, letter in enumerate(pattern) if letter in _GLOB_LETTERS), len(pattern))
    return pattern[:cut] + PROBED_KEY if pattern else PROBED_KEY

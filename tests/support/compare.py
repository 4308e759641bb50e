"""Whether two PostgreSQL databases, or two Redis servers, hold the same. Used by the e2e tests and the demo.

A snapshot is a plain value, so that a difference is shown by pytest as a difference of two dicts.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from tests.support.shell import Shell

# Differs between two dumps of one database: the key of \restrict, and the versions of server and client.
_VOLATILE = re.compile(r"^(\\(un)?restrict .*|-- Dumped (from|by) .*)$", re.MULTILINE)

# One JSON line per relation: name, rows, sums of the halves of every row's MD5. Sums do not depend on the order.
_CONTENTS = r"""
SET timezone = 'UTC'; SET extra_float_digits = 1; SET bytea_output = hex;
SELECT format(
  $f$SELECT json_build_array('%s', %L, count(*),
       coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint), 0)::text,
       coalesce(sum(('x' || right(md5(t::text), 16))::bit(64)::bigint), 0)::text)
     FROM ONLY %I.%I AS t$f$,
  CASE c.relkind WHEN 'm' THEN 'materialised view' ELSE 'table' END,
  format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
ORDER BY n.nspname, c.relname \gexec
SELECT format($f$SELECT json_build_array('sequence', %L, last_value, is_called) FROM %I.%I$f$,
  format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' ORDER BY n.nspname, c.relname \gexec
SELECT json_build_array('large object', m.oid::text, md5(lo_get(m.oid)), pg_get_userbyid(m.lomowner), m.lomacl::text,
  obj_description(m.oid, 'pg_largeobject')) FROM pg_largeobject_metadata m ORDER BY m.oid;
"""


@dataclass(frozen=True)
class PostgresDatabase:
    """One database as psql and pg_dump reach it: for example `("--host=/run/pg", "--username=postgres")` and a name."""

    shell: Shell
    connection: tuple[str, ...]
    name: str

    def query(self, sql: str) -> list[str]:
        """The lines that psql prints for the statements, unaligned."""
        argv = ("psql", "-XAtq", "--set=ON_ERROR_STOP=1", *self.connection, "--file=-", f"--dbname={self.name}")
        return self.shell.run(*argv, stdin=sql.encode()).decode().splitlines()

    def schema(self) -> str:
        """The schema as pg_dump writes it, without the lines that differ from dump to dump."""
        dumped = self.shell.run("pg_dump", "--schema-only", *self.connection, f"--dbname={self.name}").decode()
        return _VOLATILE.sub("", dumped)

    def contents(self) -> dict[str, list[Any]]:
        """Rows and checksum of every table and materialised view, value of every sequence, every large object."""
        return dict(_keyed(json.loads(line) for line in self.query(_CONTENTS)))

    def rows_per_table(self) -> dict[str, int]:
        """Rows of every table, by name quoted as in SQL: what an entry of a backup must say."""
        return {
            key.removeprefix("table "): found[0] for key, found in self.contents().items() if key.startswith("table ")
        }


def _keyed(lines: Iterable[list[Any]]) -> Iterable[tuple[str, list[Any]]]:
    return ((f"{kind} {name}", found) for kind, name, *found in lines)


def assert_databases_are_equal(source: PostgresDatabase, restored: PostgresDatabase) -> None:
    """Raises: AssertionError naming the first difference in contents, then in the schema."""
    assert restored.contents() == source.contents()
    assert restored.schema().splitlines() == source.schema().splitlines()


_BATCH = 1000
_SIGHTINGS = {"b'seen-time'", "b'active-time'"}
RedisKey = tuple[str, Any, int, Any]
"""Type, value, time of expiry in ms since 1970 (-1: none), and times of expiry of a hash's fields."""


def redis_contents(client: redis.Redis) -> dict[str, Any]:
    """Every key of every database by `N:key`, and the function libraries; the whole content is held in memory."""
    found: dict[str, Any] = {"functions": _functions(client)}
    for number in _databases(client):
        keys = _keys(client, number)
        for start in range(0, len(keys), _BATCH):
            found |= _read_keys(_Database(client, number), keys[start : start + _BATCH])
    return found


def assert_redis_servers_are_equal(source: redis.Redis, restored: redis.Redis, *, replayed: bool = False) -> None:
    """`replayed`: by commands, none of which sets when a stream's consumer was last seen.

    Raises: AssertionError naming the keys that differ.
    """
    wanted, found = redis_contents(source), redis_contents(restored)
    if replayed:
        wanted, found = without_sightings(wanted), without_sightings(found)
    differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    assert differing == [], {key: (wanted.get(key), found.get(key)) for key in differing[:3]}


def without_sightings(contents: Any) -> Any:
    """The same contents, without the times at which consumers of streams were last seen."""
    if isinstance(contents, dict):
        return {key: without_sightings(found) for key, found in contents.items() if key not in _SIGHTINGS}
    if isinstance(contents, list | tuple):
        return type(contents)(without_sightings(found) for found in contents)
    return contents


def key_counts(client: redis.Redis) -> dict[int, tuple[int, int]]:
    """Keys and expiring keys by database, from INFO keyspace."""
    info: Mapping[str, Any] = client.info("keyspace")
    return {int(name.removeprefix("db")): (found["keys"], found["expires"]) for name, found in info.items()}


def _databases(client: redis.Redis) -> list[int]:
    return sorted(key_counts(client))


def _functions(client: redis.Redis) -> list[Any]:
    return sorted((_plain(library) for library in client.execute_command("FUNCTION", "LIST", "WITHCODE")), key=repr)


@dataclass(frozen=True)
class _Database:
    """One numbered database; commands go in a batch, so that a distant server costs one journey, not thousands."""

    client: redis.Redis
    number: int

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers in order. Raises: redis.ResponseError."""
        pipe = self.client.pipeline(transaction=False)
        # a batch takes any connection of the pool, so it names its database itself and leaves 0 behind
        for command in (("SELECT", self.number), *commands, ("SELECT", 0)):
            pipe.execute_command(*command)
        return list(pipe.execute())[1:-1]


def _keys(client: redis.Redis, number: int) -> list[bytes]:
    return sorted(_Database(client, number).ask([("KEYS", "*")])[0])


def _read_keys(database: _Database, keys: Sequence[bytes]) -> dict[str, RedisKey]:
    kinds = [bytes(kind).decode() for kind in database.ask([("TYPE", key) for key in keys])]
    expiries = database.ask([("PEXPIRETIME", key) for key in keys])
    values = database.ask([_READERS[kind](key) for kind, key in zip(kinds, keys, strict=True)])
    fields = _field_expiries(database, [key for kind, key in zip(kinds, keys, strict=True) if kind == "hash"])
    return {
        f"{database.number}:{key!r}": (kind, _comparable(kind, value), int(expiry), fields.get(key))
        for key, kind, value, expiry in zip(keys, kinds, values, expiries, strict=True)
    }


def _comparable(kind: str, value: Any) -> Any:
    """A value in an order of its own: sets and hashes have none."""
    match kind:
        case "set":
            return sorted(value)
        case "hash":
            return value if isinstance(value, dict) else dict(zip(value[::2], value[1::2], strict=True))
        case "stream":
            return _without_layout(_plain(value))
    return _plain(value)


def _field_expiries(database: _Database, keys: Sequence[bytes]) -> dict[bytes, Any]:
    """Times of expiry of the fields of these hashes: from Redis 7.4 on fields can expire by themselves."""
    if not keys or not _knows(database.client, "HPEXPIRETIME"):
        return {}
    fields = [sorted(names) for names in database.ask([("HKEYS", key) for key in keys])]
    questions = [("HPEXPIRETIME", key, "FIELDS", len(names), *names) for key, names in zip(keys, fields, strict=True)]
    return {
        key: {name: at for name, at in zip(names, times, strict=True) if at != -1}
        for key, names, times in zip(keys, fields, database.ask(questions), strict=True)
    }


def _knows(client: redis.Redis, command: str) -> bool:
    return bool(_Database(client, 0).ask([("COMMAND LIST", "FILTERBY", "PATTERN", command.lower())])[0])


def _without_layout(described: Any) -> Any:
    """How the tree is laid out in memory is no content."""
    if isinstance(described, dict):
        return {name: found for name, found in described.items() if not str(name).startswith(("b'radix", "radix"))}
    return described


def _plain(reply: Any) -> Any:
    """A reply as dicts and lists whatever the protocol's version: an even list that starts with a name is a map."""
    if isinstance(reply, dict):
        return {repr(name): _plain(found) for name, found in sorted(reply.items(), key=repr)}
    if isinstance(reply, list | tuple):
        return [_plain(found) for found in reply]
    return reply


_READERS: dict[str, Any] = {
    "string": lambda key: ("GET", key),
    "list": lambda key: ("LRANGE", key, 0, -1),
    "set": lambda key: ("SMEMBERS", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    "hash": lambda key: ("HGETALL", key),
    "stream": lambda key: ("XINFO", "STREAM", key, "FULL", "COUNT", 0),
}

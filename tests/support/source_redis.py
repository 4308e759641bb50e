"""Fills a Redis with one of everything. Used by the e2e tests, the demo and the tests of `compare`.

Content is fixed (a seeded generator), the times to live are absolute and far away, so that nothing expires in a test.
"""

import random

import redis

FAR_AWAY_MS = 4_102_444_800_000
"""2100-01-01T00:00:00Z, in milliseconds since 1970."""
_EVERY_BYTE = bytes(range(256))


def fill(client: redis.Redis, *, users: int = 5_000) -> None:
    """Write every data type, times to live, binary names and values, several databases and a function library.

    `users` is the number of small hashes, each with a session that expires. The client is left in database 0.
    """
    client.flushall()
    for number, write in enumerate((_strings, _lists_and_sets, _sorted_sets_and_hashes, _streams)):
        client.execute_command("SELECT", number)
        write(client)
    client.execute_command("SELECT", 9)
    _users(client, users)
    client.execute_command("SELECT", 15)
    client.set("alone in database 15", "yes")
    client.execute_command("SELECT", 0)
    _functions(client)


def _strings(client: redis.Redis) -> None:
    client.set("greeting", "Grüße, 世界 👋")
    client.set(b"", b"the key without a name")
    client.set(_EVERY_BYTE, _EVERY_BYTE * 4)
    client.set("spaces and\r\nnew lines", "*3\r\n$3\r\nSET\r\n")
    client.set("empty", "")
    for name, number in (("small", 7), ("byte", -128), ("word", 32_767), ("long", 2**31 - 1), ("longest", -(2**63))):
        client.set(f"integer:{name}", number)
    client.set("compresses well", b"abc" * 500_000)
    client.set("compresses badly", random.Random(1).randbytes(1_000_000))
    client.set("expires", "in 2100", pxat=FAR_AWAY_MS)
    client.setbit("bitmap", 1_000_003, 1)
    client.pfadd("visitors", *(f"visitor {number}" for number in range(5_000)))
    client.pfadd("few visitors", "one", "two")


def _lists_and_sets(client: redis.Redis) -> None:
    client.rpush("list:short", "a", b"\x00\xff", "", 12, -(2**40))
    client.rpush("list:long", *(f"entry {number}" * (number % 9) for number in range(10_000)))
    client.rpush("list:one huge element", b"x" * 200_000, "small")
    client.sadd("set:integers", *range(-200, 200, 3))
    client.sadd("set:large integers", *(2**40 + number for number in range(2_000)))
    client.sadd("set:mixed", *range(50), *(f"member {number}" for number in range(3_000)), _EVERY_BYTE)
    client.sadd("set:small", "one", "two", "three")
    client.pexpireat("set:small", FAR_AWAY_MS + 1)


def _sorted_sets_and_hashes(client: redis.Redis) -> None:
    client.zadd("zset:small", {"low": float("-inf"), "high": float("inf"), "pi": 3.141592653589793, "tiny": 5e-324})
    client.zadd("zset:large", {f"member {number}": number / 7 for number in range(5_000)})
    client.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    client.hset("hash:small", mapping={"field": "value", b"\x00": _EVERY_BYTE, "number": "12"})
    client.hset("hash:large", mapping={f"field {number}": "v" * (number % 300) for number in range(2_000)})
    client.pexpireat("hash:small", FAR_AWAY_MS + 2)
    _fields_that_expire(client)


def _fields_that_expire(client: redis.Redis) -> None:
    """From Redis 7.4 on; an older server has none, which is no difference between two of the same version."""
    client.hset("hash:fields that expire", mapping={"stays": "1", "goes": "2"})
    try:
        client.execute_command("HPEXPIREAT", "hash:fields that expire", FAR_AWAY_MS + 3, "FIELDS", 1, "goes")
    except redis.ResponseError as refused:
        if "unknown command" not in str(refused):
            raise


def _streams(client: redis.Redis) -> None:
    for number in range(1, 2_001):
        client.xadd("stream", {"n": number, "text": "text " * (number % 5), b"\x00": b"\xff"}, id=f"{number}-1")
    client.xdel("stream", "3-1", "1000-1")
    client.xgroup_create("stream", "readers", id="0")
    client.xgroup_create("stream", "idle", id="$")
    client.xreadgroup("readers", "anna", {"stream": ">"}, count=10)
    client.xreadgroup("readers", "bert", {"stream": ">"}, count=5)
    client.xack("stream", "readers", "1-1", "2-1")
    client.xadd("stream:emptied", {"a": 1}, id="5-5")
    client.xdel("stream:emptied", "5-5")
    client.pexpireat("stream:emptied", FAR_AWAY_MS + 4)


def _users(client: redis.Redis, users: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(users):
        pipe.hset(f"user:{number}", mapping={"name": f"User №{number}", "visits": number % 17})
        pipe.set(f"session:{number}", f"{number:x}" * 8, pxat=FAR_AWAY_MS + number)
    pipe.execute()


def _functions(client: redis.Redis) -> None:
    client.execute_command("FUNCTION", "FLUSH")
    client.function_load("#!lua name=tested\nredis.register_function('echo', function(keys, args) return args[1] end)")

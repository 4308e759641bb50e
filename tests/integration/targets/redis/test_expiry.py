"""Keys that expired since the backup, or while it is restored."""

from tests.integration.targets.redis.restoring import backup_of, restore, target
from tests.support.redis_server import RedisServer, wait_until


def test_keys_that_expired_since_the_backup_are_counted_apart(tmp_path):
    with RedisServer() as source, source.client() as client:
        # a server that does not look for expired keys has them in its snapshots, however late those are taken
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.mset({"stays": "1", "stays too": "2"})
        client.set("goes", "3", px=1)
        backup = backup_of(tmp_path, source.url())
        wait_until(lambda: client.get("goes") is None, "the expiry of a key")

    with RedisServer() as server:
        applied = restore(tmp_path, server.url(), backup)

    assert backup.keys_per_database == {0: 3}
    assert applied.counts == {"db0": 2}
    assert "Expired before the backup was loaded, and not restored: 1 key." in applied.notes


def test_keys_that_expire_during_the_restore_are_counted_apart(tmp_path):
    def wait(step: str) -> None:
        if step == "write":
            wait_until(lambda: not client.exists("goes"), "the expiry of a key", 60)

    with RedisServer() as source, RedisServer() as server, source.client() as client:
        client.set("stays", "1")
        client.set("goes", "3", px=20_000)
        backup = backup_of(tmp_path, source.url())
        into = target(tmp_path, server.url())
        applied = into.apply([backup], wait)

    assert applied.counts == {"db0": 1}
    assert "Expired between the load and the count: 1 key." in applied.notes

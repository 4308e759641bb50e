"""Restores that cannot begin leave the target untouched; those that stop in the middle say how far they came."""

import re
import subprocess
import sys

import pytest

from backup_operator.contract.order import RedisTls
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, Interrupted, TargetError
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED
from tests.integration.redis.dumping import secret
from tests.integration.targets.redis.relay import CuttingRelay
from tests.integration.targets.redis.restoring import artifact, backup_of, left_behind, restore, target
from tests.support.certificates import make_certificates
from tests.support.redis_server import RedisServer, wait_until

KEYS = 20_000
EVERYTHING_BUT = "app on >secret ~* &* +@all"


@pytest.fixture(scope="module")
def plain():
    with RedisServer() as server, server.client() as client:
        client.mset({f"key:{number}": "x" * 100 for number in range(KEYS)})
        yield server


def refused(directory, url, backup, step=lambda _: None, *, confirm="", memory_limit_bytes=None, **order):
    into = target(directory, url, confirm=confirm, memory_limit_bytes=memory_limit_bytes, **order)
    with pytest.raises(TargetError) as caught:
        into.apply([backup], step)
    into.close()
    assert left_behind(directory) == []
    assert not caught.value.retryable
    return caught.value


def servers_in(directory):
    return [name for name in left_behind(directory) if name.startswith("process")]


def test_a_stream_that_breaks_leaves_the_target_untouched(tmp_path, plain):
    whole = backup_of(tmp_path, plain.url())
    with whole.open() as chunks:
        half = b"".join(chunks)[:100_000]
    broken = artifact(half, {0: KEYS}, breaks_with=DumpIncomplete("the file ends before its end mark"))

    with RedisServer() as server:
        into = target(tmp_path, server.url(), strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all")
        with server.client() as client:
            client.set("mine", "1")
        with pytest.raises(DumpIncomplete):
            into.apply([broken], lambda _: None)
        with server.client() as client:
            assert client.keys() == [b"mine"]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda rdb: rdb[:100_000], Reason.RESTORE_FAILED, id="an RDB that is cut"),
        pytest.param(lambda rdb: b"REDIS9999" + rdb[9:], Reason.MODULE_DATA_UNSUPPORTED, id="an RDB of the future"),
    ],
)
def test_what_the_throw_away_server_cannot_load_leaves_the_target_untouched(tmp_path, plain, change, reason):
    with backup_of(tmp_path, plain.url()).open() as chunks:
        bad = artifact(change(b"".join(chunks)), {0: KEYS})

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), bad)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is reason
    assert UNTOUCHED in found.detail


def test_fewer_keys_than_the_entry_says_leave_the_target_untouched(tmp_path, plain):
    with backup_of(tmp_path, plain.url()).open() as chunks:
        short = artifact(b"".join(chunks), {0: KEYS + 1})

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), short)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is Reason.VERIFICATION_FAILED
    assert found.message == "the backup's entry says 20,001 keys in database 0, and it loads 20,000 keys in database 0"


def test_a_redis_server_that_is_not_there_is_named(tmp_path, plain):
    from backup_operator.contract.restore import RedisTargetOrder
    from backup_operator.worker.targets.redis import RedisTarget

    backup = backup_of(tmp_path, plain.url())
    order = RedisTargetOrder(url=secret(tmp_path, "TARGET_URL", plain.url("/1")))
    into = RedisTarget(
        order, scratch=tmp_path, confirm="", redis_server="/nowhere/redis-server", memory_limit_bytes=None
    )

    with pytest.raises(TargetError, match="/nowhere/redis-server cannot be started"):
        into.apply([backup], lambda _: None)


def test_a_connection_that_breaks_in_the_middle_says_how_many_keys_are_there(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server, CuttingRelay(server.port, 1_000_000) as relay:
        found = refused(tmp_path, relay.url, backup)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert found.reason is Reason.RESTORE_FAILED
    said = re.search(r": ([\d,]+) of 20,000 keys were written; it was empty before$", found.message)
    assert said is not None
    assert int(said[1].replace(",", "")) <= there
    assert found.hint.startswith("It was empty before; this empties it again: redis-cli -h 127.0.0.1 -p ")


def test_a_target_that_dies_in_the_middle_is_said_to_be_out_of_reach(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server, CuttingRelay(server.port, 1_000_000, at_the_cut=server.stop) as relay:
        found = refused(tmp_path, relay.url, backup)

    assert found.reason is Reason.RESTORE_FAILED
    assert re.search(r"at most \d+ % of 20,000 keys were written \(it was empty before\)", found.message)


def test_a_target_that_gets_full_stops_the_restore_with_counts(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def fill_up(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), backup, fill_up)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert found.message.endswith(f": {there:,} of 20,000 keys were written; it was empty before")
    assert "OOM command not allowed" in found.detail


@pytest.mark.parametrize("existing", list(ExistingKeys))
def test_a_merge_that_stops_counts_the_keys_that_were_acknowledged(tmp_path, plain, existing):
    backup = backup_of(tmp_path, plain.url())

    def fill_up(step: str) -> None:
        if step == "write":
            with server.client() as client:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_500_000)

    with RedisServer() as server:
        merge = {"strategy": RedisStrategy.MERGE, "existing": existing, "confirm": "127.0.0.1/all"}
        found = refused(tmp_path, server.url(), backup, fill_up, **merge)
        with server.client() as client:
            there = client.dbsize()

    assert 0 < there < KEYS
    assert f"{there:,} of 20,000 keys were written for sure" in found.message
    assert "status.safetyBackup" in found.hint


def test_an_interrupted_restore_says_what_was_written(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def interrupt(step: str) -> None:
        if step == "count":
            raise Interrupted("the worker was asked to stop")

    with RedisServer() as server:
        into = target(tmp_path, server.url())
        with pytest.raises(Interrupted) as caught:
            into.apply([backup], interrupt)

    assert caught.value.detail == "20,000 of 20,000 keys were written; it was empty before"
    assert left_behind(tmp_path) == []


def test_data_that_does_not_fit_the_target_is_refused_before_anything_is_written(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer(settings={"maxmemory": "3mb"}) as server:
        found = refused(tmp_path, server.url(), backup)
        with server.client() as client:
            assert client.dbsize() == 0

    assert found.reason is Reason.TARGET_UNSUITABLE
    assert re.search(
        r"the data takes about [\d.]+ MiB, and 127.0.0.1:\d+ has room for .*refuse the rest", found.message
    )


def test_data_larger_than_the_pods_memory_is_refused(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server:
        into = target(tmp_path, server.url(), memory_limit_bytes=64 << 20)
        obstacles = into.survey([backup]).obstacles
        found = refused(tmp_path, server.url(), backup, memory_limit_bytes=64 << 20)

    assert len(obstacles) == 1
    assert re.match(r"loading the backup takes about 1\d\d\.\d MiB of memory, and the pod has 64\.0 MiB", obstacles[0])
    assert found.reason is Reason.TARGET_UNSUITABLE


@pytest.mark.parametrize(
    ("rules", "strategy", "missing"),
    [
        pytest.param("-rpush -xgroup", RedisStrategy.FAIL_IF_NOT_EMPTY, "+rpush +xgroup", id="types"),
        pytest.param("-flushall", RedisStrategy.REPLACE, "+flushall", id="flushing"),
        pytest.param("-unlink", RedisStrategy.MERGE, "+unlink", id="dropping"),
    ],
)
def test_a_missing_permission_is_named_before_anything_is_written(tmp_path, plain, rules, strategy, missing):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=[f"{EVERYTHING_BUT} {rules}"]) as server:
        url = server.url(user="app", password="secret")
        obstacles = target(tmp_path, url, strategy=strategy).survey([backup]).obstacles
        found = refused(tmp_path, url, backup, strategy=strategy, confirm="127.0.0.1/all")
        with server.client() as client:
            assert client.dbsize() == 0

    words = f"the user app lacks permissions at 127.0.0.1:{server.port} that a restore needs: {missing}"
    assert obstacles == (f"{words}. redis-cli ACL SETUSER app {missing}",)
    assert (found.reason, found.message) == (Reason.PERMISSION_DENIED, words)


def test_a_user_with_the_least_permissions_restores(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    least = "+ping +info +select +exists +multi +discard +set +rpush +sadd +zadd +hmset +pexpireat"
    streams = "+xadd +xsetid +xgroup +xclaim"
    with RedisServer(users=[f"app on >secret ~* {least} {streams}"]) as server:
        applied = restore(tmp_path, server.url(user="app", password="secret"), backup)

    assert applied.counts == {"db0": KEYS}


def test_a_user_of_some_keys_restores_those(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=["app on >secret ~key:1* +@all"]) as server:
        url = server.url(user="app", password="secret")
        obstacles = target(tmp_path, url).survey([backup]).obstacles
        applied = restore(tmp_path, url, backup, key_pattern="key:1*")

    assert len(obstacles) == 1
    assert obstacles[0].startswith("the user app may not write every key that a restore can hold")
    assert applied.counts == {"db0": 11_111}


def test_a_user_without_transactions_restores_where_nothing_is_merged(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(users=[f"{EVERYTHING_BUT} -multi"]) as server:
        url = server.url(user="app", password="secret")
        merge = target(tmp_path, url, strategy=RedisStrategy.MERGE).survey([backup]).obstacles
        applied = restore(tmp_path, url, backup, strategy=RedisStrategy.REPLACE, confirm="127.0.0.1/all")

    assert len(merge) == 1
    assert "refuses MULTI" in merge[0]
    assert applied.counts == {"db0": KEYS}


def test_two_restores_into_one_server_do_not_overlap(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    second: list[TargetError] = []

    def begin_another(step: str) -> None:
        if step == "write":
            (tmp_path / "other").mkdir()
            merge = {"strategy": RedisStrategy.MERGE, "confirm": "127.0.0.1/all"}
            second.append(refused(tmp_path / "other", server.url(), backup, **merge))

    with RedisServer() as server:
        applied = target(tmp_path, server.url()).apply([backup], begin_another)

    assert [found.reason for found in second] == [Reason.TARGET_IN_USE]
    assert second[0].message.startswith(f"another restore is writing to 127.0.0.1:{server.port}, from 127.0.0.1:")
    assert applied.counts == {"db0": KEYS}


def test_the_throw_away_server_ends_with_a_worker_that_is_killed(tmp_path, plain):
    (tmp_path / "scratch").mkdir()
    with backup_of(tmp_path, plain.url()).open() as chunks:
        (tmp_path / "rdb").write_bytes(b"".join(chunks))
    script = (
        "import sys; from pathlib import Path; from tests.integration.targets.redis.restoring import artifact;"
        "from backup_operator.worker.targets.redis_throwaway import ThrowAwayServer;"
        "server = ThrowAwayServer('redis-server', Path(sys.argv[2]), highest_database=0);"
        "server.load(artifact(Path(sys.argv[1]).read_bytes())); print('loaded', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "rdb"), str(tmp_path / "scratch")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"loaded\n"
        assert len(servers_in(tmp_path)) == 1
        worker.kill()

    wait_until(
        lambda: not any(name.startswith("process") for name in left_behind(tmp_path)),
        "the end of the throw-away server",
    )


def test_a_replica_is_refused_and_its_master_named(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings={"replicaof": f"127.0.0.1 {plain.port}"}) as replica:
        obstacles = target(tmp_path, replica.url()).survey([backup]).obstacles

    assert f"127.0.0.1:{replica.port} is a replica of 127.0.0.1:{plain.port}" in obstacles[0]


def test_a_node_of_a_cluster_is_refused_in_words(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(settings={"cluster-enabled": "yes"}) as node:
        obstacles = target(tmp_path, node.url()).survey([backup]).obstacles
        found = refused(tmp_path, node.url(), backup)

    assert obstacles[0].startswith(f"127.0.0.1:{node.port} is a node of a Redis Cluster")
    assert found.reason is Reason.CLUSTER_MODE_UNSUPPORTED


def test_a_server_with_fewer_databases_than_the_backup_needs_is_refused(tmp_path):
    with RedisServer() as source, source.client(9) as client:
        client.set("a", "1")
        backup = backup_of(tmp_path, source.url())
    with RedisServer(settings={"databases": "4"}) as server:
        obstacles = target(tmp_path, server.url()).survey([backup]).obstacles
        found = refused(tmp_path, server.url(), backup)

    assert obstacles[0].startswith(f"127.0.0.1:{server.port} has no database 9, and the backup needs it")
    assert found.reason is Reason.DATABASE_MISSING


def test_a_server_that_cannot_be_reached_is_told_as_a_target(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer() as gone:
        url = gone.url()

    with pytest.raises(TargetError) as caught:
        target(tmp_path, url).survey([backup])

    assert caught.value.reason is Reason.CONNECTION_REFUSED


def test_a_wrong_password_is_told(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())
    with RedisServer(password="right") as server, pytest.raises(TargetError) as caught:
        target(tmp_path, server.url(password="wrong")).survey([backup])

    assert caught.value.reason is Reason.AUTHENTICATION_FAILED
    assert "wrong" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


def test_a_server_with_tls_is_restored_into_and_the_plan_says_so(tmp_path, plain):
    certificates = make_certificates(tmp_path)
    backup = backup_of(tmp_path, plain.url())
    tls = RedisTls(ca=secret(tmp_path, "ca.crt", certificates.authority.read_text()))

    with RedisServer(tls=certificates.server) as server:
        with_tls = target(tmp_path, server.url(), tls=tls)
        plan = with_tls.survey([backup])
        applied = with_tls.apply([backup], lambda _: None)

    assert any("over TLS" in line for line in plan.lines)
    assert applied.counts == {"db0": KEYS}


def test_keys_that_expired_since_the_backup_are_counted_apart(tmp_path):
    with RedisServer() as source, source.client() as client:
        client.mset({"stays": "1", "stays too": "2"})
        client.set("goes", "3", px=300)
        backup = backup_of(tmp_path, source.url())
        wait_until(lambda: client.get("goes") is None, "the expiry of a key")

    with RedisServer() as server:
        applied = restore(tmp_path, server.url(), backup)

    assert backup.keys_per_database == {0: 3}
    assert applied.counts == {"db0": 2}
    assert "1 keys of the backup had expired before it was loaded: they are not restored." in applied.notes


def test_keys_that_expire_during_the_restore_are_counted_apart(tmp_path):
    def wait(step: str) -> None:
        if step == "write":
            wait_until(lambda: not source.client().exists("goes"), "the expiry of a key", 60)

    with RedisServer() as source, RedisServer() as server, source.client() as client:
        client.set("stays", "1")
        client.set("goes", "3", px=20_000)
        backup = backup_of(tmp_path, source.url())
        into = target(tmp_path, server.url())
        applied = into.apply([backup], wait)

    assert applied.counts == {"db0": 1}
    assert "1 keys expired between the load and the count." in applied.notes


def test_keys_that_others_delete_meanwhile_are_found_missing(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    def delete(step: str) -> None:
        if step == "count":
            with server.client() as client:
                client.delete("key:1", "key:2")

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), backup, delete)

    assert found.reason is Reason.RESTORE_FAILED
    assert "and then 2 keys in database 0 were missing there" in found.message

"""Sources that are locked, behind a pooler or on a slow road: what is said of them, and what heals."""

import json
import re
from itertools import pairwise

from tests.e2e.telling import assert_heals, assert_is_told, ordered
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.servers import Servers

NUMBER = re.compile(r"[\d.]+")
ROWS = 400_000
ROW_BYTES = 40
"""Of such a row in a plain dump: a number, a tab, 32 digits, a newline."""
ROAD_BYTES_A_SECOND = 450_000
"""So that the dump takes 42 s at least: two lines of progress come however late a busy machine writes them."""


def test_the_log_of_a_long_run_tells_bytes_rows_and_rate_every_ten_seconds(ground: Namespace, servers: Servers):
    servers.create_database(
        "long", f"CREATE TABLE ticks AS SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) AS n;".encode()
    )
    slow = a_slow_road(ground, servers)
    ground.apply(servers.app_secret(SUPABASE_DB_URL=slow.replace("/app", "/long")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    good = policy.back_up("long")

    assert good["rows"] == ROWS
    log = ground.kubectl("logs", "job/long")
    said = [json.loads(line) for line in log.splitlines()]
    dumped = [one for one in said if one["event"] == "progress" and one["step"] == "dump PostgresPlain"]
    told = [[number_in(one[field]) for field in ("bytes", "rows", "rate", "seconds")] for one in dumped]
    assert len(told) >= 2, log
    for (bytes_before, _, _, then), (total_bytes, rows, rate, seconds) in pairwise([[0.0] * 4, *told]):
        assert 10 <= seconds - then < 20
        assert abs(rows * ROW_BYTES / total_bytes - 1) < 0.1
        assert abs((total_bytes - bytes_before) / (seconds - then) / 1e6 - rate) < 0.1
    assert told[1][2] > 0


def number_in(value: object) -> float:
    """Of `~1200`, `0.4MB/s` or a number."""
    found = NUMBER.search(str(value))
    assert found, value
    return float(found[0])


def a_slow_road(ground: Namespace, servers: Servers) -> str:
    """The URL of the source's database, through a pod of its own that lets little through."""
    host = f"postgres.{servers.namespace.name}.svc"
    script = (objects.SCRIPTS / "slow_road.py").read_text()
    command = ["python3", "-c", script, "5432", host, "5432", str(ROAD_BYTES_A_SECOND)]
    probe = {"tcpSocket": {"port": 5432}, "periodSeconds": 1}
    ground.apply(objects.pod("road", {"command": command, "readinessProbe": probe}), objects.service("road", 5432))
    ground.wait_for_pod("road")
    return servers.postgres_url().replace(host, f"road.{ground.name}.svc")


def test_a_database_that_is_being_restored_is_not_backed_up(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("returning")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("returning", also=LOCK_OF_A_RESTORE):
        policy.start("fails", change=ordered(lambda order: order["postgres"].update(lock_timeout_seconds=2)))
        assert_is_told(policy, "RestoreRunning")

    ground.delete("job", "fails")
    assert_heals(policy)


LOCK_OF_A_RESTORE = """SELECT pg_advisory_lock(1650551669, ($$x$$ ||
    left(encode(sha256(convert_to(current_database(), $$UTF8$$)), $$hex$$), 8))::bit(32)::int)"""
"""As `backup-worker restore` takes it, for as long as it writes."""


def test_a_table_that_others_keep_locked_is_told(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("kept")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("kept"):
        policy.start("fails", change=ordered(lambda order: order["postgres"].update(lock_timeout_seconds=2)))
        failed = assert_is_told(policy, "LockTimeout")
        assert "busy" in failed["message"]
        ground.delete("job", "fails")

    assert_heals(policy)


PGBOUNCER = """
[databases]
* = host={host} port=5432 user=postgres password='{password}'
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 6543
unix_socket_dir =
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
"""


def test_a_pooler_in_transaction_mode_is_told(ground: Namespace, servers: Servers):
    start_a_transaction_pooler(ground, servers)
    host = f"postgres.{servers.namespace.name}.svc:5432"
    pooled = servers.postgres_url().replace(host, f"pooler.{ground.name}.svc:6543")
    ground.apply(servers.app_secret(SUPABASE_DB_URL=pooled), objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    policy.start("fails")

    failed = assert_is_told(policy, "PoolerTransactionMode")
    assert f"pooler.{ground.name}.svc" in failed["message"]
    ground.apply(servers.app_secret())
    ground.delete("job", "fails")
    assert_heals(policy)


def start_a_transaction_pooler(ground: Namespace, servers: Servers) -> None:
    """A real PgBouncer before the servers' PostgreSQL."""
    settings = PGBOUNCER.format(host=f"postgres.{servers.namespace.name}.svc", password=servers.password)
    container = {
        "command": ["/usr/sbin/pgbouncer", "/pooler/pgbouncer.ini"],
        "readinessProbe": {"tcpSocket": {"port": 6543}, "periodSeconds": 1},
        "volumeMounts": [{"name": "settings", "mountPath": "/pooler", "readOnly": True}],
    }
    pod = objects.pod("pooler", container, [{"name": "settings", "secret": {"secretName": "pooler"}}])
    ground.apply(objects.secret("pooler", {"pgbouncer.ini": settings}), pod, objects.service("pooler", 6543))
    ground.wait_for_pod("pooler")

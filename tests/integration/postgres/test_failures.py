"""Every way in which a PostgreSQL run fails, made to happen: each has its own reason, and names what a person needs."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SecretMissing, SourceError, WorkerError
from tests.integration.postgres.conftest import DESCRIBED, Workplace
from tests.integration.postgres.failing import failure
from tests.integration.postgres.pooler import Pooler
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer, clients_root, wait_until


def test_a_wrong_password(server, workplace, database):
    error = failure(workplace, server.url(database, password="hush"))

    assert error.reason is Reason.AUTHENTICATION_FAILED
    assert error.message == f"127.0.0.1:{server.port} refused the user 'postgres' or the password."
    assert DESCRIBED in error.hint
    assert not error.retryable


def test_an_unknown_role(server15, workplace, database15):
    assert failure(workplace, server15.url(database15, user="nobody")).reason is Reason.AUTHENTICATION_FAILED


def test_no_password_at_all(server15, workplace, database15):
    url = f"postgresql://postgres@127.0.0.1:{server15.port}/{database15}"

    assert failure(workplace, url).reason is Reason.AUTHENTICATION_FAILED


def test_an_unknown_host(workplace):
    error = failure(workplace, "postgresql://u:hush@no-such-host.invalid/d")

    assert error.reason is Reason.NAME_NOT_RESOLVED
    assert "nslookup no-such-host.invalid" in error.hint


def test_a_port_where_nothing_listens(workplace):
    port = free_port()

    error = failure(workplace, f"postgresql://u:hush@127.0.0.1:{port}/d")

    assert (error.reason, error.retryable) == (Reason.CONNECTION_REFUSED, True)
    assert f"127.0.0.1:{port}" in error.message


IN_NO_NETWORK = """
import json, sys
from pathlib import Path
from backup_operator.contract.order import PostgresOrder, SecretFile
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.sources.postgres import PostgresSource
order = PostgresOrder(url=SecretFile(path=sys.argv[1], described="key DB_URL of Secret prod/app"))
try:
    PostgresSource(order, scratch=Path(sys.argv[2])).preflight()
except WorkerError as error:
    print(json.dumps([error.reason, error.message, error.hint]))
"""


@pytest.mark.parametrize("host", ["203.0.113.9", "[2001:db8::1]"])
def test_a_host_without_a_route(tmp_path, host):
    (tmp_path / "url").write_text(f"postgresql://u:hush@{host}/d")
    command = [sys.executable, "-c", IN_NO_NETWORK, str(tmp_path / "url"), str(tmp_path)]

    # in a network namespace of its own a process has no route at all
    said = subprocess.run(["unshare", "--map-root-user", "--net", *command], capture_output=True, check=True).stdout

    reason, message, _ = json.loads(said)
    assert (reason, message) == (Reason.NETWORK_UNREACHABLE, f"There is no route to {host}:5432.")


def test_a_host_that_never_answers(workplace):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]

        error = failure(workplace, f"postgresql://u:hush@127.0.0.1:{port}/d?connect_timeout=2")

    assert (error.reason, error.retryable) == (Reason.CONNECTION_TIMED_OUT, True)


def test_a_missing_database(server, workplace):
    error = failure(workplace, server.url("nowhere"))

    assert error.reason is Reason.DATABASE_MISSING
    assert "'nowhere'" in error.message


def test_no_right_to_connect(server15, workplace, name, database15):
    server15.execute(f"create role {name} login password 'hush'; revoke connect on database {database15} from public")

    error = failure(workplace, server15.url(database15, user=name, password="hush"))

    assert error.reason is Reason.PERMISSION_DENIED
    assert f'GRANT CONNECT ON DATABASE "{database15}" TO "{name}"' in error.hint


def test_no_free_connection(server15, workplace, name, database15):
    server15.execute(f"create role {name} login password 'hush' connection limit 0")

    error = failure(workplace, server15.url(database15, user=name, password="hush"))

    assert (error.reason, error.retryable) == (Reason.TOO_MANY_CONNECTIONS, True)


def test_a_connection_limit_of_one_is_enough(server15, workplace, name, database15):
    server15.execute(f"create role {name} superuser login password 'hush' connection limit 1")
    server15.execute(f"alter role {name} nosuperuser; grant pg_read_all_data to {name}")

    def until_the_session_is_gone() -> None:
        sessions = f"select 1 from pg_stat_activity where usename = '{name}'"
        wait_until(lambda: server15.rows(sessions) == [], "the end of the session that looked at the server")

    url = server15.url(database15, user=name, password="hush")
    assert workplace.back_up(url, before_dumps=until_the_session_is_gone).rows == {"public.users": 1}


def test_a_server_that_is_not_ready(workplace):
    with PostgresServer(major=15) as server:
        server.execute("create table users as select 1 as id")
        server.stop()
        # a standby that serves no queries says what a server says while it starts
        (server.directory / "data/standby.signal").touch()
        with (server.directory / "data/postgresql.conf").open("a") as configuration:
            configuration.write("hot_standby = off\n")
        process = _start_without_waiting(server)
        wait_until(lambda: "entering standby mode" in server.log.read_text(), "standby mode")
        try:
            error = failure(workplace, server.url())
        finally:
            process.terminate()
            process.wait()

    assert (error.reason, error.retryable) == (Reason.SERVER_NOT_READY, True)


def _start_without_waiting(server: PostgresServer) -> subprocess.Popen[bytes]:
    server.start(wait=False)
    return server._process


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_without_sessions(server15, workplace, database15, mode):
    with Pooler(server15, mode) as pooler:
        error = failure(workplace, pooler.url(database15))

    assert error.reason is Reason.POOLER_TRANSACTION_MODE
    assert "session" in error.hint


def test_a_pooler_with_sessions_is_no_hindrance(server15, workplace, database15):
    with Pooler(server15, "session") as pooler:
        assert workplace.back_up(pooler.url(database15)).rows == {"public.users": 1}


def test_supabases_transaction_port_is_told_without_connecting(workplace):
    error = failure(workplace, "postgresql://postgres.ref:hush@aws-0-eu-central-1.pooler.supabase.com:6543/postgres")

    assert error.reason is Reason.POOLER_TRANSACTION_MODE
    assert "port 5432" in error.hint


def test_another_database_than_asked_for(server15, workplace, database15):
    with Pooler(server15, "session", database=database15) as pooler:
        error = failure(workplace, pooler.url("asked"))

    assert error.reason is Reason.DATABASE_MISSING
    assert "'asked'" in error.message
    assert f"'{database15}'" in error.message


def test_a_server_newer_than_every_client(servers, tmp_path, name):
    server = servers(17)
    server.create_database(name)
    workplace = Workplace(tmp_path, clients_root(tmp_path / "clients", 15))

    error = failure(workplace, server.url(name))

    assert error.reason is Reason.VERSION_MISMATCH
    assert error.message.startswith("The server's version 17.")
    assert "Clients in this image: 15." in error.detail


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        pytest.param("create table orders (); grant select on users to {role}", "public.orders", id="one table"),
        pytest.param('create table "O.x" (); grant select on users to {role}', 'public."O.x"', id="quoted table"),
        pytest.param("create sequence numbers; grant select on users to {role}", "public.numbers", id="sequence"),
        pytest.param(
            "create schema s; create table s.t (); grant select on users, s.t to {role}", "schema s", id="schema"
        ),
        pytest.param(
            "grant select on users to {role}; alter table users enable row level security", "public.users", id="rows"
        ),
    ],
)
def test_what_may_not_be_read_is_named_before_the_dump(server, workplace, name, database, sql, named):
    server.execute(f"create role {name} login password 'hush'")
    server.execute(sql.format(role=name), database)

    error = failure(workplace, server.url(database, user=name, password="hush"))

    assert (error.reason, error.retryable) == (Reason.PERMISSION_DENIED, False)
    assert named in error.message
    assert f"{name}" in error.hint


def test_many_unreadable_tables_are_counted(server15, workplace, name, database15):
    server15.execute(f"create role {name} login password 'hush'")
    server15.execute("".join(f"create table t{number} ();" for number in range(9)), database15)

    error = failure(workplace, server15.url(database15, user=name, password="hush"))

    assert error.message.endswith(
        "may not read the table public.t0, public.t1, public.t2, public.t3, public.t4 and 5 more."
    )


def test_excluded_tables_need_no_rights(server15, workplace, name, database15):
    server15.execute(f"create role {name} login password 'hush'")
    server15.execute(f"create table orders (); grant select on orders to {name}", database15)

    backup = workplace.back_up(server15.url(database15, user=name, password="hush"), tables={"exclude": ["users"]})

    assert backup.rows == {"public.orders": 0}


def test_a_large_object_of_another_role(server15, workplace, name, database15):
    server15.execute(f"create role {name} login password 'hush'; grant pg_read_all_data to {name}")
    server15.execute("select lo_create(77)", database15)

    error = failure(workplace, server15.url(database15, user=name, password="hush"))

    assert error.reason is Reason.PERMISSION_DENIED
    assert "large object 77" in error.message


def test_a_locked_table_is_named_with_who_locks_it(server, workplace, database):
    with server.connect(database) as locker:
        locker.execute("set application_name = 'nightly-migration'")
        locker.execute("begin")
        locker.execute("lock table users")
        pid = locker.info.backend_pid

        error = failure(workplace, server.url(database), lock_timeout_seconds=1)

    assert (error.reason, error.retryable) == (Reason.LOCK_TIMEOUT, True)
    assert "users is locked" in error.detail
    assert f"process {pid}" in error.detail
    assert "nightly-migration" in error.detail
    assert "idle in transaction" in error.detail


@pytest.fixture
def big(server15, name):
    server15.create_database(name)
    server15.execute("create table big as select repeat('x', 1000) from generate_series(1, 100000)", name)
    return name


def broken_off(workplace: Workplace, url: str, break_off) -> WorkerError:
    with closing(workplace.source(url)) as source:
        source.preflight()
        with pytest.raises(WorkerError) as caught, source.dumps()[0].stream() as chunks:
            _read_and_break_off(chunks, break_off)
    return caught.value


def _read_and_break_off(chunks, break_off) -> None:
    next(chunks)
    break_off()
    for _ in chunks:
        pass


def test_a_session_that_is_ended_in_the_middle(server15, workplace, big):
    def end_sessions():
        server15.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{big}'")

    error = broken_off(workplace, server15.url(big), end_sessions)

    assert (error.reason, error.retryable) == (Reason.CONNECTION_LOST, True)


def test_a_server_that_dies_in_the_middle(workplace):
    with PostgresServer(major=15) as server:
        server.execute("create table big as select repeat('x', 1000) from generate_series(1, 100000)")

        error = broken_off(workplace, server.url(), lambda: server.stop(at_once=True))

    assert (error.reason, error.retryable) == (Reason.CONNECTION_LOST, True)


def test_a_pg_dump_that_is_killed(server15, workplace, big):
    def kill_pg_dump():
        for task in Path(f"/proc/{os.getpid()}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"pg_dump" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)

    error = broken_off(workplace, server15.url(big), kill_pg_dump)

    assert (error.reason, error.message) == (Reason.DUMP_INCOMPLETE, "pg_dump ended with signal 9.")


def test_a_filter_that_matches_nothing(server15, workplace, database15):
    error = failure(workplace, server15.url(database15), tables={"exclude": ["user"]})

    assert error.reason is Reason.FILTER_MATCHES_NOTHING
    assert error.detail == "Near names are: public.users."


def test_an_empty_database(server, workplace, name):
    server.create_database(name)

    assert failure(workplace, server.url(name)).reason is Reason.SOURCE_EMPTY


def test_a_missing_secret(tmp_path, workplace):
    source = workplace.source("")
    with closing(source), pytest.raises(SecretMissing) as caught:
        source.preflight()

    assert caught.value.message == f"{DESCRIBED} is empty"


def test_quotes_around_the_url_are_taken_off_and_said(server15, workplace, database15):
    backup = workplace.back_up(f'"{server15.url(database15)}"\n')

    assert backup.rows == {"public.users": 1}
    assert "enclosed in quotes" in backup.facts.warnings[0]


def test_an_ipv6_host(workplace):
    with PostgresServer(major=15) as server:
        server.execute("create table users as select 1 as id")

        assert workplace.back_up(server.url(host="[::1]")).rows == {"public.users": 1}


@pytest.mark.parametrize("client", [15, 18])
def test_an_option_that_older_clients_do_not_know(servers, tmp_path, name, client):
    server = servers(15)
    server.create_database(name)
    server.execute("create table users as select 1 as id", name)
    workplace = Workplace(tmp_path, clients_root(tmp_path / "clients", client))
    url = server.url(name, options="require_auth=scram-sha-256&sslcertmode=disable&load_balance_hosts=random")

    assert workplace.back_up(url).rows == {"public.users": 1}


def test_the_second_host_when_the_first_refuses(server15, workplace, database15):
    url = server15.url(database15, host=f"127.0.0.1:{free_port()},127.0.0.1")

    assert workplace.back_up(url).rows == {"public.users": 1}


# TLS


def test_a_failing_preflight_leaves_no_password_file(server15, workplace, database15):
    source = workplace.source(server15.url(database15, password="hush"))
    with closing(source), pytest.raises(SourceError):
        source.preflight()

    assert list((workplace.directory / "scratch").iterdir()) == []

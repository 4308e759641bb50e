"""A server that is full, held by others, small or old: the target is as it was, and the reason is said."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, Restorer, Side, artifact
from tests.support.postgres_server import UNPRIVILEGED_UID, PostgresServer

STRATEGIES = ("NewDatabase", "SwapDatabase", "InPlace")
_VOLUME_BYTES = 400 << 20
_FREE_BYTES = 24 << 20


def _state(server: PostgresServer, database: str = "app") -> Any:
    """Contents and schema of a database, and which others there are."""
    compared = Side(server, database).compared()
    return compared.contents(), compared.schema(), server.rows("select datname from pg_database order by 1")


def _order(strategy: str, database: str) -> dict[str, Any]:
    made = "made" if strategy == "NewDatabase" else database
    return {"strategy": strategy, "database": made, "confirm": "" if strategy == "NewDatabase" else database}


def _failure(restorer: Restorer, url: str, backup, **order) -> TargetError:
    with pytest.raises(TargetError) as failure:
        restorer.restore(url, [backup], **order)
    return failure.value


@dataclass
class FullServer(PostgresServer):
    """A server whose data, without its log of changes, lies on a volume of its own with little room."""

    def _initialise(self) -> None:
        data = self.directory / "data"
        data.mkdir()
        owner = f"uid={UNPRIVILEGED_UID},gid={UNPRIVILEGED_UID},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_BYTES},{owner}", "tmpfs", str(data)], check=True)
        self.initdb_options = (*self.initdb_options, f"--waldir={self.directory / 'wal'}")
        super()._initialise()

    def __exit__(self, *_: object) -> None:
        self.stop()
        subprocess.run(["umount", str(self.directory / "data")], check=False)
        super().__exit__()

    def leave(self, size_bytes: int) -> None:
        """Fill the volume up to so many free bytes."""
        data = self.directory / "data"
        filler = data / "filler"
        filler.unlink(missing_ok=True)
        room = os.statvfs(data)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_bsize - size_bytes)


@pytest.fixture(scope="module")
def full() -> Iterator[FullServer]:
    with FullServer(15) as server:
        server.create_database("app")
        server.execute("create table users (id int primary key, name text); insert into users values (1, 'a')", "app")
        server.leave(_FREE_BYTES)
        yield server


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_disk_leaves_the_target_as_it_was(full, server15, restorer, name, strategy, kind):
    server15.create_database(name)
    server15.execute("create table users (id int primary key, name text)", name)
    server15.execute("insert into users select n, repeat(md5(n::text), 6) from generate_series(1, 200000) n", name)
    backup, before = Side(server15, name).dump(kind), _state(full)

    error = _failure(restorer, full.url("app"), backup, **_order(strategy, "app"))

    assert error.reason is Reason.STORAGE_FULL
    undone = "Everything was rolled back" if strategy == "InPlace" else "was dropped again; nothing else was touched"
    assert undone in error.message
    assert "Make room" in error.hint
    assert _state(full) == before


TABLES = 5000


@pytest.fixture(scope="module")
def thousands() -> bytes:
    """A dump of many tables, each with a key and a value that is kept apart."""
    return b"".join(
        b"CREATE TABLE public.t%d (id integer, name text);\n"
        b"COPY public.t%d (id, name) FROM stdin;\n%d\tx\n\\.\n\n"
        b"ALTER TABLE ONLY public.t%d ADD CONSTRAINT t%d_pkey PRIMARY KEY (id);\n" % (n, n, n, n, n)
        for n in range(TABLES)
    )


def _thousands(dump: bytes):
    return artifact(PLAIN, dump, rows_per_table={f"public.t{number}": 1 for number in range(TABLES)})


_COUNTED = "select count(*) from pg_class where relkind = 'r' and relname ~ '^t[0-9]'"


def test_thousands_of_tables_come_back_in_place_once_the_server_holds_their_locks(restorer, thousands):
    with PostgresServer(15, settings={"max_connections": "20"}) as server:
        server.create_database("app")
        backup = _thousands(thousands)
        for tables in (0, TABLES):
            error = _failure(restorer, server.url("app"), backup, **_order("InPlace", "app"))
            assert error.reason is Reason.TARGET_UNSUITABLE
            assert server.rows(_COUNTED, "app") == [(tables,)]

            advised = re.search(r"set max_locks_per_transaction = (\d+) on it, now \d+", error.message)
            assert advised is not None
            server.execute(f"alter system set max_locks_per_transaction = {advised[1]}")
            server.stop()
            server.start()
            restorer.restore(server.url("app"), [backup], **_order("InPlace", "app"))
            assert server.rows(_COUNTED, "app") == [(TABLES,)]


@pytest.mark.parametrize("strategy", ["NewDatabase", "SwapDatabase"])
def test_thousands_of_tables_need_no_more_locks_where_a_database_is_built(
    server15, restorer, name, thousands, strategy
):
    server15.create_database(name)
    order = _order(strategy, name) | ({"database": f"{name}_new"} if strategy == "NewDatabase" else {})

    restorer.restore(server15.url(name), [_thousands(thousands)], **order)

    assert server15.rows(_COUNTED, order["database"]) == [(TABLES,)]


@pytest.fixture(scope="module")
def preparing() -> Iterator[PostgresServer]:
    with PostgresServer(15, settings={"max_prepared_transactions": "5"}) as server:
        server.create_database("app")
        server.execute("create table users (id int primary key); insert into users values (1)", "app")
        yield server


def test_a_prepared_transaction_stops_a_swap_by_name(preparing, restorer):
    backup = Side(preparing, "app").dump(PLAIN)
    before = _state(preparing)
    with preparing.connect("app") as connection:
        connection.execute("begin")
        connection.execute("insert into users values (2)")
        connection.execute("prepare transaction 'of a bank'")

    try:
        error = _failure(restorer, preparing.url("app"), backup, **_order("SwapDatabase", "app"))
    finally:
        preparing.execute("rollback prepared 'of a bank'", "app")

    assert error.reason is Reason.TARGET_IN_USE
    assert "of a bank" in error.message
    assert "Nothing was changed" in error.message
    assert _state(preparing) == before


def test_a_prepared_transaction_stops_a_replacement_in_place_by_its_locks(preparing, restorer):
    backup = Side(preparing, "app").dump(PLAIN)
    before = _state(preparing)
    with preparing.connect("app") as connection:
        connection.execute("begin")
        connection.execute("insert into users values (2)")
        connection.execute("prepare transaction 'of a bank'")

    try:
        order = _order("InPlace", "app") | {"lock_timeout_seconds": 1}
        error = _failure(restorer, preparing.url("app"), backup, **order)
    finally:
        preparing.execute("rollback prepared 'of a bank'", "app")

    assert error.reason is Reason.LOCK_TIMEOUT
    assert "Everything was rolled back" in error.message
    assert "of a bank" in error.detail
    assert _state(preparing) == before


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_an_older_server_does_not_know_leaves_it_as_it_was(server15, server17, restorer, name, strategy, kind):
    for server in (server15, server17):
        server.create_database(name)
        server.execute("create table users (id int primary key); insert into users values (1)", name)
    server17.execute("create view newest as select any_value(id) as id from users", name)
    backup = Side(server17, name).dump(kind)
    before = _state(server15, name)

    error = _failure(restorer, server15.url(name), backup, **_order(strategy, name))

    assert error.reason is Reason.RESTORE_FAILED
    assert "any_value" in error.message + error.detail
    assert _state(server15, name) == before

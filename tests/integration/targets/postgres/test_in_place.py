"""InPlace: what the backup contains is replaced in one transaction, or nothing is."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, Side, artifact

IN_PLACE = {"strategy": "InPlace"}
DAMAGE = """
delete from users where id > 100; drop view happy_users; alter table users add column later text;
insert into empty values (1); select lo_unlink(4243); select lo_put(4242, 0, 'damage'); drop table no_columns;
drop function lookalike; alter type mood add value 'new'; select nextval('counter');
"""


def damaged(source):
    """Both the artifacts of the whole database, and then some harm to it."""
    done = source.server.psql(DAMAGE.encode(), source.database)
    assert done.returncode == 0, done.stderr


def untouched(source, before):
    assert source.compared().contents() == before[0]
    assert source.compared().schema() == before[1]


def state(source):
    return source.compared().contents(), source.compared().schema()


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_what_was_lost_is_back_as_it_was(server, everything, restorer, kind):
    source = everything(server)
    dump, wanted = source.dump(kind), state(source)
    damaged(source)

    done = restorer.restore(server.url(source.database), [dump], confirm=source.database, **IN_PLACE)

    untouched(source, wanted)
    assert done.applied.counts == dump.rows_per_table
    assert done.plan.overwritten == source.database
    assert "table public.users" in done.plan.pinned["dropped"]


def test_a_dump_of_a_newer_server_replaces_an_older_ones_content(server15, server17, everything, restorer, name):
    source = everything(server17)
    server15.execute(f"create role {name}_owner")
    server15.execute(f"create role {name}_reader")
    server15.create_database(name)

    done = restorer.restore(server15.url(name), [source.dump(PLAIN)], confirm=name, **IN_PLACE)

    assert Side(server15, name).compared().contents() == source.compared().contents()
    assert done.plan.pinned["empty"] is True


@pytest.mark.parametrize("confirm", ["", "another"])
def test_a_missing_or_wrong_confirm_is_refused_before_anything_is_touched(server15, everything, restorer, confirm):
    source = everything(server15)
    before = state(source)

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url(source.database), [source.dump(PLAIN)], confirm=confirm, **IN_PLACE)

    assert failure.value.reason is Reason.CONFIRM_MISSING
    untouched(source, before)


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_a_stream_that_breaks_at_its_end_rolls_back(server15, everything, restorer, kind):
    source = everything(server15)
    dump = source.dump(kind)
    damaged(source)
    before = state(source)
    with dump.open() as chunks:
        text = b"".join(chunks)
    target = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    target.survey([dump])

    with pytest.raises(OSError, match="the volume is gone"):
        target.apply([artifact(kind, text, fails=True, rows_per_table=dump.rows_per_table)], lambda _: None)

    untouched(source, before)


def test_a_stream_that_breaks_behind_a_row_rolls_back(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    damaged(source)
    before = state(source)
    with dump.open() as chunks:
        text = b"".join(chunks)
    cut = text.index(b"\n", text.index(b"COPY public.users") + 5000) + 1
    target = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    target.survey([dump])

    with pytest.raises(OSError, match="the volume is gone"):
        target.apply([artifact(PLAIN, text[:cut], fails=True)], lambda _: None)

    untouched(source, before)


def test_other_counts_than_recorded_roll_back(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN, rows_per_table={**source.rows(), "public.users": 251})
    damaged(source)
    before = state(source)

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url(source.database), [dump], confirm=source.database, **IN_PLACE)

    assert failure.value.reason is Reason.CHECK_FAILED
    assert "the database is as it was" in failure.value.message
    untouched(source, before)


def test_large_objects_bring_no_commit_of_their_own(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    with dump.open() as chunks:
        text = b"".join(chunks)
    assert b"\nCOMMIT;\n" in text
    whole, end, _ = text.rpartition(b"-- PostgreSQL database dump complete")
    broken = artifact(PLAIN, whole + b"select 1/0;\n" + end + b"\n")
    damaged(source)
    before = state(source)

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url(source.database), [broken], confirm=source.database, **IN_PLACE)

    assert "division by zero" in failure.value.message
    assert "select 1/0" in failure.value.detail
    untouched(source, before)


@pytest.mark.parametrize("statement", ["commit", "END", "rollback", "begin", "prepare transaction 'x'"])
def test_a_dump_cannot_end_our_transaction(server15, restorer, name, statement):
    server15.create_database(name)
    server15.execute("create table kept (a int); insert into kept values (1)", name)
    dump = artifact(PLAIN, f"create table other ();\n{statement};\n".encode())

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url(name), [dump], confirm=name, **IN_PLACE)

    assert "is never run" in failure.value.message
    assert server15.rows("select to_regclass('other')", name) == [(None,)]


def test_an_open_transaction_is_waited_for_and_named(server15, everything, restorer):
    source = everything(server15)
    dump, before = source.dump(PLAIN), state(source)
    with server15.connect(source.database) as idle:
        idle.execute("set application_name = 'the app'")
        idle.execute("begin")
        idle.execute("select * from users")

        with pytest.raises(TargetError) as failure:
            restorer.restore(
                server15.url(source.database), [dump], confirm=source.database, lock_timeout_seconds=1, **IN_PLACE
            )

        assert failure.value.reason is Reason.LOCK_TIMEOUT
        assert f"process {idle.info.backend_pid} (the app, role postgres, idle in transaction" in failure.value.detail
        idle.execute("rollback")
    untouched(source, before)


def test_what_hangs_on_replaced_objects_stops_it_unless_it_may_be_dropped(server15, everything, restorer):
    source = everything(server15)
    dump, wanted = source.dump(PLAIN), state(source)
    server15.execute(
        """
        create schema later;
        create table later.orders (id int primary key, user_id bigint references public.users (id), mood public.mood);
        create view later.names as select name from public.users;
        create table public.conversations_2025 partition of public.conversations
          for values from ('2025-01-01') to ('2026-01-01');
        insert into later.orders values (1, 1, 'sad');
        """,
        source.database,
    )
    before = state(source)

    target = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    plan = target.survey([dump])
    with pytest.raises(TargetError) as failure:
        target.apply([dump], lambda _: None)

    assert failure.value.reason is Reason.DEPENDENTS_IN_THE_WAY
    assert plan.pinned["inTheWay"] == [
        "column mood of table later.orders",
        "constraint orders_user_id_fkey on table later.orders",
        "table public.conversations_2025",
        "view later.names",
    ]
    assert "schema later" in plan.pinned["kept"]
    untouched(source, before)

    restorer.restore(server15.url(source.database), [dump], confirm=source.database, drop_dependents=True, **IN_PLACE)

    assert server15.rows("select * from later.orders", source.database) == [(1, 1)]
    server15.execute("drop schema later cascade", source.database)
    untouched(source, wanted)


def test_a_function_that_others_hang_on_gets_its_old_body_where_it_stands(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    server15.execute(
        """
        create or replace function stamp() returns trigger language plpgsql as 'begin return null; end';
        create schema auth; create table auth.users (body text);
        create trigger stamped before insert on auth.users for each row execute function public.stamp();
        """,
        source.database,
    )

    done = restorer.restore(server15.url(source.database), [dump], confirm=source.database, **IN_PLACE)

    server15.execute("insert into auth.users values ('x')", source.database)
    assert server15.rows("select body from auth.users", source.database) == [("it's",)]
    assert done.plan.pinned["replaced"] == ["function public.stamp()"]


def test_objects_of_others_are_left_alone(server15, restorer, name):
    server15.execute(f"create role {name} login password 'x'; create role {name}_admin")
    server15.create_database(name)
    server15.execute(
        f"""
        create publication realtime; create schema provider; create table provider.secrets (a int);
        create function provider.f() returns event_trigger language plpgsql as 'begin end';
        create event trigger watch on ddl_command_start execute function provider.f();
        grant all on schema public to {name}; alter publication realtime owner to {name}_admin;
        """,
        name,
    )
    server15.execute("create table mine (a int); insert into mine values (1)", name, user=name, password="x")
    server15.execute("alter publication realtime add table mine", name)
    dump = Side(server15, name).dump(PLAIN, "--exclude-schema=provider", rows_per_table={"public.mine": 1})
    server15.execute("truncate mine", name)

    done = restorer.restore(server15.url(name, user=name, password="x"), [dump], confirm=name, **IN_PLACE)

    assert server15.rows("select * from mine", name) == [(1,)]
    assert server15.rows("select evtname from pg_event_trigger", name) == [("watch",)]
    assert done.plan.pinned["leftAlone"] == [
        "event trigger watch",
        "publication realtime",
        "schema public",
    ]
    assert done.plan.pinned["kept"] == ["schema provider"]
    assert any("alter publication" in note for note in done.applied.notes)


def test_thousands_of_tables_are_told_as_locks_before_anything_is_done(server15, restorer, name):
    server15.create_database(name)
    text = "".join(f"CREATE TABLE public.t{number} (a integer, b text);\n" for number in range(5000))

    target = restorer.target(server15.url(name), confirm=name, **IN_PLACE)
    plan = target.survey([artifact(PLAIN, text.encode())])

    assert "15000 locks" in plan.obstacles[0]
    assert "max_locks_per_transaction" in plan.obstacles[0]
    with pytest.raises(TargetError):
        target.apply([artifact(PLAIN, text.encode())], lambda _: None)
    assert server15.rows("select count(*) from pg_class where relname like 't%0'", name)[0][0] < 20


def test_two_restores_into_one_database_do_not_overlap(server15, everything, restorer):
    source = everything(server15)
    dump, before = source.dump(PLAIN), state(source)
    first = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    second = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    first.survey([dump])
    second.survey([dump])
    refused: list[TargetError] = []

    def meanwhile(name: str) -> None:
        if name == "restore":
            with pytest.raises(TargetError) as failure:
                second.apply([dump], lambda _: None)
            refused.append(failure.value)

    first.apply([dump], meanwhile)

    assert [each.reason for each in refused] == [Reason.TARGET_IN_USE]
    untouched(source, before)


@pytest.mark.parametrize("moment", ["drop", "restore", "count rows", "commit"])
def test_a_lost_connection_rolls_back_and_is_told(server15, everything, restorer, moment):
    source = everything(server15)
    dump = source.dump(PLAIN)
    damaged(source)
    before = state(source)

    def end_it(name: str) -> None:
        if name == moment:
            server15.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{source.database}'"
                " and application_name like 'backup-operator%'"
            )

    target = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    target.survey([dump])
    with pytest.raises(TargetError) as failure:
        target.apply([dump], end_it)

    assert failure.value.reason is Reason.CONNECTION_LOST
    assert "the database is as it was" in failure.value.message
    untouched(source, before)


def test_a_connection_lost_behind_the_commit_is_told_but_no_failure(server15, everything, restorer):
    source = everything(server15)
    dump, wanted = source.dump(PLAIN), state(source)
    damaged(source)

    def end_it(name: str) -> None:
        if name == "analyse":
            server15.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{source.database}'"
                " and application_name like 'backup-operator%'"
            )

    target = restorer.target(server15.url(source.database), confirm=source.database, **IN_PLACE)
    target.survey([dump])
    applied = target.apply([dump], end_it)

    assert any("ANALYZE did not run" in note for note in applied.notes)
    untouched(source, wanted)

"""NewDatabase: what is in the backup is in a new database, and nothing else was touched."""

import shutil
import signal

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, STAMP, Side, artifact, assert_equal


def databases(server):
    return {row[0] for row in server.rows("select datname from pg_database")}


@pytest.mark.parametrize(
    ("kind", "jobs"), [(PLAIN, 2), (CUSTOM, 2), (CUSTOM, 1)], ids=["Plain", "Custom", "Custom -j1"]
)
def test_a_backup_comes_back_whole_in_a_new_database(server, everything, restorer, kind, jobs):
    source = everything(server)

    done = restorer.restore(
        server.url(source.database), [source.dump(kind)], database=f"{source.database}_new", jobs=jobs
    )

    assert_equal(source, Side(server, f"{source.database}_new"))
    assert done.applied.counts == source.rows()
    assert done.plan.obstacles == ()
    assert done.plan.overwritten == ""


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_a_dump_of_a_newer_server_restores_into_an_older_one(server15, server17, everything, restorer, name, kind):
    source = everything(server17)
    server15.execute(f"create role {name}_owner")
    server15.execute(f"create role {name}_reader")

    done = restorer.restore(server15.url("postgres"), [source.dump(kind)], database=name)

    assert Side(server15, name).compared().contents() == source.compared().contents()
    assert any("transaction_timeout" in note for note in done.applied.notes)


def test_the_name_is_made_from_the_url_and_the_time(server15, everything, restorer):
    source = everything(server15)

    done = restorer.restore(server15.url(source.database), [source.dump(PLAIN)])

    assert f"{source.database}_restored_{STAMP}" in databases(server15)
    assert done.plan.pinned["database"] == f"{source.database}_restored_*"


def test_a_name_that_is_taken_is_an_obstacle_and_is_refused(server15, everything, restorer):
    source = everything(server15)
    before = databases(server15)

    target = restorer.target(server15.url("postgres"), database=source.database)
    plan = target.survey([source.dump(PLAIN)])
    with pytest.raises(TargetError) as failure:
        target.apply([source.dump(PLAIN)], lambda _: None)

    assert failure.value.reason is Reason.TARGET_EXISTS
    assert "Nothing was changed" in failure.value.message
    assert "is there already" in plan.obstacles[0]
    assert databases(server15) == before


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_a_stream_that_breaks_at_its_end_leaves_no_database(server15, everything, restorer, kind):
    source = everything(server15)
    before = databases(server15)
    dump = source.dump(kind)
    with dump.open() as chunks:
        text = b"".join(chunks)
    broken = artifact(kind, text, fails=True, rows_per_table=source.rows())

    target = restorer.target(server15.url("postgres"), database=f"{source.database}_new")
    target.survey([dump])
    with pytest.raises(OSError, match="the volume is gone"):
        target.apply([broken], lambda _: None)

    assert databases(server15) == before


def test_other_row_counts_than_recorded_drop_the_database_and_name_the_tables(server15, everything, restorer):
    source = everything(server15)
    before = databases(server15)
    dump = source.dump(PLAIN, rows_per_table={**source.rows(), "public.users": 251})

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url("postgres"), [dump], database=f"{source.database}_new")

    assert failure.value.reason is Reason.CHECK_FAILED
    assert failure.value.detail == "public.users: 250 rows in place of 251"
    assert "was dropped again" in failure.value.message
    assert databases(server15) == before


def test_a_psql_command_in_a_dump_is_an_obstacle_and_never_runs(server15, restorer, name, tmp_path):
    witness = tmp_path / "witness"
    dump = artifact(PLAIN, f"create table a ();\n\\! touch {witness}\n".encode())

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url("postgres"), [dump], database=name)

    assert "touch" in failure.value.message
    assert not witness.exists()
    assert name not in databases(server15)


class Stopped(Exception):
    """What a signal's handler raises in the middle of a statement."""


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_an_interrupted_restore_leaves_no_database_and_no_file(server15, everything, restorer, kind):
    source = everything(server15)
    before = databases(server15)
    target = restorer.target(server15.url("postgres"), database=f"{source.database}_new")
    dump = source.dump(kind)
    target.survey([dump])

    def stop(step):
        if step == "count rows":
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    def handler(*_):
        raise Stopped

    old = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Stopped):
            target.apply([dump], stop)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert databases(server15) == before


def test_an_archive_needs_no_room_in_scratch(server15, everything, restorer, monkeypatch):
    source = everything(server15)
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

    restorer.restore(server15.url("postgres"), [source.dump(CUSTOM)], database=f"{source.database}_new")

    assert_equal(source, Side(server15, f"{source.database}_new"))


BIG = """
create table big (id bigint generated always as identity, filler text, made timestamptz default '2023-12-01');
insert into big (filler) select repeat(chr(9) || 'x', 40) || i from generate_series(1, 150000) i;
alter table big add primary key (id); create index on big (filler); create index on big (made);
create table small (id bigint unique references big);
insert into small select generate_series(1, 500);
"""


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_rows_of_one_table_come_in_over_several_sessions(server, restorer, name, kind, jobs):
    server.create_database(name)
    server.execute(BIG, name)
    source = Side(server, name)
    dump, seen = source.dump(kind), set()

    def look(step: str) -> None:
        if step == "count rows":
            made = f"{name}_new_restoring_{STAMP}"
            seen.update(server.rows("select distinct xmin::text from big", made))

    target = restorer.target(server.url("postgres"), database=f"{name}_new", jobs=jobs)
    target.survey([dump])
    target.apply([dump], look)

    assert_equal(source, Side(server, f"{name}_new"))
    assert (len(seen) > 1) == (jobs > 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_row_that_the_server_refuses_ends_all_sessions_and_drops_the_database(server15, restorer, name, jobs):
    server15.create_database(name)
    server15.execute(BIG, name)
    before = databases(server15)
    with Side(server15, name).dump(PLAIN).open() as chunks:
        text = b"".join(chunks)
    rows, mark, rest = text.partition(b"\n30000\t")
    broken = artifact(PLAIN, rows + b"\nno number\t" + rest)
    assert mark

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url("postgres"), [broken], database=f"{name}_new", jobs=jobs)

    assert "no number" in failure.value.message
    assert "was dropped again" in failure.value.message
    assert databases(server15) == before


def test_a_key_that_cannot_be_built_beside_others_drops_the_database(server15, restorer, name):
    server15.create_database(name)
    server15.execute(BIG, name)
    before = databases(server15)
    with Side(server15, name).dump(PLAIN).open() as chunks:
        text = b"".join(chunks)
    twice = artifact(PLAIN, text.replace(b"\n500\n", b"\n499\n"))

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url("postgres"), [twice], database=f"{name}_new")

    assert "could not create unique index" in failure.value.message
    assert "ADD CONSTRAINT small_id_key" in failure.value.detail
    assert databases(server15) == before


def test_without_connections_for_more_one_session_restores_it(server15, restorer, name):
    server15.create_database(name)
    server15.execute(BIG, name)
    dump = Side(server15, name).dump(PLAIN)
    server15.execute(f"create role {name} login superuser password 'x'")
    server15.execute(f"alter role {name} nosuperuser createdb connection limit 3; grant postgres to {name}")

    done = restorer.restore(server15.url("postgres", user=name, password="x"), [dump], database=f"{name}_new")

    assert done.applied.counts == dump.rows_per_table
    assert any("no free connections" in note for note in done.applied.notes)

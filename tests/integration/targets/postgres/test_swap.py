"""SwapDatabase: the restored database takes the place of the old one, with its properties, or nothing moves."""

import psycopg
import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, STAMP, Side, assert_equal

SWAP = {"strategy": "SwapDatabase"}
PROPERTIES = """
select pg_get_userbyid(datdba), datacl::text, datconnlimit, datallowconn, shobj_description(oid, 'pg_database'),
       (select array_agg(coalesce(setrole::regrole::text, '') || ':' || setconfig::text order by 1)
        from pg_db_role_setting where setdatabase = d.oid)
from pg_database d where datname = '{}'
"""


def dressed(source):
    """A database with everything that is kept outside of it."""
    name = source.database
    source.server.execute(
        f"""
        alter database {name} owner to {name}_owner; alter database {name} connection limit 17;
        comment on database {name} is 'it''s ours'; revoke connect on database {name} from public;
        grant connect, temporary on database {name} to {name}_reader with grant option;
        alter database {name} set search_path = "$user", public, "App"; alter database {name} set work_mem = '8MB';
        alter role {name}_reader in database {name} set statement_timeout = '7s';
        """
    )
    return source.server.rows(PROPERTIES.format(name))


def names(server, source):
    return sorted(
        row[0] for row in server.rows(f"select datname from pg_database where datname ~ '^{source.database}'")
    )


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
def test_the_restored_database_takes_the_place_of_the_old_one(server, everything, restorer, kind):
    source = everything(server)
    wanted = dressed(source)
    dump = source.dump(kind)
    server.execute("delete from users", source.database)
    session = server.connect(source.database)

    done = restorer.restore(server.url(source.database), [dump], confirm=source.database, **SWAP)

    before = f"{source.database}_before_{STAMP}"
    assert names(server, source) == [source.database, before]
    assert server.rows(PROPERTIES.format(source.database)) == wanted
    assert server.rows("select count(*) from users", source.database) == [(250,)]
    assert server.rows("select count(*) from users", before) == [(0,)]
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")
    assert any(str(session.info.backend_pid) in line for line in done.plan.lines)


def test_a_setting_taken_away_since_the_backup_does_not_come_back(server15, everything, restorer):
    source = everything(server15)
    old = [{"role": "", "setting": "statement_timeout=1s"}, {"role": "", "setting": "work_mem=9MB"}]
    dump = source.dump(CUSTOM, server={**source.facts(), "databaseSettings": old})
    server15.execute(f"alter database {source.database} set work_mem = '8MB'")
    wanted = server15.rows(PROPERTIES.format(source.database))

    restorer.restore(server15.url(source.database), [dump], confirm=source.database, **SWAP)

    assert server15.rows(PROPERTIES.format(source.database)) == wanted


def test_its_content_is_that_of_the_backup(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(CUSTOM)

    restorer.restore(server15.url(source.database), [dump], confirm=source.database, **SWAP)

    assert_equal(Side(server15, f"{source.database}_before_{STAMP}"), source)


def test_the_commands_that_undo_it_do(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    server15.execute("delete from users", source.database)
    done = restorer.restore(server15.url(source.database), [dump], confirm=source.database, **SWAP)

    undone = server15.psql("\n".join(done.applied.undo).encode(), "postgres")

    assert undone.returncode == 0, undone.stderr
    assert server15.rows("select count(*) from users", source.database) == [(0,)]
    assert names(server15, source) == [source.database, f"{source.database}_restored_{STAMP}"]


def test_an_undo_that_is_refused_loses_nothing_though_all_its_lines_are_typed(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    done = restorer.restore(server15.url(source.database), [dump], confirm=source.database, **SWAP)
    lines = [line for line in done.applied.undo if not line.startswith("SELECT")]

    with server15.connect(source.database):
        server15.psql("\n".join(lines).encode(), "postgres", stop=False)

    assert names(server15, source) == [source.database, f"{source.database}_before_{STAMP}"]


def test_a_second_rename_that_fails_leaves_the_database_open_under_its_name(server15, everything, restorer):
    source = everything(server15)
    wanted = dressed(source)
    dump = source.dump(PLAIN)
    holders = []

    def hold(step):
        if step == "swap":
            holders.append(server15.connect(f"{source.database}_restoring_{STAMP}"))

    target = restorer.target(server15.url(source.database), confirm=source.database, **SWAP)
    target.survey([dump])
    with pytest.raises(TargetError) as failure:
        target.apply([dump], hold)

    assert failure.value.reason is Reason.TARGET_IN_USE
    assert "nothing else was touched" in failure.value.message
    assert names(server15, source) == [source.database]
    assert server15.rows(PROPERTIES.format(source.database)) == wanted
    assert server15.rows("select 1", source.database) == [(1,)]


def test_counts_that_differ_leave_the_database_alone(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN, rows_per_table={**source.rows(), "public.users": 3})
    session = server15.connect(source.database)

    with pytest.raises(TargetError) as failure:
        restorer.restore(server15.url(source.database), [dump], confirm=source.database, **SWAP)

    assert failure.value.reason is Reason.CHECK_FAILED
    assert names(server15, source) == [source.database]
    assert session.execute("select 1").fetchall() == [(1,)]


def test_a_missing_database_is_an_obstacle(server15, everything, restorer):
    source = everything(server15)

    plan = restorer.target(server15.url("nowhere"), **SWAP).survey([source.dump(PLAIN)])

    assert plan.obstacles == ("The server has no database 'nowhere': use strategy NewDatabase.",)


def test_a_role_that_may_not_create_databases_is_told_so(server15, everything, restorer, name):
    source = everything(server15)
    server15.execute(f"create role {name}_login login password 'x'")

    plan = restorer.target(
        server15.url(source.database, user=f"{name}_login", password="x"), missing_roles="LeaveOut", **SWAP
    ).survey([source.dump(PLAIN)])

    assert "may not create databases" in plan.obstacles[0]

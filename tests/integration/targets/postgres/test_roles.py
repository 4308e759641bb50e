"""Roles that the target lacks: they stop a restore, are left out, or are made from the backup's globals."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, PLAIN, Side, artifact

IN_PLACE = {"strategy": "InPlace"}


@pytest.fixture
def elsewhere(server15, server17, everything, name):
    """The backup of a server whose roles the target does not have, and an empty database there."""
    source = everything(server15)
    server17.create_database(f"{name}_t")
    return source, Side(server17, f"{name}_t")


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("strategy", ["NewDatabase", "SwapDatabase", "InPlace"])
def test_missing_roles_stop_it_by_name(elsewhere, restorer, name, kind, strategy):
    source, target = elsewhere
    made = "" if strategy != "NewDatabase" else f"{name}_x"

    with pytest.raises(TargetError) as failure:
        restorer.restore(
            target.server.url(target.database),
            [source.dump(kind)],
            confirm=target.database,
            strategy=strategy,
            database=made,
        )

    assert failure.value.reason is Reason.ROLES_MISSING
    assert f"lacks the roles {name}_owner, {name}_reader" in failure.value.message
    assert "Nothing was changed" in failure.value.message


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("strategy", ["NewDatabase", "InPlace"])
def test_missing_roles_are_left_out_and_counted_when_that_is_said(elsewhere, restorer, name, kind, strategy):
    source, target = elsewhere
    made = target.database if strategy == "InPlace" else f"{name}_x"

    done = restorer.restore(
        target.server.url(target.database),
        [source.dump(kind)],
        confirm=target.database,
        strategy=strategy,
        database=made,
        missing_roles="LeaveOut",
    )

    owners = target.server.rows("select tableowner from pg_tables where tablename = 'users'", made)
    policies = target.server.rows("select policyname from pg_policies", made)
    left_out = next(note for note in done.applied.notes if "left out, by role" in note)
    assert owners == [("postgres",)]
    assert policies == [("own",)]
    assert f"{name}_owner (" in left_out
    assert f"{name}_reader (" in left_out
    assert dict(Side(target.server, made).rows()) == dict(source.rows())


@pytest.mark.parametrize("strategy", ["NewDatabase", "InPlace"])
def test_globals_make_missing_roles_and_leave_others_their_passwords(
    elsewhere, server15, server17, restorer, name, strategy
):
    source, target = elsewhere
    server15.execute(f"alter role {name}_owner login password 'of the backup' connection limit 3")
    server15.execute(f"grant {name}_reader to {name}_owner; create role {name}_kept login password 'of the backup'")
    server15.execute(f"grant select on users to {name}_kept", source.database)
    server17.execute(f"create role {name}_kept login password 'of the target'")
    made = target.database if strategy == "InPlace" else f"{name}_x"

    done = restorer.restore(
        server17.url(target.database),
        [source.dump(PLAIN), source.globals()],
        confirm=target.database,
        strategy=strategy,
        database=made,
        globals=True,
    )

    server17.execute("select 1", "postgres", user=f"{name}_owner", password="of the backup")
    server17.execute("select 1", "postgres", user=f"{name}_kept", password="of the target")
    assert server17.rows(f"select rolconnlimit from pg_roles where rolname = '{name}_owner'") == [(3,)]
    assert server17.rows(f"select pg_has_role('{name}_owner', '{name}_reader', 'MEMBER')") == [(True,)]
    assert server17.rows("select tableowner from pg_tables where tablename = 'users'", made) == [(f"{name}_owner",)]
    assert any(f"{name}_owner, {name}_reader" in line for line in done.plan.lines)


def test_globals_that_are_wanted_and_not_in_the_backup_are_told(server15, everything, restorer, name):
    source = everything(server15)

    done = restorer.restore(server15.url(source.database), [source.dump(PLAIN)], database=f"{name}_x", globals=True)

    assert any("holds no globals" in line for line in done.plan.lines)


def test_a_role_whose_name_ends_in_a_quote_is_made_from_the_globals(elsewhere, server15, server17, restorer, name):
    source, target = elsewhere
    server15.execute(f'create role "{name} ""x"""; grant select on users to "{name} ""x"""', source.database)

    restorer.restore(
        server17.url(target.database), [source.dump(PLAIN), source.globals()], database=f"{name}_x", globals=True
    )

    assert server17.rows(f"""select count(*) from pg_roles where rolname = '{name} "x"'""") == [(1,)]


def test_a_role_without_rights_over_an_owner_is_told_which_to_grant(server15, everything, restorer, name):
    source = everything(server15)
    server15.execute(f"create role {name}_maker createdb login password 'x'")

    plan = restorer.target(server15.url("postgres", user=f"{name}_maker", password="x"), database=f"{name}_x").survey(
        [source.dump(PLAIN)]
    )

    assert "does not let ours give objects to the roles" in plan.obstacles[0]
    assert f"{name}_owner" in plan.obstacles[0]


def test_settings_that_the_backup_recorded_are_those_of_the_new_database(server15, restorer, name):
    settings = [{"role": "", "setting": 'search_path="$user", other'}, {"setting": "work_mem=9MB"}]
    dump = artifact(PLAIN, b"CREATE TABLE public.a ();\n", server={"databaseSettings": settings}, rows_per_table={})

    restorer.restore(server15.url("postgres"), [dump], database=name)

    with server15.connect(name) as connection:
        assert connection.execute("show search_path").fetchone() == ('"$user", other',)
        assert connection.execute("show work_mem").fetchone() == ("9MB",)


def test_a_locale_that_the_server_lacks_is_replaced_and_told(server15, restorer, name):
    facts = {"encoding": "LATIN1", "collation": "xx_XX.nowhere", "characterType": "xx_XX.nowhere"}
    dump = artifact(PLAIN, b"CREATE TABLE public.a ();\n", server=facts, rows_per_table={})

    done = restorer.restore(server15.url("postgres"), [dump], database=name)

    assert any("xx_XX.nowhere" in note for note in done.applied.notes)


def test_an_extension_that_the_server_lacks_is_an_obstacle(server15, restorer, name):
    dump = artifact(PLAIN, b"CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n", rows_per_table={})

    plan = restorer.target(server15.url("postgres"), database=name).survey([dump])

    assert "lacks the extensions postgis" in plan.obstacles[0]

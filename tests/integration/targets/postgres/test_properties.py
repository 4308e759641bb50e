"""What is kept beside a database's content: recorded by a backup, given back by a restore into a new database."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from backup_operator.contract.order import PostgresOrder, SecretFile
from backup_operator.worker.sources.postgres import PostgresSource
from backup_operator.worker.targets.base import RestoredArtifact
from tests.integration.targets.postgres.conftest import PLAIN, Side, artifact, assert_equal
from tests.integration.targets.postgres.test_swap import PROPERTIES, dressed
from tests.support.postgres_server import PostgresServer

LOCALE = "select pg_encoding_to_char(encoding), datcollate, datctype, {} from pg_database where datname = '{}'"


@pytest.fixture
def back_up(tmp_path: Path, clients: Path) -> Callable[..., RestoredArtifact]:
    """Backs up as the worker does; the artifact has what its entry would have recorded."""

    def make(url: str, **order: object) -> RestoredArtifact:
        secret, scratch = tmp_path / "source", tmp_path / "backing-up"
        secret.write_text(url)
        scratch.mkdir(exist_ok=True)
        made = PostgresOrder.model_validate(
            {"url": SecretFile(path=str(secret), described="DB_URL"), "profile": "Generic", **order}
        )
        with closing(PostgresSource(made, scratch=scratch, clients_root=clients)) as source:
            facts = source.preflight()
            dump = source.dumps()[0]
            with dump.stream() as chunks:
                text = b"".join(chunks)
            with dump.inspector() as inspector:
                inspector.update(text)
                rows = inspector.finish().rows_per_table
        return artifact(dump.kind, text, rows_per_table=rows, server=facts.server)

    return make


@pytest.mark.parametrize("dump_format", ["Plain", "Custom"])
def test_a_new_database_has_them_all(server, everything, restorer, back_up, dump_format):
    source = everything(server)
    wanted = dressed(source)

    done = restorer.restore(
        server.url("postgres"),
        [back_up(server.url(source.database), format=dump_format)],
        database=f"{source.database}_new",
    )

    assert server.rows(PROPERTIES.format(f"{source.database}_new")) == wanted
    assert_equal(source, Side(server, f"{source.database}_new"))
    assert any(f"owner {source.database}_owner, connection limit 17" in line for line in done.plan.lines)
    assert [note for note in done.applied.notes if "left out" in note] == []


def test_values_of_an_applications_own_settings_are_recorded_nowhere(server15, everything, restorer, back_up):
    source = everything(server15)
    server15.execute(f"alter database {source.database} set app.jwt_secret = 'hush'; select 1")
    dump = back_up(server15.url(source.database))

    plan = restorer.target(server15.url("postgres"), database=f"{source.database}_new").survey([dump])

    assert "hush" not in str(dump.server)
    assert any("set them by hand: app.jwt_secret" in line for line in plan.lines)


def test_roles_that_the_server_lacks_are_named_and_the_rest_comes_back(
    server15, server17, everything, restorer, back_up, name
):
    source = everything(server15)
    dressed(source)
    dump = back_up(server15.url(source.database))

    done = restorer.restore(server17.url("postgres"), [dump], database=name, missing_roles="LeaveOut")

    assert any(f"The server lacks {name}_owner, {name}_reader" in line for line in done.plan.lines)
    assert any(f"The role {name}_owner is missing" in note for note in done.applied.notes)
    assert server17.rows(f"select datconnlimit, pg_get_userbyid(datdba) from pg_database where datname = '{name}'") == [
        (17, "postgres")
    ]


@pytest.mark.parametrize(
    "case",
    [
        (15, "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'", "datlocprovider::text"),
        (15, "locale_provider icu icu_locale 'de-u-co-phonebk'", "datlocprovider::text || daticulocale"),
        (17, "locale_provider builtin builtin_locale 'C.UTF-8'", "datlocprovider::text || datlocale"),
    ],
    ids=["another encoding", "ICU", "builtin"],
)
def test_its_encoding_and_locale_are_the_sources(servers, restorer, back_up, name, case):
    major, options, column = case
    server: PostgresServer = servers(major)
    server.create_database(name, f"{options} template template0")
    server.execute("create table words as select 'Ähre' as word", name)

    restorer.restore(server.url("postgres"), [back_up(server.url(name))], database=f"{name}_new")

    assert server.rows(LOCALE.format(column, f"{name}_new")) == server.rows(LOCALE.format(column, name))
    with server.connect(f"{name}_new") as connection:
        assert connection.execute("select word from words").fetchone() == ("Ähre",)


def test_a_provider_of_locales_that_an_older_server_lacks_is_replaced_and_told(
    server15, server17, restorer, back_up, name
):
    server17.create_database(name, "locale_provider builtin builtin_locale 'C.UTF-8' template template0")
    server17.execute("create table words as select 'Ähre' as word", name)

    done = restorer.restore(server15.url("postgres"), [back_up(server17.url(name))], database=name)

    assert any("no locale 'C.UTF-8' of the provider builtin" in note for note in done.applied.notes)
    assert server15.rows("select word from words", name) == [("Ähre",)]


def test_a_database_that_another_restore_is_building_is_left_to_it(server15, everything, restorer, name):
    source = everything(server15)
    dump = source.dump(PLAIN)
    target = restorer.target(server15.url("postgres"), database=f"{name}_x")
    target.survey([dump])
    building = f"{name}_x_restoring_20231201_020000"
    server15.create_database(building)

    with pytest.raises(Exception, match="another restore builds it") as failure:
        target.apply([dump], lambda _: None)

    assert "Nothing was changed" in str(failure.value)
    assert server15.rows("select 1", building) == [(1,)]


def test_what_a_killed_restore_left_is_named_with_the_command_that_drops_it(server15, everything, restorer, name):
    source = everything(server15)
    left, busy = f"{name}_a_restoring_20231130_010203", f"{name}_b_restoring_20231130_010203"
    server15.create_database(left)
    server15.create_database(busy)
    with server15.connect(busy):
        plan = restorer.target(server15.url("postgres"), database=f"{name}_x").survey([source.dump(PLAIN)])

    command = f'DROP DATABASE "{left}";'
    assert any("nobody is in them" in line and command in line for line in plan.lines)
    assert any("Being built by another restore now" in line and busy in line for line in plan.lines)
    server15.execute(command)
    with pytest.raises(psycopg.OperationalError):
        server15.connect(left)

"""Dumps of real servers: what they hold is counted, and stock tools restore it."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, DumpFormat
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.sources.postgres_archive import ArchiveReader
from tests.integration.postgres.conftest import Workplace, inspect
from tests.support.postgres_server import PostgresServer, clients_root, wait_until

EVERYTHING = (Path(__file__).parent / "everything.sql").read_text()
TABLES = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in ('public', 'App')
"""


def counts(server: PostgresServer, database: str) -> dict[str, int]:
    tables = [row[0] for row in server.rows(TABLES, database)]
    return {table: server.rows(f"select count(*) from only {table}", database)[0][0] for table in tables}


def restore(server: PostgresServer, database: str, text: bytes, dump_format: DumpFormat):
    server.create_database(database, "template template0")
    if dump_format is DumpFormat.PLAIN:
        return server.psql(text, database)
    return server.run("pg_restore", "--exit-on-error", "--dbname", database, script=text)


@pytest.fixture
def database(server, name):
    server.create_database(name)
    server.execute(EVERYTHING, name)
    return name


@pytest.mark.parametrize("dump_format", DumpFormat)
def test_a_dump_of_everything_is_counted_and_restores_with_stock_tools(server, workplace, database, dump_format):
    backup = workplace.back_up(server.url(database), format=dump_format)

    restored = restore(server, f"{database}_r", backup.texts[0], dump_format)
    assert restored.stderr.decode() == ""
    expected = counts(server, database)
    assert backup.rows == expected
    assert counts(server, f"{database}_r") == expected
    assert server.rows("select count(*) from pg_largeobject_metadata", f"{database}_r") == [(2,)]
    assert sum(expected.values()) == 250 + 300 + 1 + 2 + 3


@pytest.mark.parametrize("dump_format", DumpFormat)
def test_a_dump_cut_anywhere_is_refused(server, workplace, database, dump_format):
    backup = workplace.back_up(server.url(database), format=dump_format)
    text, dump = backup.texts[0], backup.dumps[0]

    # the plain dump's last two bytes are an empty line and a newline, which hold nothing
    ends = [*range(0, len(text) - 2, max(1, len(text) // 60)), len(text) - 2 * (dump_format is DumpFormat.PLAIN) - 1]
    for end in ends:
        with pytest.raises(DumpIncomplete):
            inspect(dump, text[:end])


def test_a_custom_archive_with_broken_bytes_is_refused(server15, workplace, name):
    server15.create_database(name)
    server15.execute("create table t as select i, repeat('x', 50) from generate_series(1, 1000) i", name)
    backup = workplace.back_up(server15.url(name), format=DumpFormat.CUSTOM)
    text, dump = backup.texts[0], backup.dumps[0]

    for place in (0, 5, 8, 10, len(text) - 1):
        broken = text[:place] + bytes([text[place] ^ 0xFF]) + text[place + 1 :]
        with pytest.raises((DumpIncomplete, SourceError)):
            inspect(dump, broken)


def test_globals_are_an_artifact_of_their_own_and_restore(server, workplace, name):
    server.create_database(name)
    server.execute(f"create table t (); create role {name} login password 'pw-of-the-role'", name)

    backup = workplace.back_up(server.url(name), globals=True)

    assert [dump.kind for dump in backup.dumps] == [ArtifactKind.POSTGRES_PLAIN, ArtifactKind.POSTGRES_GLOBALS]
    assert f"CREATE ROLE {name};".encode() in backup.texts[1]
    assert b"PASSWORD 'SCRAM-SHA-256$" in backup.texts[1]
    with PostgresServer(major=server.major) as fresh:
        assert fresh.psql(backup.texts[1], "postgres", stop=False).returncode == 0
        assert fresh.rows(f"select count(*) from pg_roles where rolname = '{name}'") == [(1,)]
    with pytest.raises(DumpIncomplete):
        inspect(backup.dumps[1], backup.texts[1][:-50])


def test_globals_without_the_right_to_read_passwords_have_none(server, workplace, name):
    server.create_database(name)
    server.execute(f"create table t (); create role {name} login password 'pw'; grant all on t to {name}", name)

    backup = workplace.back_up(server.url(name, user=name, password="pw"), globals=True)

    assert f"CREATE ROLE {name};".encode() in backup.texts[1]
    assert b"PASSWORD" not in backup.texts[1]


def test_the_facts_tell_what_the_entry_records(server, workplace, database):
    facts = workplace.back_up(server.url(database)).facts

    assert facts.server["version"] == server.rows("show server_version")[0][0]
    assert facts.server["database"] == database
    assert facts.server["encoding"] == "UTF8"
    assert set(facts.server["extensions"]) == {"plpgsql", "hstore"}
    assert facts.server["inRecovery"] is False
    assert facts.client["tool"] == "pg_dump"
    assert str(facts.client["version"]).startswith(f"{server.major}.")
    assert facts.encrypted_connection is False
    assert facts.warnings == (f"The connection to 127.0.0.1:{server.port} is not encrypted (no TLS).",)
    assert facts.estimated_bytes
    assert facts.estimated_bytes > 1 << 20


@pytest.mark.parametrize(("major", "clients", "nearest"), [(16, (15, 17, 18), "17."), (15, (17, 18), "17.")])
def test_an_older_server_is_read_with_the_nearest_newer_client(tmp_path, major, clients, nearest):
    with PostgresServer(major=major) as old:
        old.execute("create table t as select generate_series(1, 5) i")

        backup = Workplace(tmp_path, clients_root(tmp_path / "clients", *clients)).back_up(old.url())

    assert backup.rows == {"public.t": 5}
    assert str(backup.facts.client["version"]).startswith(nearest)


def test_a_standby_is_backed_up_without_its_unlogged_rows(workplace):
    with PostgresServer(major=15) as server:
        server.execute("create table t as select generate_series(1, 5) i; create unlogged table u as select 1 as i")
        server.stop()
        (server.directory / "data/standby.signal").touch()
        server.start()

        backup = workplace.back_up(server.url())

    assert backup.facts.server["inRecovery"] is True
    assert backup.rows == {"public.t": 5}


def test_foreign_tables_are_named_since_their_rows_are_elsewhere(server15, workplace, name):
    server15.create_database(name)
    server15.execute(
        "create extension postgres_fdw; create server other foreign data wrapper postgres_fdw;"
        "create foreign table far (i integer) server other; create table near ()",
        name,
    )

    backup = workplace.back_up(server15.url(name))

    assert backup.rows == {"public.near": 0}
    assert backup.facts.warnings[-1] == (
        "Rows of the foreign table public.far are on another server and not in the backup."
    )


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_archive_is_read_wherever_chunks_end(server, workplace, database, size):
    backup = workplace.back_up(server.url(database), format=DumpFormat.CUSTOM)
    text = backup.texts[0]

    reader = ArchiveReader()
    for start in range(0, len(text), size):
        reader.update(text[start : start + size])

    assert reader.finish() == backup.contents[0]


@pytest.mark.parametrize("dump_format", DumpFormat)
def test_filters_are_exact(server, workplace, name, dump_format):
    server.create_database(name)
    for table in ("users", '"Users"', '"u*"', '"a.b"', '"q?[x]$"', '"two\nlines"', '"sch""q"', "kept"):
        server.execute(f"create table {table} as select 1 as i", name)
    server.execute('create schema "S.*"; create table "S.*".inside as select 1 as i; create schema sx', name)
    server.execute("create table sx.inside as select 1 as i", name)
    tables = ['"Users"', '"u*"', '"a.b"', '"q?[x]$"', '"two\nlines"', '"sch""q"']

    backup = workplace.back_up(
        server.url(name),
        format=dump_format,
        tables={"exclude": tables, "exclude_data": ["users"]},
        schemas={"exclude": ["S.*"]},
    )

    assert backup.rows == {"public.kept": 1, "sx.inside": 1}
    restored = restore(server, f"{name}_r", backup.texts[0], dump_format)
    assert restored.returncode == 0
    assert server.rows(
        "select relname::text from pg_class where relkind = 'r' and oid > 16383 order by 1", f"{name}_r"
    ) == [
        ("inside",),
        ("kept",),
        ("users",),
    ]


def test_included_schemas_restore_with_their_extensions_and_large_objects(server, workplace, name):
    server.create_database(name)
    server.execute("create extension hstore; create schema a; create schema b; select lo_create(77)", name)
    server.execute("create table a.t (h hstore); insert into a.t values ('a=>1'); create table b.t ()", name)

    backup = workplace.back_up(server.url(name), schemas={"include": ["a", "public"]})

    restored = restore(server, f"{name}_r", backup.texts[0], DumpFormat.PLAIN)
    assert restored.stderr.decode() == ""
    assert backup.rows == {"a.t": 1}
    assert server.rows("select count(*) from pg_largeobject_metadata", f"{name}_r") == [(1,)]


def test_a_partitioned_table_is_left_out_with_its_partitions(server, workplace, database):
    backup = workplace.back_up(server.url(database), tables={"exclude": ["conversations"]})

    assert not [table for table in backup.rows if "conversations" in table]
    assert restore(server, f"{database}_r", backup.texts[0], DumpFormat.PLAIN).returncode == 0


@pytest.mark.parametrize("dump_format", DumpFormat)
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_names_of_other_encodings_are_filtered_and_counted(server15, workplace, name, encoding, dump_format):
    server15.create_database(name, f"encoding '{encoding}' locale 'C' template template0")
    for table in ('"schön"', '"grün"'):
        server15.execute(f"create table {table} as select 1 as i", name)

    backup = workplace.back_up(server15.url(name), format=dump_format, tables={"exclude": ['"schön"']})

    assert backup.rows == {'public."grün"': 1}


def test_bytes_that_are_no_text_pass_through_a_database_without_encoding(server15, workplace, name):
    server15.create_database(name, "encoding 'SQL_ASCII' locale 'C' template template0")
    server15.execute("set client_encoding to 'SQL_ASCII'; create table t as select E'\\xff\\xfe' as a", name)

    backup = workplace.back_up(server15.url(name))

    assert b"\xff\xfe\n" in backup.texts[0]


def test_leaving_the_stream_early_ends_pg_dump(server15, workplace, name):
    server15.create_database(name)
    server15.execute("create table t as select repeat('x', 1000) from generate_series(1, 50000)", name)
    source = workplace.source(server15.url(name))
    source.preflight()

    with source.dumps()[0].stream() as chunks:
        next(iter(chunks))
    source.close()

    active = f"select 1 from pg_stat_activity where datname = '{name}' and application_name = 'backup-operator'"
    wait_until(lambda: server15.rows(active) == [], "the end of pg_dump's session")


def test_no_secret_is_in_command_line_or_environment(server15, workplace, name):
    server15.create_database(name)
    server15.execute("create table t as select repeat('x', 1000) from generate_series(1, 50000)", name)
    server15.execute("create role secretive superuser login password 'quite:a\\secret'")
    source = workplace.source(server15.url(name, user="secretive", password="quite:a\\secret"))
    source.preflight()

    with source.dumps()[0].stream() as chunks:
        next(iter(chunks))
        seen = b"".join(_read_of_children("cmdline") + _read_of_children("environ"))
    source.close()

    assert b"pg_dump" in seen
    assert b"quite" not in seen


def _read_of_children(what: str) -> list[bytes]:
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.append(Path(f"/proc/{child}/{what}").read_bytes())
    return found


def test_the_password_file_is_private(server15, workplace, name):
    server15.create_database(name)
    server15.execute("create table t ()", name)
    source = workplace.source(server15.url(name))
    source.preflight()

    modes = {path.name: path.stat().st_mode & 0o777 for path in (workplace.directory / "scratch").iterdir()}

    source.close()
    assert modes == {"pgpass": 0o600}


def test_workplaces_do_not_depend_on_the_home_directory(server15, tmp_path, clients, name, monkeypatch):
    monkeypatch.setenv("HOME", tempfile.gettempdir() + "/nowhere")
    server15.create_database(name)
    server15.execute("create table t ()", name)

    assert Workplace(tmp_path, clients).back_up(server15.url(name)).rows == {"public.t": 0}

"""A server laid out like Supabase's: the profile's backup succeeds where a plain pg_dump fails, and restores."""

from pathlib import Path

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, DumpFormat
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from tests.support.postgres_server import PostgresServer

SUPPORT = Path(__file__).parents[2] / "support"
LAYOUT = (SUPPORT / "supabase_like.sql").read_text()
CONTENT = (SUPPORT / "supabase_like_content.sql").read_text()
PASSWORD = "of postgres"
OWN = """
create trigger on_auth_user_created after insert on auth.users for each row execute function public.make_profile();
create policy "Avatars are public" on storage.objects for select to anon using (bucket_id = 'avatars');
"""


def supabase_like(major: int = 15) -> PostgresServer:
    return PostgresServer(major=major, superuser="supabase_admin")


def lay_out(server: PostgresServer) -> None:
    server.execute("select 1")
    assert server.psql(LAYOUT.encode(), "postgres").stderr.decode() == ""
    server.execute(f"alter role postgres password '{PASSWORD}'")


@pytest.fixture(scope="module", params=[15, 17], ids=lambda major: f"PostgreSQL {major}")
def project(request):
    with supabase_like(request.param) as server:
        lay_out(server)
        server.execute(CONTENT, user="postgres", password=PASSWORD)
        server.execute(OWN)
        yield server


def url(server: PostgresServer) -> str:
    return server.url(user="postgres", password=PASSWORD)


def test_a_plain_pg_dump_fails_there(project):
    dumped = project.run("pg_dump", "--dbname", "postgres", user="postgres", password=PASSWORD)

    assert dumped.returncode != 0
    assert b"permission denied" in dumped.stderr


def test_without_the_profile_the_error_names_what_cannot_be_read(project, workplace):
    with pytest.raises(SourceError) as caught:
        workplace.back_up(url(project), profile="Generic")

    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert "_realtime" in caught.value.message


@pytest.mark.parametrize("dump_format", DumpFormat)
def test_the_profile_dumps_the_users_schemas_and_rows_of_auth_and_storage(project, workplace, dump_format):
    backup = workplace.back_up(url(project), profile="Supabase", format=dump_format)

    assert [dump.kind for dump in backup.dumps] == [
        ArtifactKind.POSTGRES_PLAIN if dump_format is DumpFormat.PLAIN else ArtifactKind.POSTGRES_CUSTOM,
        ArtifactKind.POSTGRES_PROVIDER_DATA,
    ]
    assert backup.rows == {"public.messages": 40, "public.profiles": 40}
    assert backup.contents[1].rows_per_table == {
        "auth.identities": 40,
        "auth.refresh_tokens": 0,
        "auth.users": 40,
        "storage.buckets": 1,
        "storage.objects": 15,
    }
    assert backup.facts.server["profile"] == "Supabase 1"


def test_the_rows_restore_with_psql_into_a_new_project(project, workplace):
    backup = workplace.back_up(url(project), profile="Supabase")

    with supabase_like(project.major) as fresh:
        lay_out(fresh)
        rows = fresh.psql(backup.texts[1], "postgres", user="postgres", password=PASSWORD)
        assert rows.stderr.decode() == ""
        assert rows.returncode == 0
        main = fresh.psql(backup.texts[0], "postgres", user="postgres", password=PASSWORD)
        assert [line for line in main.stderr.decode().splitlines() if "NOTICE" not in line] == []
        assert main.returncode == 0
        for table in ("auth.users", "auth.identities", "storage.objects", "public.profiles", "public.messages"):
            query = f"select md5(string_agg(t::text, '|' order by t::text)) from {table} t"
            assert fresh.rows(query) == project.rows(query), table
        foreign_keys = (
            "select conname from pg_constraint where contype = 'f' and conrelid = 'public.profiles'::regclass"
        )
        assert len(fresh.rows(foreign_keys)) == 1
        _run_commented_statements(fresh, backup.texts[1])
        assert fresh.rows("select count(*) from pg_trigger where tgname = 'on_auth_user_created'") == [(1,)]
        assert fresh.rows("select count(*) from pg_policies where schemaname = 'storage'") == [(1,)]
        assert fresh.rows("select tablename from pg_publication_tables order by 1") == [("messages",), ("profiles",)]


def _run_commented_statements(server: PostgresServer, text: bytes) -> None:
    lines = [line[5:] for line in text.decode().splitlines() if line.startswith("--   ")]
    assert server.psql("\n".join(lines[1:]).encode(), "postgres").stderr.decode() == ""


def test_both_dumps_see_one_snapshot(project, workplace):
    source = workplace.source(url(project), profile="Supabase")
    source.preflight()
    try:
        project.execute("insert into auth.users (email) values ('late@example.com')")
        texts = []
        for dump in source.dumps():
            with dump.stream() as chunks:
                texts.append(b"".join(chunks))
    finally:
        source.close()
        project.execute("delete from auth.users where email = 'late@example.com'")

    assert b"late@example.com" not in b"".join(texts)


def test_without_rights_on_a_storage_table_the_run_goes_on_and_says_so(project, workplace):
    roles = "postgres, anon, authenticated, service_role"
    project.execute(f"revoke all on storage.objects from {roles}")
    try:
        backup = workplace.back_up(url(project), profile="Supabase")
    finally:
        project.execute(f"grant all on storage.objects to {roles}")

    assert "Rows of storage.objects are not in the backup: the role may not read them." in backup.facts.warnings

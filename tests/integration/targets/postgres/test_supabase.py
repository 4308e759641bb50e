"""In place on a server like Supabase's: one database, a role that is no superuser, schemas of others that stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_operator.contract.order import PostgresOrder, SecretFile
from backup_operator.worker.sources.postgres import PostgresSource
from backup_operator.worker.targets.base import RestoredArtifact
from tests.integration.targets.postgres.conftest import artifact
from tests.support.postgres_server import PostgresServer

SUPPORT = Path(__file__).parents[3] / "support"
PASSWORD = "of postgres"
OWN = """
create trigger on_auth_user_created after insert on auth.users for each row execute function public.make_profile();
create policy "Avatars are public" on storage.objects for select to anon using (bucket_id = 'avatars');
"""
TABLES = ("auth.users", "auth.identities", "storage.objects", "public.profiles", "public.messages")


@pytest.fixture(params=[15, 17], ids=lambda major: f"PostgreSQL {major}")
def project(request) -> Iterator[PostgresServer]:
    with PostgresServer(major=request.param, superuser="supabase_admin") as server:
        assert server.psql((SUPPORT / "supabase_like.sql").read_bytes(), "postgres").stderr == b""
        server.execute(f"alter role postgres password '{PASSWORD}'")
        server.execute((SUPPORT / "supabase_like_content.sql").read_text(), user="postgres", password=PASSWORD)
        server.execute(OWN)
        yield server


def back_up(server: PostgresServer, directory: Path, clients: Path, **order) -> list[RestoredArtifact]:
    secret = directory / "source"
    secret.write_text(server.url(user="postgres", password=PASSWORD))
    made = PostgresOrder.model_validate(
        {"url": SecretFile(path=str(secret), described="DB_URL"), "profile": "Supabase", **order}
    )
    (directory / "dumps").mkdir()
    source = PostgresSource(made, scratch=directory / "dumps", clients_root=clients)
    facts = source.preflight()
    found = []
    for dump in source.dumps():
        with dump.stream() as chunks:
            text = b"".join(chunks)
        with dump.inspector() as inspector:
            inspector.update(text)
            contents = inspector.finish()
        found.append(artifact(dump.kind, text, rows_per_table=contents.rows_per_table, server=facts.server))
    source.close()
    return found


def contents(server: PostgresServer) -> dict[str, object]:
    return {
        table: server.rows(f"select md5(string_agg(t::text, '|' order by t::text)) from {table} t") for table in TABLES
    }


@pytest.mark.parametrize("dump_format", ["Plain", "Custom"])
def test_rows_are_back_and_what_is_supabases_stays(project, restorer, tmp_path, clients, dump_format):
    artifacts = back_up(project, tmp_path, clients, format=dump_format)
    wanted = contents(project)
    project.execute("delete from auth.identities; delete from public.messages; delete from public.profiles cascade")
    project.execute("delete from auth.users; drop table public.messages")

    done = restorer.restore(
        project.url(user="postgres", password=PASSWORD), artifacts, confirm="postgres", strategy="InPlace"
    )

    assert contents(project) == wanted
    assert project.rows("select count(*) from pg_trigger where tgname = 'on_auth_user_created'") == [(1,)]
    assert project.rows("select count(*) from pg_policies where schemaname = 'storage'") == [(1,)]
    assert "auth.users" in done.plan.pinned["rowsReplaced"]
    assert {"schema auth", "schema storage"} <= set(done.plan.pinned["kept"])
    assert done.applied.counts["auth.users"] == project.rows("select count(*) from auth.users")[0][0]

"""A server laid out like Supabase's, on the cluster: the profile's backup succeeds where a plain pg_dump fails."""

from pathlib import Path

import pytest

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.opening import Opener, file_of
from tests.support.policies import RUN_SECONDS, Policy
from tests.support.restores import Restore, into_postgres, of_policy, restore_request
from tests.support.servers import Servers
from tests.support.shell import LocalShell, ProgramFailed

SUPPORT = Path(__file__).resolve().parents[1] / "support"
LAYOUT = (SUPPORT / "supabase_like.sql").read_bytes()
CONTENT = (SUPPORT / "supabase_like_content.sql").read_bytes()
ADMIN = "supabase_admin"
PASSWORD = "of the role postgres"
ROWS = {
    "auth.identities": 40,
    "auth.users": 40,
    "public.messages": 40,
    "public.profiles": 40,
    "storage.buckets": 1,
    "storage.objects": 15,
}
SCHEMAS = b"""
SELECT nspname, pg_get_userbyid(nspowner), nspacl FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1;
SELECT c.oid::regclass, pg_get_userbyid(relowner), relacl FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE nspname !~ '^(pg_|information_schema)' AND relkind IN ('r', 'S', 'v') ORDER BY c.oid::regclass::text;
SELECT pubname, pg_get_userbyid(pubowner), pr.prrelid::regclass FROM pg_publication p
  LEFT JOIN pg_publication_rel pr ON pr.prpubid = p.oid ORDER BY 1, 3;
SELECT evtname, pg_get_userbyid(evtowner), evtenabled FROM pg_event_trigger ORDER BY 1;
SELECT extname, pg_get_userbyid(extowner) FROM pg_extension ORDER BY 1;
"""
"""Who owns what, and who may do what with it."""


@pytest.fixture(scope="module")
def project(module_namespace: Namespace) -> Servers:
    """A project with content, Secret `app` for its role postgres, which is no superuser, and claim `backups`."""
    space = module_namespace
    made = Servers(space, PASSWORD)
    space.apply(
        objects.secret("server", {"password": "of the admin"}),
        made.app_secret(SUPABASE_DB_URL=made.postgres_url("postgres")),
        objects.claim("backups"),
        *objects.postgres_server(superuser=ADMIN),
    )
    space.wait_for_pod("postgres")
    lay_out(space.shell("postgres"))
    run_sql(space.shell("postgres"), CONTENT, user="postgres")
    return made


def run_sql(shell: LocalShell, script: bytes, *, user: str) -> str:
    """What psql prints; the first error ends it."""
    login = (f"--host={objects.SOCKETS}", f"--username={user}", "--dbname=postgres")
    return shell.run("psql", "-XAtq", "--set=ON_ERROR_STOP=1", *login, stdin=script).decode()


def lay_out(shell: LocalShell) -> None:
    """A new project in the pod's server."""
    run_sql(shell, LAYOUT, user=ADMIN)
    run_sql(shell, f"ALTER ROLE postgres PASSWORD '{PASSWORD}'".encode(), user=ADMIN)


def test_a_plain_pg_dump_fails_there(project: Servers):
    with pytest.raises(ProgramFailed, match="permission denied"):
        project.namespace.shell("postgres").run("pg_dump", *objects.POSTGRES, "postgres")


def test_without_the_profile_the_run_names_what_it_may_not_read(project: Servers):
    project.namespace.apply(objects.backup_policy("generic", objects.postgres_source(profile="Generic")))
    policy = Policy(project.namespace, "generic")

    policy.start("generic-now")

    policy.wait_for("LastRunSucceeded", "False", "PermissionDenied", timeout_seconds=RUN_SECONDS)


def test_the_profile_s_backup_opens_into_a_new_project_with_the_rows_of_auth_and_storage(project: Servers):
    space = project.namespace
    space.apply(objects.backup_policy("project", objects.postgres_source(profile="Supabase")))

    good = Policy(space, "project").back_up("project-now")

    space.apply(objects.with_superuser(objects.opener("opener", "backups", "app"), ADMIN))
    space.wait_for_pod("opener")
    opened, store = Opener(space, "opener"), f"{space.name}/project"
    entry = opened.entry(store, good["name"])
    counted = {table: rows for one in entry["artifacts"] for table, rows in one["rows_per_table"].items()}
    assert {table: rows for table, rows in counted.items() if rows} == ROWS
    lay_out(space.shell("opener"))
    for kind in ("PostgresProviderData", "PostgresPlain"):
        file = file_of(entry, kind)
        load = f"psql -Xq --output=/dev/null --set=ON_ERROR_STOP=1 {' '.join(objects.POSTGRES)} --dbname=postgres"
        opened.bash(f"{opened.decrypt(store, file)} | gunzip | {load}")
    sums = [run_sql(space.shell(pod), _checksums(), user=ADMIN) for pod in ("postgres", "opener")]
    assert sums[0] == sums[1]
    assert len(sums[0].splitlines()) == len(ROWS)


def test_in_place_the_rows_are_back_and_what_is_the_provider_s_stays(project: Servers):
    """As the role postgres, no superuser, in the one database; what was there before comes back by status.undo."""
    space, server = project.namespace, project.namespace.shell("postgres")
    before, schemas = (run_sql(server, sql, user=ADMIN) for sql in (_checksums(), SCHEMAS))
    damage = b"DELETE FROM auth.identities; DELETE FROM auth.users; DROP TABLE public.messages; DROP TABLE profiles;"
    run_sql(server, damage, user="postgres")
    target = into_postgres(strategy="InPlace")

    space.apply(restore_request("back", target, origin=of_policy("project"), confirm="postgres"))

    status = Restore(space, "back").completed()
    assert run_sql(server, _checksums(), user=ADMIN) == before
    assert run_sql(server, SCHEMAS, user=ADMIN) == schemas
    assert status["rows"] >= sum(ROWS.values())
    assert status["safetyBackup"].startswith("safety_")


def _checksums() -> bytes:
    lines = (
        f"SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t;" for table in ROWS
    )
    return "\n".join(lines).encode()

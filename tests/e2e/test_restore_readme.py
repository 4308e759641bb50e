"""The README's restores, typed by a person: its requests applied, its commands run, rows and keys back."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.opening import Opener
from tests.support.policies import Policy
from tests.support.readme import blocks
from tests.support.restores import Restore
from tests.support.servers import Servers, small_database

WHOLE = {"public.users": 1000, "public.visits": 500}


@pytest.fixture(scope="module")
def site(module_namespace: Namespace) -> Servers:
    """The README's policies, with a backup of each; the database is called `postgres`, as at Supabase."""
    space, own = module_namespace, Servers(module_namespace, "read me again")
    own.start("postgres", "redis")
    own.database("postgres").query(small_database().decode())
    with own.redis_client() as client:
        client.mset({f"key:{number}": number for number in range(7)})
    space.apply(own.app_secret(SUPABASE_DB_URL=own.postgres_url("postgres")))
    for block in blocks("apply"):
        space.kubectl("apply", "--server-side", "--filename=-", stdin=block.text.encode())
    for name in ("app-db", "app-cache"):
        Policy(space, name).back_up(f"{name}-now")
    return own


@pytest.fixture(scope="module")
def type_in(site: Servers, kubeconfig: Path, tmp_path_factory) -> Callable[[str], str]:
    """Types the README's blocks for a request, in a directory that holds its file."""
    desk = Path(tmp_path_factory.mktemp("desk"))
    shutil.copy(kubeconfig, desk / "kubeconfig")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for block in blocks("request"):
        text = block.text.replace("2026-01-31T12:00:00Z", now)
        host = f"redis.{site.namespace.name}.svc"
        (desk / block.check.split(" ")[1]).write_text(text.replace("cache.example.com", host))

    def bash(script: str) -> str:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False, capture_output=True, text=True, timeout=300, cwd=desk,
            env={"PATH": os.environ["PATH"], "HOME": str(desk), "KUBECONFIG": str(desk / "kubeconfig")},
        )  # fmt: skip
        assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    bash(f"kubectl config set-context --current --namespace={site.namespace.name}")
    return bash


def scripts(request: str) -> list[str]:
    """The README's blocks of commands about this request."""
    return [block.text for block in blocks("restore") if block.check.split(" ")[1] == request]


def test_a_dropped_table_is_back_after_one_manifest_and_can_be_taken_back(site: Servers, type_in):
    """Two commands; the seconds are printed for the README. Then what there is to choose from, and the undo."""
    database, restore, (choose, undo) = site.database("postgres"), scripts("back")[0], scripts("back")[1:]
    database.query("DROP TABLE visits; DELETE FROM users WHERE id > 3")
    began = time.monotonic()

    printed = type_in(restore)

    print(f"tried as a new user would: {len(restore.splitlines())} lines, {time.monotonic() - began:.0f} s")
    assert database.rows_per_table() == WHOLE
    assert "Complete" in printed
    assert Policy(site.namespace, "app-db").status["backups"][0]["name"] in type_in(choose)
    said = type_in(undo)
    name = said.partition("/")[2].split(" ")[0]
    Restore(site.namespace, name).completed()
    assert database.rows_per_table()["public.users"] == 3


def test_a_plan_is_read_and_approved(site: Servers, type_in):
    (script,) = scripts("noon")

    printed = type_in(script)

    assert "as_of_noon" in printed
    assert site.database("as_of_noon").rows_per_table() == WHOLE


def test_keys_are_back_after_the_rows(site: Servers, type_in):
    with site.redis_client() as client:
        client.flushall()
        client.set("since", "then")

    type_in("".join(scripts("keys")))

    with site.redis_client() as client:
        assert sorted(client.keys("*")) == [f"key:{number}".encode() for number in range(7)]


def test_a_file_of_the_old_scripts_is_back_in_a_database_of_its_own(site: Servers, type_in):
    space = site.namespace
    desk = objects.opener("desk", "backups", "app")
    desk["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = False
    space.apply(desk)
    space.wait_for_pod("desk")
    store = f"/backups/{space.name}/app-db"
    Opener(space, "desk").bash(
        f"install -d -m 0700 -o 65532 -g 65532 /backups/old; "
        f"install -m 0600 -o 65532 -g 65532 {store}/backup_*.sql.gz.gpg /backups/old/backup_20231201_020000.sql.gz.gpg"
    )

    type_in("".join(scripts("old")))

    assert site.database("app_of_december").rows_per_table() == WHOLE
    assert Restore(space, "old").status["recorded"] is False

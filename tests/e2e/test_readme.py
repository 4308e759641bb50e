"""The README, typed by a person: its files applied, its commands run, its stored files opened as it says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.opening import start_opener
from tests.support.policies import Policy
from tests.support.readme import blocks
from tests.support.servers import Servers, small_database


@pytest.fixture(scope="module")
def desk(module_namespace: Namespace, kubeconfig: Path, tmp_path_factory) -> Path:
    """A directory with the README's files in it, and a kubeconfig whose namespace is the test's own."""
    made = Path(tmp_path_factory.mktemp("desk"))
    own = Servers(module_namespace, "read me")
    own.start("postgres", "redis")
    own.create_database("app", small_database())
    with own.redis_client() as client:
        client.mset({f"key:{number}": number for number in range(7)})
    values = own.app_secret()["stringData"]
    (made / ".env").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    for block in blocks("apply"):
        (made / block.check.split(" ")[1]).write_text(block.text)
    shutil.copy(kubeconfig, made / "kubeconfig")
    type_in(made, f"kubectl config set-context --current --namespace={module_namespace.name}")
    return made


def type_in(desk: Path, *lines: str) -> str:
    """What bash prints for the lines, in the directory. Raises: AssertionError with its stderr."""
    path = os.environ["PATH"]
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        check=False, capture_output=True, text=True, timeout=300, cwd=desk,
        env={"PATH": path, "HOME": str(desk), "KUBECONFIG": str(desk / "kubeconfig")},
    )  # fmt: skip
    assert ended.returncode == 0, f"{lines}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_the_commands_of_the_readme_end_in_two_ready_policies(desk: Path, module_namespace: Namespace):
    printed = "".join(type_in(desk, *block.commands) for block in blocks("run"))

    assert "app-db" in printed
    assert Policy(module_namespace, "app-db").status["lastSuccessfulBackup"]["rows"] == 1500
    assert Policy(module_namespace, "app-cache").status["lastSuccessfulBackup"]["keys"] == 7


def test_every_policy_of_the_readme_is_accepted(desk: Path, module_namespace: Namespace):
    for block in blocks("apply"):
        type_in(desk, f"kubectl apply --server-side --filename {block.check.split(' ')[1]}")

    for name in ("app-db", "app-cache", "app-archive", "app-kept"):
        policy = Policy(module_namespace, name)
        policy.wait_for("Accepted", "True", "Accepted")
        policy.wait_for("Scheduled", "True", "Scheduled")


def test_the_stored_files_open_as_the_readme_says(desk: Path, module_namespace: Namespace):
    for name in ("app-db", "app-cache"):
        Policy(module_namespace, name).back_up(f"{name}-to-open")
    opened = start_opener(module_namespace)
    home = "export HOME=/data PGHOST=/run/servers PGUSER=postgres; cp /passphrase/BACKUP_ENCRYPTION_KEY ~/passphrase"
    printed = {}
    for block in blocks("open"):
        policy = block.check.split(" ")[1]
        printed[policy] = opened.bash(f"{home}\ncd /backups/{module_namespace.name}/{policy}\n{block.text}")

    assert opened.database("restored").rows_per_table() == {"public.users": 1000, "public.visits": 500}
    assert "db0:keys=7" in printed["app-cache"]


def test_the_page_beside_the_files_leads_back_from_them(desk: Path, module_namespace: Namespace):
    """RECOVER.md, its blocks typed from top to bottom into one shell, as it asks."""
    name = "app-db"
    good = Policy(module_namespace, name).back_up(f"{name}-to-recover")
    opened = start_opener(module_namespace, pod="recovery")
    page = opened.bash(f"cat /backups/{module_namespace.name}/{name}/RECOVER.md")
    script = "".join(block.text for block in blocks(text=page) if block.language == "sh")
    edited = script.replace(
        "install -m 0600 /dev/null passphrase\n",
        "install -m 0600 /dev/null passphrase\ncat /passphrase/BACKUP_ENCRYPTION_KEY > passphrase\n",
    )
    assert edited != script, "the passphrase is put into its file by hand"
    assert good["name"] in page

    opened.bash(f"export PGHOST={objects.SOCKETS} PGUSER=postgres; mkdir /data/desk; cd /data/desk\n{edited}")

    assert opened.database("restored").rows_per_table() == {"public.users": 1000, "public.visits": 500}
    assert opened.bash("ls -A /data/desk | grep -x passphrase || true") == ""

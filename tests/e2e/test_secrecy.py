"""No secret in argv, environment, logs, Events, status or entries; and Secrets made from an environment file."""

import base64
import uuid
from pathlib import Path
from urllib.parse import quote

from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.opening import start_opener
from tests.support.operator import everything_in
from tests.support.policies import RUN_SECONDS, Policy
from tests.support.polling import wait_until
from tests.support.restores import Restore, into_postgres, into_redis, of_policy, restore_request
from tests.support.servers import Servers
from tests.support.shell import ProgramFailed


def test_no_secret_is_anywhere_but_in_its_secret(namespace: Namespace, operator: Namespace):
    """Passphrase and password are looked for, plain, quoted and in base64, in everything that a run leaves behind."""
    password = f"p@ss/w:rd {uuid.uuid4().hex}"
    passphrase = f"passphrase {uuid.uuid4().hex}"
    own = Servers(namespace, password)
    own.start("postgres", "redis")
    own.create_database("app", b"CREATE TABLE t AS SELECT 1 AS a;")
    namespace.apply(own.app_secret(BACKUP_ENCRYPTION_KEY=passphrase), objects.claim("backups"))
    namespace.apply(objects.backup_policy("db", objects.postgres_source(globals=True)))
    namespace.apply(objects.backup_policy("cache", objects.redis_source()))

    Policy(namespace, "db").back_up("good")
    Policy(namespace, "cache").back_up("good-cache")
    restore_both(namespace)
    # a failing run says most: the server's refusal, the URL's host and user
    namespace.apply(own.app_secret(SUPABASE_DB_URL=own.postgres_url("missing"), BACKUP_ENCRYPTION_KEY=passphrase))
    Policy(namespace, "db").start("bad")
    Policy(namespace, "db").wait_for("LastRunSucceeded", "False", "DatabaseMissing", timeout_seconds=RUN_SECONDS)
    in_place = into_postgres(strategy="InPlace")
    namespace.apply(restore_request("lost", in_place, origin=of_policy("db"), confirm="missing"))
    Restore(namespace, "lost").failed("DatabaseMissing")

    opened = start_opener(namespace)
    said = {
        "objects and Events": everything_in(namespace),
        "logs of the runs": "".join(
            namespace.kubectl("logs", f"job/{job}", "--all-pods") for job in ("good", "good-cache", "bad")
        ),
        "logs of the restores": namespace.kubectl("logs", "--selector=backup.agentsflow.ai/request", "--tail=-1"),
        "log of the operator": operator.kubectl(
            "logs", "--selector=app.kubernetes.io/instance=backup-operator", "--tail=-1"
        ),
        "plain files of the store": opened.bash("find /backups -type f -not -name '*.gpg' -print0 | xargs -0 cat"),
    }
    assert "backup_" in said["plain files of the store"]
    assert "missing" in said["logs of the runs"]
    assert "missing" in said["logs of the restores"]
    assert "safety_" in said["objects and Events"]
    for place, text in said.items():
        for secret in (password, passphrase):
            for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
                assert form not in text, place


def restore_both(namespace: Namespace) -> None:
    """Over what is there, each with a backup of it first: everything that a restore can leave behind."""
    rows = into_postgres(strategy="InPlace", globals=True)
    keys = into_redis(strategy="Replace")
    host = f"redis.{namespace.name}.svc"
    namespace.apply(
        restore_request("rows", rows, origin=of_policy("db"), confirm="app"),
        restore_request("keys", keys, origin=of_policy("cache"), confirm=f"{host}/all"),
    )
    for name in ("rows", "keys"):
        Restore(namespace, name).completed()


def test_no_secret_is_in_the_argv_or_environment_of_a_running_worker(ground: Namespace, servers: Servers):
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("watched")))
    ground.apply(objects.backup_policy("app", objects.postgres_source()))
    policy = Policy(ground, "app")

    with servers.a_locked_table("watched"):
        policy.start("watched")
        # pg_dump waits for the lock: both the worker and its child can be looked at
        programs = _programs_of(ground, "watched")

    assert any("pg_dump" in program for program in programs), programs
    said = "\n".join(programs)
    for secret in (servers.password, quote(servers.password, safe=""), "correct horse"):
        assert secret not in said
    assert policy.wait_for_job("watched") == "Complete"


def _programs_of(namespace: Namespace, job: str) -> list[str]:
    """Argv and environment of every process of the Job's pod, once pg_dump is among them."""
    # the worker's image need not hold a shell, its Python is there
    read = "import glob;print([open(f).read() for p in glob.glob('/proc/[0-9]*') for f in (p+'/cmdline',p+'/environ')])"

    def look() -> list[str]:
        pods = namespace.list("pod", f"batch.kubernetes.io/job-name={job}")
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        if not running:
            return []
        shell = namespace.shell(running[0]["metadata"]["name"])
        try:
            return shell.run("python3", "-c", read).decode().replace("\\x00", "\n").splitlines()
        except ProgramFailed:  # a process ended between the list and its turn
            return []

    return wait_until(
        look, lambda seen: any("pg_dump" in line for line in seen), for_what="pg_dump runs", timeout_seconds=RUN_SECONDS
    )


def test_a_secret_made_from_an_environment_file_with_quotes_just_works(
    namespace: Namespace, servers: Servers, tmp_path: Path
):
    environment = tmp_path / ".env"
    environment.write_text(
        "# the file of the old scripts, taken over as it is\n"
        f'SUPABASE_DB_URL="{servers.postgres_url()}"\n'
        f"REDIS_URL='{servers.redis_url()}'\n"
        'BACKUP_ENCRYPTION_KEY="a passphrase in quotes"\n'
    )
    namespace.kubectl("create", "secret", "generic", "app", f"--from-env-file={environment}")
    namespace.apply(objects.claim("backups"))
    namespace.apply(objects.backup_policy("db", objects.postgres_source()))
    namespace.apply(objects.backup_policy("cache", objects.redis_source()))

    good = Policy(namespace, "db").back_up("db-now")
    Policy(namespace, "cache").back_up("cache-now")

    opened = start_opener(namespace)
    file = f"'/backups/{namespace.name}/db/{good['name']}.sql.gz.gpg'"
    gpg = "gpg --quiet --batch --pinentry-mode loopback --passphrase-fd 0 --decrypt"
    plain = opened.bash(f"echo 'a passphrase in quotes' | {gpg} {file} | gunzip")
    assert "CREATE TABLE public.users" in plain
    said = opened.bash(
        f"cat '/backups/{namespace.name}/db/RECOVER.md' '/backups/{namespace.name}/db/{good['name']}.json'"
    )
    assert "quotes" in said, "RECOVER.md or the entry says that the passphrase is the text between the quotes"

"""Runs the demo on the cluster of KUBECONFIG; `make demo` has brought that up and built the images.

Every command is printed before it runs, so that a person can repeat it. Can be run again.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.demo import commands
from tests.support import objects
from tests.support.compare import (
    PostgresDatabase,
    assert_databases_are_equal,
    assert_redis_servers_are_equal,
    key_counts,
)
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import forwarded_redis

CHECKOUT = Path(__file__).resolve().parents[2]
SPACE = Namespace(commands.NAMESPACE)
BOLD, GREY, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def main() -> int:
    """0 when both backups equal their sources, and a dropped table comes back."""
    if missing := what_is_missing():
        print(missing, file=sys.stderr)
        return 1
    began = time.monotonic()
    try:
        install()
        start_databases()
        back_up()
        open_with_stock_programs()
        bring_a_table_back()
    except subprocess.CalledProcessError as failed:
        explain(failed)
        return 1
    say(f"Done in {time.monotonic() - began:.0f} s: both backups equal their sources, and a dropped table is back.")
    print("What to try next:", *(f"  {command}" for command in commands.NEXT), "  make down", sep="\n")
    return 0


def what_is_missing() -> str:
    """What has to be there before the demo starts, in words; empty when all is there."""
    programs = [program for program in ("kubectl", "helm", "bash") if shutil.which(program) is None]
    if programs:
        return f"{', '.join(programs)} not found on PATH. Type `make demo`: it brings them along."
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set. Type `make demo`, or export KUBECONFIG of a cluster that has the images."
    return ""


def say(text: str) -> None:
    """A heading between steps."""
    print(f"\n{BOLD}=== {text}{PLAIN}", flush=True)


def type_in(*lines: str) -> None:
    """Print and run shell commands in the checkout. Raises: subprocess.CalledProcessError."""
    for line in lines:
        print(f"{BOLD}$ {line}{PLAIN}", flush=True)
        started = time.monotonic()
        subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=CHECKOUT, check=True, stdin=subprocess.DEVNULL)
        if (took := time.monotonic() - started) > 2:
            print(f"{GREY}  ({took:.0f} s){PLAIN}", flush=True)


def install() -> None:
    """The operator, from the chart of this checkout."""
    say("Install the operator (the images are those of `make images`)")
    type_in(commands.INSTALL)


def start_databases() -> None:
    """A namespace with a PostgreSQL and a Redis, both with data."""
    say("Start a PostgreSQL and a Redis, and fill them")
    type_in(*commands.CLEAN, *commands.START, *commands.FILL)


def back_up() -> None:
    """Two policies, and a run of each by hand."""
    say("Apply two policies")
    type_in(*commands.APPLY)
    say("Take a backup of each now, not at two in the morning")
    type_in(*commands.BACK_UP)
    say("What a person on call sees")
    type_in(*commands.SHOW)


def open_with_stock_programs() -> None:
    """Both stored files, in a pod that has nothing of ours."""
    say("Open both files with gpg, gunzip, psql and redis-server in a pod that has nothing of ours")
    type_in(*commands.START_OPENER)
    type_in(*commands.open_shop(newest_run("shop")))
    compare_shop()
    type_in(*commands.open_sessions(newest_run("sessions")))
    compare_sessions()


def bring_a_table_back() -> None:
    """A table is dropped from the live database, and one manifest brings it back; compared with the opened backup."""
    say("Drop a table, and bring it back with one manifest")
    type_in(*commands.DROP)
    began = time.monotonic()
    type_in(*commands.RESTORE)
    compare_shop()
    print(f"  back after {time.monotonic() - began:.0f} s, comparison included")


def newest_run(policy: str) -> str:
    """The name of the newest good backup, from the policy's status."""
    status = wait_until(
        lambda: Policy(SPACE, policy).status,
        lambda seen: "lastSuccessfulBackup" in seen,
        for_what=f"a backup of {policy}",
    )
    return str(status["lastSuccessfulBackup"]["name"])


def compare_shop() -> None:
    """Tables, sequences and schema of both databases, by checksum."""
    source, restored = (PostgresDatabase(SPACE.shell(pod), objects.POSTGRES, "shop") for pod in ("postgres", "opener"))
    assert_databases_are_equal(source, restored)
    rows = restored.rows_per_table()
    print(f"  equal: schema, sequences and {sum(rows.values()):,} rows in {len(rows)} tables, each by its checksum")


def compare_sessions() -> None:
    """Every key's value and time to live."""
    with (
        forwarded_redis(SPACE, "redis", password="demo-password") as source,
        forwarded_redis(SPACE, "opener") as restored,
    ):
        wait_until(lambda: bool(restored.ping()), bool, for_what="the restored Redis")
        assert_redis_servers_are_equal(source, restored)
        counts = key_counts(restored)
    keys, expiring = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"  equal: {keys:,} keys in {len(counts)} databases, {expiring:,} of them with their time to live")


def explain(failed: subprocess.CalledProcessError) -> None:
    """What a person needs to see when a step failed."""
    print(f"\nThis failed (exit code {failed.returncode}): {failed.cmd[-1]}\n", file=sys.stderr)
    for question in ("get bp,rr -o wide", "get job,pod", "get events --sort-by=.lastTimestamp"):
        line = f"kubectl -n {commands.NAMESPACE} {question}"
        print(f"$ {line}", file=sys.stderr, flush=True)
        subprocess.run(["bash", "-c", f"{line} >&2"], check=False)
    print("\nThe operator's log: kubectl -n backup-operator logs deployment/backup-operator", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

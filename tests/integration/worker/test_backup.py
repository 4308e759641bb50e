"""Whole runs of the worker against real servers: what is stored, what is reported, and what is never listed."""

import fcntl
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from tests.integration.worker.conftest import PASSPHRASE
from tests.support.polling import wait_until
from tests.support.postgres_server import SUPERUSER_PASSWORD
from tests.support.redis_server import RedisServer


def _decrypted(directory: Path, file: Path) -> bytes:
    (directory / "gnupg").mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(directory / "gnupg"), "--batch", "--pinentry-mode", "loopback"]
    opened = subprocess.run(
        [*gpg, "--passphrase-file", str(directory / "key"), "--decrypt", str(file)], capture_output=True, check=True
    )
    return subprocess.run(["gunzip"], input=opened.stdout, capture_output=True, check=True).stdout


def test_a_postgres_run_ends_in_an_entry_and_a_file_that_gpg_opens(bench, postgres):
    place = bench(postgres={"url": postgres.url(), "globals": True})

    code, report, log = place.run()

    assert code == Exit.OK, log
    assert report.backup is not None
    assert report.backup.rows == 1000
    run = report.run
    stamp = run.removeprefix("backup_")
    assert place.files() == sorted([f"{run}.json", f"{run}.sql.gz.gpg", f"globals_{stamp}.sql.gz.gpg"])
    entry = json.loads((place.store / f"{run}.json").read_text())
    assert entry["artifacts"][0]["rows_per_table"] == {"public.users": 1000}
    plain = _decrypted(place.directory, place.store / f"{run}.sql.gz.gpg")
    assert plain.count(b"\nCREATE TABLE ") == 1
    assert b"CREATE ROLE" in _decrypted(place.directory, place.store / f"globals_{stamp}.sql.gz.gpg")


def test_a_custom_run_is_read_to_its_end_by_pg_restore(bench, postgres):
    place = bench(postgres={"url": postgres.url(), "format": "Custom"})

    code, report, log = place.run()

    assert code == Exit.OK, log
    assert report.backup is not None
    assert report.backup.rows == 1000
    archive = _decrypted(place.directory, place.store / f"{report.run}.dump.gz.gpg")
    listing = subprocess.run([postgres.bin / "pg_restore", "--list"], input=archive, capture_output=True, check=True)
    assert b"TABLE DATA public users" in listing.stdout


@pytest.mark.parametrize(
    ("compression", "suffix"),
    [({"algorithm": "None", "level": 0}, ".rdb.gpg"), ({"algorithm": "Zstd", "level": 19}, ".rdb.zst.gpg")],
    ids=["None", "Zstd 19"],
)
def test_a_run_is_packed_as_its_order_says(bench, compression, suffix):
    with RedisServer() as server:
        place = bench(redis={"url": server.url()})

        code, report, log = place.run(compression=compression)

    assert code == Exit.OK, log
    assert place.files() == [f"{report.run}.json", f"{report.run}{suffix}"]


def test_a_redis_run_counts_keys_per_database(bench):
    with RedisServer() as server:
        with server.client() as client, server.client(3) as third:
            client.mset({f"key{number}": number for number in range(500)})
            third.set("soon gone", "x", ex=3600)
        place = bench(redis={"url": server.url()})

        code, report, log = place.run()

    assert code == Exit.OK, log
    assert report.backup is not None
    assert report.backup.keys == 501
    entry = json.loads((place.store / f"{report.run}.json").read_text())
    assert entry["artifacts"][0]["keys_per_database"] == {
        "0": {"keys": 500, "expiring": 0},
        "3": {"keys": 1, "expiring": 1},
    }


def test_a_wrong_password_leaves_no_backup_and_one_audit_line(bench, postgres):
    place = bench(postgres={"url": postgres.url(password="wrong horse battery")})

    code, report, log = place.run()

    assert code == Exit.FINAL
    assert report.fault is not None
    assert report.fault.reason is Reason.AUTHENTICATION_FAILED
    assert place.files() == []
    (line,) = (place.store / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "AuthenticationFailed"
    assert "wrong horse battery" not in log + report.model_dump_json() + line


def test_no_secret_appears_in_log_report_or_store(bench, postgres):
    place = bench(postgres={"url": postgres.url()})

    _, report, log = place.run()

    texts = [log, report.model_dump_json()]
    texts += [path.read_text() for path in place.store.iterdir() if path.suffix != ".gpg"]
    for text in texts:
        assert PASSPHRASE not in text
        assert SUPERUSER_PASSWORD not in text


def test_a_failed_run_still_reports_the_backups_that_are_there(bench, postgres):
    place = bench(postgres={"url": postgres.url()})
    _, good, _ = place.run()
    (place.directory / "url").write_text(postgres.url("no_such_database"))

    code, report, _ = place.run()

    assert code == Exit.FINAL
    assert report.fault is not None
    assert report.fault.reason is Reason.DATABASE_MISSING
    assert report.catalog is not None
    assert [line.name for line in report.catalog.backups] == [good.run]


def test_an_inventory_knows_the_backups_of_an_earlier_policy(bench, postgres):
    place = bench(postgres={"url": postgres.url()})
    _, first, _ = place.run()
    _, second, _ = place.run()
    inventory = {key: place.order[key] for key in ("policy", "passphrase", "store")} | {"kind": "Inventory"}
    place.order = inventory

    code, report, log = place.run()

    assert code == Exit.OK, log
    assert report.catalog is not None
    assert [line.name for line in report.catalog.backups] == [second.run, first.run]


def test_a_busy_store_is_said_with_its_holder(bench, postgres):
    place = bench(postgres={"url": postgres.url()})
    place.run()
    with (place.store / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        code, report, _ = place.run()

    assert code == Exit.RETRYABLE
    assert report.fault is not None
    assert report.fault.reason is Reason.STORE_BUSY
    assert report.catalog is not None
    assert report.catalog.count == 1


@pytest.fixture
def locked_table(postgres):
    """A table that somebody holds, so that pg_dump waits until the test is done with it."""
    postgres.execute("create table held (n int)")
    with postgres.connect() as connection, connection.transaction():
        connection.execute("lock table held in access exclusive mode")
        yield connection
    postgres.execute("drop table held")


def _has_begun(place) -> list[str]:
    return [name for name in place.files() if name.endswith(".partial")] if place.store.exists() else []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_run_stopped_in_the_middle_is_never_listed_and_the_next_one_cleans_up(bench, postgres, locked_table, how):
    place = bench(postgres={"url": postgres.url()})
    with place.start() as process:
        wait_until(lambda: _has_begun(place), bool, for_what="a dump that has begun")
        process.send_signal(how)
        process.communicate(timeout=300)
    locked_table.execute("rollback")

    if how is signal.SIGTERM:
        assert place.files() == []
        assert process.returncode == Exit.RETRYABLE
        fault = place.report().fault
        assert fault is not None
        assert fault.reason is Reason.INTERRUPTED
    else:
        assert any(name.endswith(".json.started") for name in place.files())

    code, report, log = place.run()
    assert code == Exit.OK, log
    assert place.files() == sorted([f"{report.run}.json", f"{report.run}.sql.gz.gpg"])


def test_a_run_over_its_deadline_says_so_and_leaves_nothing(bench, postgres, locked_table):
    place = bench(postgres={"url": postgres.url()})
    (place.directory / "volume/ns/app").mkdir(parents=True)

    code, report, _ = place.run(deadline="PT2S")

    assert code == Exit.FINAL
    assert report.outcome is Outcome.FAILED
    assert report.fault is not None
    assert report.fault.reason is Reason.DEADLINE_EXCEEDED
    assert place.files() == []


def test_two_runs_at_once_leave_two_good_backups(bench, postgres):
    place = bench(postgres={"url": postgres.url()})
    place.order["store_lock_timeout"] = "PT60S"
    with place.start() as first, place.start() as second:
        said = [process.communicate(timeout=300)[1].decode() for process in (first, second)]

    assert [first.returncode, second.returncode] == [Exit.OK, Exit.OK], said
    assert sum(name.endswith(".json") for name in place.files()) == 2


def test_the_log_tells_bytes_rows_and_rate_of_a_long_step(bench, postgres):
    place = bench(postgres={"url": postgres.url()})

    _, _, log = place.run(progress_interval="PT0.001S")

    lines = [line for line in log.splitlines() if " progress " in line]
    assert all(re.search(r" bytes=\d+ rows=~?\d+ rate=\d+\.\dMB/s seconds=\d+$", line) for line in lines), log
    assert {word for line in lines for word in re.findall(r'step="(\w+)', line)} == {"dump", "verify"}

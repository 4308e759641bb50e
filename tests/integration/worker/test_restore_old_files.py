"""Files of the old scripts, made as they made them: named by file, proven by their own end, told as unrecorded."""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.cli import main
from tests.integration.targets.redis.restoring import contents
from tests.integration.worker.ordering import in_process, secret_file
from tests.support.postgres_server import wait_until
from tests.support.redis_server import RedisServer
from tests.support.source_redis import fill

STAMP = "20231201_020000"
SHORT = "key"
"""The old scripts took any passphrase."""


@pytest.fixture(scope="module")
def redis_source():
    with RedisServer() as server, server.client() as client:
        fill(client, users=50)
        yield server


def _gpg(plaintext: bytes, passphrase: str = SHORT) -> bytes:
    """As `gpg --symmetric` of this machine encrypts."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "passphrase").write_text(passphrase)
        argv = ["gpg", "--homedir", home, "--batch", "--yes", "--pinentry-mode", "loopback"]
        argv += ["--passphrase-file", f"{home}/passphrase", "--symmetric", "--cipher-algo", "AES256"]
        made = subprocess.run(argv, input=plaintext, capture_output=True, check=True).stdout
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
        return made


def _gzip(content: bytes) -> bytes:
    return subprocess.run(["gzip", "-c"], input=content, capture_output=True, check=True).stdout


def _rdb(server: RedisServer) -> bytes:
    """As the old script took it: with what redis-cli leaves behind the RDB when it writes to a pipe."""
    argv = ["redis-cli", "-h", server.host, "-p", str(server.port), "--rdb", "-"]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def _place(bench, name, content, **source):
    """A store that holds nothing but this file, and orders with the old passphrase."""
    place = bench(**source)
    place.store.mkdir(parents=True)
    (place.store / name).write_bytes(content)
    place.order["passphrase"] = secret_file(place, "key", SHORT)
    return place


def _into(place, server, **options):
    return {"url": secret_file(place, "TARGET_URL", server.url())} | options


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        (f"redis_{STAMP}.rdb.gz.gpg", lambda rdb: _gpg(_gzip(rdb))),
        (f"redis_{STAMP}.rdb.gpg", _gpg),
        (f"redis_{STAMP}.rdb.gz", _gzip),
        (f"redis_{STAMP}.rdb", lambda rdb: rdb),
    ],
    ids=["packed and encrypted", "encrypted", "packed", "bare"],
)
@pytest.mark.parametrize("end_mark", [True, False], ids=["with the end mark behind it", "without"])
def test_keys_come_back_from_an_old_rdb(bench, redis_source, name, wrap, end_mark):
    rdb = _rdb(redis_source)
    whole = rdb if rdb[-9] != 0xFF else rdb + os.urandom(40)
    content = wrap(whole if end_mark else whole[:-40])
    place = _place(bench, name, content, redis={"url": redis_source.url()})

    with RedisServer() as server:
        report = in_process(place, redis=_into(place, server), selection={"name": name})

        assert report.fault is None, report.fault
        assert contents(server) == contents(redis_source), "the keys differ"
    assert (report.run, report.artifact, report.recorded) == (name, name, False)
    assert "It is unrecorded: no entry says what it should hold" in report.plan[0]
    assert any("40 bytes of end mark" in line for line in report.plan) is end_mark


def test_keys_come_back_from_an_old_append_only_file(bench):
    name = f"redis_aof_{STAMP}.aof.gz"
    settings = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(version="redis-6.2", settings=settings) as old, old.client() as client:
        client.set("before the rewrite", "1")
        client.bgrewriteaof()
        wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the rewrite")
        client.rpush("list", "a", "b")
        place = _place(bench, name, _gzip((old.directory / "appendonly.aof").read_bytes()), redis={"url": old.url()})

        with RedisServer() as server:
            report = in_process(place, redis=_into(place, server), selection={"name": name})

            assert report.fault is None, report.fault
            with server.client() as restored:
                assert restored.get("before the rewrite") == b"1"
                assert restored.lrange("list", 0, -1) == [b"a", b"b"]
    assert not report.recorded
    assert "It is NOT encrypted." in report.plan


@pytest.mark.parametrize("passphrase", [SHORT, "k", "ein längeres Passwort", "correct horse battery staple"])
def test_rows_come_back_from_an_old_dump_under_any_passphrase(bench, postgres, passphrase):
    name = f"backup_{STAMP}.sql.gz.gpg"
    dump = subprocess.run(["pg_dump", postgres.url()], capture_output=True, check=True).stdout
    place = _place(bench, name, _gpg(_gzip(dump), passphrase), postgres={"url": postgres.url()})
    place.order["passphrase"] = secret_file(place, "key", passphrase)
    target = _into(place, postgres, database="old")

    try:
        report = in_process(place, datetime.now(UTC), postgres=target, selection={"name": name})

        assert report.fault is None, report.fault
        assert postgres.rows("select count(*), sum(id) from users", "old") == [(1000, 500500)]
    finally:
        postgres.execute("drop database if exists old")
    assert not report.recorded
    assert report.counts == {"public.users": 1000}
    assert "Found in it: 1,000 rows in 1 table." in report.plan


def test_a_previous_passphrase_opens_an_old_file(bench, redis_source):
    name = f"redis_{STAMP}.rdb.gz.gpg"
    place = _place(bench, name, _gpg(_gzip(_rdb(redis_source))), redis={"url": redis_source.url()})
    keys = [secret_file(place, "NEW", "a new passphrase for everything"), place.order["passphrase"]]

    report = in_process(place, dry_run=True, passphrases=keys, selection={"name": name})

    assert report.fault is None


@pytest.mark.parametrize(
    ("name", "reason", "spoil"),
    [
        (f"backup_{STAMP}.sql.gz.gpg", Reason.VERIFICATION_FAILED, lambda dump: _gpg(_gzip(dump))[:-20]),
        (f"backup_{STAMP}.sql.gz.gpg", Reason.VERIFICATION_FAILED, lambda dump: _gpg(_gzip(dump)[:-20])),
        (f"backup_{STAMP}.sql.gz.gpg", Reason.DUMP_INCOMPLETE, lambda dump: _gpg(_gzip(dump[:-200]))),
        (f"backup_{STAMP}.sql.gz.gpg", Reason.KEY_INVALID, lambda dump: _gpg(_gzip(dump), "another")),
        (f"backup_{STAMP}.sql.gz", Reason.VERIFICATION_FAILED, lambda dump: _gzip(dump)[:-9]),
        (f"redis_{STAMP}.rdb", Reason.DUMP_INCOMPLETE, lambda dump: dump),
        (f"redis_aof_{STAMP}.aof.gz", Reason.DUMP_INCOMPLETE, _gzip),
    ],
    ids=["cut file", "cut gzip", "cut dump", "another key", "cut gzip, bare", "no RDB", "no append-only file"],
)
def test_a_broken_old_file_never_reaches_a_target(bench, postgres, redis_source, name, reason, spoil):
    dump = subprocess.run(["pg_dump", postgres.url()], capture_output=True, check=True).stdout
    place = _place(bench, name, spoil(dump), redis={"url": redis_source.url()})

    report = in_process(place, selection={"name": name})

    assert report.fault is not None
    assert report.fault.reason is reason
    assert [step.name for step in report.steps] == ["choose", "verify"]


def test_an_old_rdb_with_a_flipped_bit_never_reaches_a_target(bench, redis_source):
    rdb = bytearray(_rdb(redis_source))
    rdb[len(rdb) // 2] ^= 1
    place = _place(bench, f"redis_{STAMP}.rdb", bytes(rdb), redis={"url": redis_source.url()})

    report = in_process(place, selection={"name": f"redis_{STAMP}.rdb"})

    assert report.fault is not None
    assert report.fault.reason in {Reason.DUMP_INCOMPLETE, Reason.VERIFICATION_FAILED}
    assert [step.name for step in report.steps] == ["choose", "verify"]


def test_old_files_are_listed_apart_and_never_chosen_by_time(bench, redis_source, capsys):
    place = _place(bench, f"redis_{STAMP}.rdb", _rdb(redis_source), redis={"url": redis_source.url()})
    words = ["--store", str(place.store), "--passphrase-file", str(place.directory / "key")]

    listed = main(["list", *words])
    page = capsys.readouterr().out
    newest = in_process(place, dry_run=True)
    verified = main(["verify", *words, f"redis_{STAMP}.rdb"])
    said = capsys.readouterr().out

    assert (listed, verified) == (Exit.OK, Exit.OK)
    assert page.startswith("no backup\n\nFiles that no entry tells of")
    assert f"redis_{STAMP}.rdb " in page
    assert "NOT encrypted" in page
    assert newest.fault is not None
    assert newest.fault.reason is Reason.BACKUP_NOT_FOUND
    assert said.startswith(f"redis_{STAMP}.rdb: good, ")
    assert "unrecorded" in said


def test_an_old_file_opens_without_its_end_mark(bench, redis_source, tmp_path):
    rdb = _rdb(redis_source)
    place = _place(bench, f"redis_{STAMP}.rdb.gz", _gzip(rdb), redis={"url": redis_source.url()})
    words = ["--store", str(place.store), "--passphrase-file", str(place.directory / "key")]

    main(["open", *words, f"redis_{STAMP}.rdb.gz", "--output", str(tmp_path / "dump.rdb")])

    opened = (tmp_path / "dump.rdb").read_bytes()
    assert rdb.startswith(opened)
    assert opened[-9] == 0xFF

"""`backup-worker restore`: rows and keys come back, and nothing is overwritten without being named."""

import json

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.worker.cli import main
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

ROWS = "select count(*), sum(id) from users"
WHOLE = [(1000, 500500)]


@pytest.fixture
def source():
    with PostgresServer(15) as server:
        server.create_database("app")
        server.execute("create table users (id int primary key, name text)", "app")
        server.execute("insert into users select n, 'user ' || n from generate_series(1, 1000) n", "app")
        yield server


def _restore(place, *arguments):
    words = ["restore", "--store", str(place.store), "--passphrase-file", str(place.directory / "key"), "latest"]
    return main([*words, "--url-file", str(place.directory / "url"), *arguments])


def _audit(place) -> list[tuple[str, str]]:
    lines = (place.store / "audit.jsonl").read_text().splitlines()
    return [(line["event"], line["outcome"]) for line in map(json.loads, lines)]


@pytest.mark.parametrize("form", ["Plain", "Custom"])
def test_rows_come_back_in_a_new_database(bench, source, form, capsys):
    place = bench(postgres={"url": source.url("app"), "format": form})
    place.run()

    code = _restore(place, "--database", "app_restored")

    assert code == Exit.OK, capsys.readouterr().err
    assert source.rows(ROWS, "app_restored") == WHOLE
    assert _audit(place) == [("backup", "Succeeded"), ("restore", "Succeeded")]


def test_a_dry_run_touches_neither_server_nor_store(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    databases = source.rows("select datname from pg_database order by 1")
    files = {path.name: path.read_bytes() for path in place.store.iterdir()}

    code = _restore(place, "--dry-run")

    assert code == Exit.OK
    assert "Planned: nothing was changed." in capsys.readouterr().out
    assert source.rows("select datname from pg_database order by 1") == databases
    assert {path.name: path.read_bytes() for path in place.store.iterdir()} == files


def test_a_script_reads_the_report_and_the_exit_code(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()

    planned = _restore(place, "--dry-run", "--json", "--database", "for_a_script")
    plan = json.loads(capsys.readouterr().out)
    restored = _restore(place, "--json", "--database", "for_a_script", "--approve", plan["pin"])
    report = json.loads(capsys.readouterr().out)
    in_the_way = _restore(place, "--dry-run", "--json", "--database", "for_a_script")
    obstacles = json.loads(capsys.readouterr().out)["obstacles"]
    failed = _restore(place, "--json", "--database", "for_a_script")
    fault = json.loads(capsys.readouterr().out)["fault"]

    assert (planned, restored, in_the_way, failed) == (0, 0, 3, 20)
    assert report["counts"] == {"public.users": 1000}
    assert "for_a_script" in obstacles[0]
    assert fault["reason"] == "TargetExists"


def test_a_plan_expects_what_the_last_restore_took(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    _restore(place, "--database", "first")
    capsys.readouterr()

    _restore(place, "--dry-run")

    assert "the last one from this store took " in capsys.readouterr().out


@pytest.mark.parametrize("confirm", [[], ["--confirm", "apq"]], ids=["missing", "wrong"])
def test_nothing_is_overwritten_without_its_name(bench, source, confirm, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    source.execute("delete from users where id <= 500", "app")

    code = _restore(place, "--strategy", "InPlace", *confirm)

    assert code == Exit.FINAL
    assert "ConfirmMissing" in capsys.readouterr().err
    assert source.rows(ROWS, "app")[0][0] == 500


def test_rows_come_back_in_place_and_what_was_there_is_backed_up_first(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    source.execute("update users set name = 'gone'; delete from users where id <= 500", "app")

    code = _restore(place, "--strategy", "InPlace", "--confirm", "app")

    assert code == Exit.OK, capsys.readouterr().err
    assert source.rows(ROWS, "app") == WHOLE
    assert source.rows("select count(*) from users where name = 'gone'", "app") == [(0,)]
    (entry,) = (place.store / "safety").glob("*.json")
    assert json.loads(entry.read_text())["artifacts"][0]["rows_per_table"] == {"public.users": 500}


def test_a_swapped_database_stays_beside(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    source.execute("delete from users", "app")

    code = _restore(place, "--strategy", "SwapDatabase", "--database", "app", "--confirm", "app")

    assert code == Exit.OK, capsys.readouterr().err
    assert source.rows(ROWS, "app") == WHOLE
    ((kept,),) = source.rows("select datname from pg_database where datname like 'app_before_%'")
    assert source.rows("select count(*) from users", kept) == [(0,)]


def test_a_plan_that_is_no_longer_true_is_not_carried_out(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()

    code = _restore(place, "--approve", "0123456789abcdef")

    assert code == Exit.FINAL
    assert "PlanChanged" in capsys.readouterr().err


def test_a_damaged_backup_never_reaches_the_target(bench, source, capsys):
    place = bench(postgres={"url": source.url("app")})
    place.run()
    (file,) = place.store.glob("*.gpg")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    databases = source.rows("select datname from pg_database order by 1")

    code = _restore(place)

    assert code == Exit.FINAL
    assert "VerificationFailed" in capsys.readouterr().err
    assert source.rows("select datname from pg_database order by 1") == databases


def test_keys_come_back_and_replace_only_what_was_named(bench, capsys):
    with RedisServer() as server, server.client() as client:
        client.mset({f"key{number}": number for number in range(300)})
        place = bench(redis={"url": server.url()})
        place.run()
        client.delete("key1")
        client.set("key2", "changed")

        refused = _restore(place)
        assert refused == Exit.FINAL
        assert "TargetNotEmpty" in capsys.readouterr().err

        _restore(place, "--strategy", "Replace", "--dry-run")
        confirm = capsys.readouterr().out.partition("--confirm ")[2].split()[:1]
        code = _restore(place, "--strategy", "Replace", "--confirm", *(confirm or ["127.0.0.1/all"]))

        assert code == Exit.OK, capsys.readouterr().err
        assert client.dbsize() == 300
        assert client.mget("key1", "key2") == [b"1", b"2"]
    assert len(list((place.store / "safety").glob("redis_*.rdb.gz.gpg"))) == 1

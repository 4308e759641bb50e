"""What a person types when the cluster is gone: list, verify, open."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.worker.cli import main
from tests.integration.worker.conftest import PASSPHRASE
from tests.support.readme import blocks


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, postgres, make_bench):
    """A store with two runs of two artifacts each; `type_in` runs a verb on it."""
    place = make_bench(tmp_path_factory.mktemp("shelf"), postgres={"url": postgres.url(), "globals": True})
    runs = [place.run()[1].run for _ in range(2)]
    return place, runs


def _type_in(place, verb, *arguments):
    key = str(place.directory / "key")
    return main([verb, "--store", str(place.store), "--passphrase-file", key, *arguments])


def test_list_names_every_backup_newest_first(shelf, capsys):
    place, runs = shelf

    code = _type_in(place, "list")

    lines = capsys.readouterr().out.splitlines()
    assert code == Exit.OK
    assert lines[0].split()[0] == "NAME"
    assert [line.split()[0] for line in lines[1:]] == runs[::-1]
    assert all(f"{run}.sql.gz.gpg" in line for run, line in zip(runs[::-1], lines[1:], strict=True))


def test_list_speaks_json_to_programs(shelf, capsys):
    place, runs = shelf

    _type_in(place, "list", "--json")

    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 2
    assert [(line["name"], line["rows"]) for line in found["backups"]] == [(run, 1000) for run in runs[::-1]]


def test_verify_reads_every_backup(shelf, capsys):
    place, runs = shelf

    code = _type_in(place, "verify")

    assert code == Exit.OK
    assert [line.split(", ")[:2] for line in capsys.readouterr().out.splitlines()] == [
        [f"{run}: good", "1,000 rows"] for run in runs[::-1]
    ]


def test_verify_names_the_bad_one_and_goes_on_with_the_others(shelf, capsys):
    place, runs = shelf
    file = place.store / f"{runs[0]}.sql.gz.gpg"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    try:
        code = _type_in(place, "verify", runs[0], runs[1])
    finally:
        file.write_bytes(whole)

    said = capsys.readouterr().out.splitlines()
    assert code == Exit.FINAL
    assert said[0].startswith(f"{runs[0]}: BAD: ")
    assert said[1].startswith(f"{runs[1]}: good, ")


def test_open_writes_the_plaintext_that_only_its_owner_may_read(shelf, tmp_path):
    place, runs = shelf
    output = tmp_path / "app.sql"

    code = _type_in(place, "open", runs[0], "--output", str(output))

    assert code == Exit.OK
    assert b"COPY public.users" in output.read_bytes()
    assert output.stat().st_mode & 0o777 == 0o600


def test_open_takes_another_file_of_the_run(shelf, tmp_path):
    place, runs = shelf
    output = tmp_path / "globals.sql"
    name = f"globals_{runs[1].removeprefix('backup_')}.sql.gz.gpg"

    code = _type_in(place, "open", "latest", "--artifact", name, "--output", str(output))

    assert code == Exit.OK
    assert b"CREATE ROLE" in output.read_bytes()


def test_open_writes_nothing_of_a_damaged_backup(shelf, tmp_path):
    place, runs = shelf
    file = place.store / f"{runs[0]}.sql.gz.gpg"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        code = _type_in(place, "open", runs[0], "--output", str(tmp_path / "app.sql"))
    finally:
        file.write_bytes(whole)

    assert code == Exit.FINAL
    assert list(tmp_path.iterdir()) == []


def test_open_never_overwrites(shelf, tmp_path, capsys):
    place, _ = shelf
    (tmp_path / "mine").write_text("mine")

    code = _type_in(place, "open", "latest", "--output", str(tmp_path / "mine"))

    assert code == Exit.FINAL
    assert "TargetExists" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("verb", ["list", "verify", "open"])
def test_reading_by_hand_changes_nothing_in_the_store(shelf, tmp_path, verb):
    place, _ = shelf
    before = {path: path.stat().st_mtime_ns for path in place.store.iterdir()}

    _type_in(place, verb, *(["latest", "--output", str(tmp_path / "out")] if verb == "open" else []))

    assert {path: path.stat().st_mtime_ns for path in place.store.iterdir()} == before


def test_a_wrong_name_tells_which_are_there(shelf, capsys):
    place, runs = shelf

    code = _type_in(place, "open", "backup_20200101_000000", "--output", "unused")

    said = capsys.readouterr().err
    assert code == Exit.FINAL
    assert "BackupNotFound" in said
    assert runs[1] in said


def test_a_wrong_passphrase_opens_nothing_and_says_so(shelf, tmp_path, capsys):
    place, _ = shelf
    (tmp_path / "key").write_text(PASSPHRASE + "!")

    code = main(["list", "--store", str(place.store), "--passphrase-file", str(tmp_path / "key")])

    said = capsys.readouterr()
    assert code == Exit.OK
    assert said.out == "no backup\n"
    assert "another passphrase" in said.err


def test_the_readme_commands_do_what_it_says(shelf, postgres, tmp_path, monkeypatch, capsys):
    place, runs = shelf
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(place.store)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    (tmp_path / "url").write_text(postgres.url())
    (block,) = blocks("worker")

    codes = []
    for command in block.commands:
        program, *arguments = (str(Path(word).expanduser()) for word in shlex.split(command))
        assert program == "backup-worker"
        codes.append(main(arguments))

    assert codes == [Exit.OK] * len(block.commands)
    assert f"{runs[1]}: good" in capsys.readouterr().out
    ((made,),) = postgres.rows("select datname from pg_database where datname like '%_restored_%'")
    assert postgres.rows("select count(*) from users", made) == [(1000,)]
    assert (tmp_path / "opened.sql").read_text().count("CREATE TABLE public.users") == 1


def test_a_reader_who_stops_early_is_not_taken_for_a_full_disk(shelf):
    place, _ = shelf
    words = [sys.executable, "-m", "backup_operator.worker.cli", "open", "latest", "--store", str(place.store)]
    line = f"{shlex.join([*words, '--passphrase-file', str(place.directory / 'key')])} | :; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, text=True)

    assert done.returncode == Exit.FINAL
    assert "whoever reads the plaintext stopped before its end" in done.stderr
    assert "StorageFull" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr

"""`backup-worker prune` as a person types it: a plan with reasons, and deletion only when asked for."""

import fcntl
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_operator.contract.order import SecretFile
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.worker.cli import main
from backup_operator.worker.keys import keys_for_writing
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.run import begin_run
from tests.integration.worker.conftest import PASSPHRASE
from tests.integration.worker.test_prune import contents, write_redis_run
from tests.support.store_content import CONTENT, artifact, entry, write_run
from tests.support.volumes import mounted_tmpfs

DAY = timedelta(days=1)


@pytest.fixture
def shelf(tmp_path):
    """A store with a backup of each of the last five nights, oldest first."""
    return tmp_path, five_nights(tmp_path)


def five_nights(place: Path) -> list[str]:
    (place / "key").write_text(PASSPHRASE)
    keys = keys_for_writing(SecretFile(path=str(place / "key"), described="the passphrase"))
    tonight = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    with opened(place) as store:
        return [write_run(store, tonight - number * DAY, keys=keys.entries) for number in reversed(range(5))]


def opened(mount: Path) -> Store:
    return open_store(mount, "prod/app-db", described="claim", create=True)


def type_in(place: Path, *words: str) -> int:
    return main(["prune", "--store", str(place / "prod/app-db"), "--passphrase-file", str(place / "key"), *words])


def collapsed(place: Path) -> str:
    """One more backup, of this second, without a row in it. Returns: the run."""
    keys = keys_for_writing(SecretFile(path=str(place / "key"), described="the passphrase")).entries
    at = datetime.now(UTC).replace(microsecond=0)
    with opened(place) as store, begin_run(store, SourceKind.POSTGRES, at) as writer:
        partial = writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)
        partial.write(CONTENT)
        writer.seal_partial(partial)
        record = artifact(writer.publish(partial), rows_per_table={"public.users": 0})
        writer.commit(entry(writer.run, started_at=at, artifacts=(record,)), keys)
        return writer.run


def there(place: Path) -> set[str]:
    return {path.name.removesuffix(".json") for path in (place / "prod/app-db").glob("*.json")}


def changed(place: Path, before: dict[str, bytes | str]) -> bool:
    with opened(place) as store:
        return contents(store) != before


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["by default", "--dry-run"])
def test_without_delete_it_says_what_would_go_and_why_and_changes_nothing(shelf, capsys, words):
    place, runs = shelf
    with opened(place) as store:
        before = contents(store)

    code = type_in(place, "--keep-last", "2", "--minimum", "3", *words)

    page = capsys.readouterr().out.splitlines()
    assert code == 0
    assert page[0] == f"3 backups stay, 2 go ({2 * len(CONTENT) / 1024:.1f} KiB):"
    told = [line.split(maxsplit=2)[:2] for line in page[1:6]]
    assert told == [[word, run] for word, run in zip(["stays"] * 3 + ["GOES"] * 2, runs[::-1], strict=True)]
    assert [line.partition(" UTC  ")[2] for line in page[1:6]] == [
        "last 2",
        "last 2",
        "only by minimum 3: it is one of the newest 3 verified",
        "not among the last 2",
        "not among the last 2",
    ]
    assert page[7].startswith(f"last 2: kept 2, next to go {runs[3]} on ")
    assert page[-1] == "Nothing was changed. With --delete they go."
    assert not changed(place, before)


def test_with_delete_what_goes_is_deleted_and_the_trail_names_who(shelf, capsys):
    place, runs = shelf

    code = type_in(place, "--keep-last", "2", "--minimum", "2", "--delete")

    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Deleted 3 backups, {3 * len(CONTENT) / 1024:.1f} KiB."
    assert there(place) == set(runs[3:])
    with opened(place) as store:
        events = verify_audit(store).events
    assert [(event["event"], event["run"]) for event in events] == [("deletion", run) for run in runs[:3]]
    assert all(str(event["policy"]).startswith("by hand: ") for event in events)


def test_without_a_rule_nothing_goes(shelf, capsys):
    place, runs = shelf

    code = type_in(place, "--delete")

    assert code == 0
    assert "no rule is stated: kept 5" in capsys.readouterr().out
    assert there(place) == set(runs)


def test_a_program_reads_json(shelf, capsys):
    place, runs = shelf

    type_in(place, "--max-age", "2d12h", "--minimum", "1", "--json")
    planned = json.loads(capsys.readouterr().out)
    type_in(place, "--max-age", "2d12h", "--minimum", "1", "--json", "--delete")
    deleted = json.loads(capsys.readouterr().out)

    assert [(line["name"], line["stays"]) for line in planned["backups"]] == [
        (run, stays) for run, stays in zip(runs[::-1], [True, True, True, False, False], strict=True)
    ]
    assert planned["results"] == []
    assert [result["deleted"] for result in deleted["results"]] == [runs[:2]]


def test_backups_of_two_kinds_are_counted_apart(shelf, capsys):
    place, runs = shelf
    key = keys_for_writing(SecretFile(path=str(place / "key"), described="the passphrase"))
    with opened(place) as store:
        redis = write_redis_run(store, datetime.now(UTC) - 9 * DAY, key.entries)

    type_in(place, "--keep-last", "1", "--minimum", "1", "--delete")

    capsys.readouterr()
    assert there(place) == {runs[4], redis}


def test_while_a_run_writes_to_the_store_nothing_is_deleted_and_it_says_who_it_is(shelf, capsys):
    place, runs = shelf
    with (place / "prod/app-db/.lock").open("w") as lock:
        lock.write('{"run": "app-db", "host": "pod-1", "since": "2026-11-23T02:00:00"}')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        code = type_in(place, "--keep-last", "1", "--delete")

    said = capsys.readouterr()
    assert code == 20
    assert said.out == ""
    assert "pod-1" in said.err
    assert there(place) == set(runs)


def test_locked_backups_are_left_alone_and_named(shelf, capsys):
    place, runs = shelf
    (place / "key").write_text("another passphrase than that one")

    code = type_in(place, "--keep-last", "1", "--minimum", "1", "--delete")

    assert code == 0
    assert capsys.readouterr().out == "no backup that can be opened: 5 entries are damaged or locked; see list\n"
    assert there(place) == set(runs)


@pytest.mark.parametrize(
    "words",
    [
        ("--max-age", "a month"),
        ("--max-age", "0d"),
        ("--keep-last", "-1"),
        ("--minimum", "0"),
        ("--delete", "--dry-run"),
    ],
    ids=" ".join,
)
def test_wrong_words_are_refused(shelf, capsys, words):
    place, runs = shelf

    with pytest.raises(SystemExit) as refused:
        type_in(place, *words)

    assert refused.value.code == 2
    assert words[0] in capsys.readouterr().err
    assert there(place) == set(runs)


def test_an_unknown_time_zone_is_refused(shelf, capsys):
    place, runs = shelf

    code = type_in(place, "--keep-daily", "1", "--time-zone", "Europe/Nowhere", "--delete")

    assert code == 20
    said = capsys.readouterr().err
    assert "'Europe/Nowhere' is unknown" in said
    assert "such as Europe/Berlin: --time-zone." in said
    assert there(place) == set(runs)


def test_what_is_older_than_a_collapse_stays_until_it_is_accepted(shelf, capsys):
    place, runs = shelf
    newest = collapsed(place)

    type_in(place, "--keep-last", "1", "--minimum", "1", "--delete")
    page = capsys.readouterr().out
    held = there(place)
    code = type_in(place, "--keep-last", "1", "--minimum", "1", "--delete", "--accept", newest)

    assert held == {*runs, newest}
    assert f"RowsCollapsed since {newest} is not accepted" in page
    assert f"Held: {len(runs)} backups. " in page
    assert f"To let them go: --accept {newest}" in page
    assert code == 0
    assert there(place) == {newest}


def test_on_a_volume_without_a_free_byte_it_makes_room_again(tmp_path, capsys):
    with mounted_tmpfs(tmp_path / "volume", 1 << 20) as place:
        runs = five_nights(place)
        with suppress(OSError), (place / "others").open("wb", buffering=0) as others:
            while others.write(b"x" * 4096):
                pass
        assert os.statvfs(place).f_bavail == 0

        code = type_in(place, "--keep-last", "2", "--minimum", "1", "--delete")

        assert code == 0, capsys.readouterr()
        assert there(place) == set(runs[3:])
        assert os.statvfs(place).f_bavail > 0
        with opened(place) as store:
            assert verify_audit(store).faults == ()
            assert len(verify_audit(store).events) == 3

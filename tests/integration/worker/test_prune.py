"""Retention on real files: only what the rules let go goes, wherever it is cut, whatever clock and volume do."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.order import RetentionOrder
from backup_operator.rules.retention import RetentionPlan
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.prune import plan_pruning
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import EntryKeys
from backup_operator.worker.store.run import begin_run, sweep_dead_runs
from tests.integration.worker.pruning import DAY, NIGHT, files_of, name_of, of_runs, opened, prune_at, pruning, written
from tests.support.kills import KILLED, run_in_a_child
from tests.support.store_content import CONTENT, KEYS, entry, keys_of, redis_entry, write_run

HOLD = """
import sys
from pathlib import Path
from backup_operator.worker.store.hold import held
from backup_operator.worker.store.layout import open_store
with open_store(Path(sys.argv[1]), "prod/app-db", described="claim", create=False) as store, held(store, sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


# what it does and tells


def test_what_the_rules_let_go_is_gone_and_told_in_report_and_trail(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4, with_globals=True)

        result = prune_at(store, NIGHT)

        assert of_runs(store) == files_of(*runs[2:])
        trail = verify_audit(store)
    assert result.model_dump(exclude={"rules", "next_to_go"}) == {
        "applied_at": NIGHT,
        "kept": 2,
        "held_back": 0,
        "deleted": tuple(runs[:2]),
        "deleted_count": 2,
        "freed_bytes": 4 * len(CONTENT),
        "left": (),
        "stopped": "",
        "dry_run": False,
        "going": (),
        "going_count": 0,
        "going_bytes": 0,
        "blocked": 0,
        "rules_digest": "",
    }
    assert result.rules == (
        f"last 2: kept 2, next to go {runs[2]} on 2026-11-24",
        "minimum 1, against all other rules: kept 0",
    )
    assert result.next_to_go is not None
    assert (result.next_to_go.run, result.next_to_go.at) == (runs[2], NIGHT + DAY)
    assert trail.faults == ()
    assert [(line["event"], line["run"], line["why"], line["policy"], line["worker"]) for line in trail.events] == [
        ("deletion", run, "not among the last 2", "prod/app-db", "pod-1") for run in runs[:2]
    ]


def test_a_plan_changes_nothing(tmp_path):
    with opened(tmp_path) as store:
        written(store, 4)
        before = contents(store)

        plan = plan_pruning(store, KEYS, pruning(), NIGHT).plan

        assert len(plan.going) == 2
        assert contents(store) == before


def test_pruning_again_finds_nothing_to_do(tmp_path):
    with opened(tmp_path) as store:
        written(store, 4)
        prune_at(store, NIGHT)
        before = contents(store)

        again = prune_at(store, NIGHT)

        assert (again.kept, again.deleted_count, again.freed_bytes) == (2, 0, 0)
        assert contents(store) == before


def test_the_floor_is_told(tmp_path):
    with opened(tmp_path) as store:
        written(store, 4)

        result = prune_at(store, NIGHT, RetentionOrder(keep_last=1, minimum=3))

    assert (result.kept, result.held_back, result.deleted_count) == (3, 2, 1)


def test_a_run_that_is_restored_from_stays_and_goes_the_next_time(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)
        argv = [sys.executable, "-c", HOLD, str(tmp_path), runs[0]]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"held\n"
            while_read = prune_at(store, NIGHT)
            there = of_runs(store)
            reader.communicate()
        afterwards = prune_at(store, NIGHT)

        assert (while_read.deleted, while_read.left) == ((runs[1],), (f"{runs[0]}: a restore reads it",))
        assert there == files_of(runs[0], *runs[2:], globals_too=False)
        assert afterwards.deleted == (runs[0],)


def test_what_the_caller_holds_stays(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)

        result = prune_at(store, NIGHT, held={runs[0]: "a person has to look at it"})

        assert result.deleted == (runs[1],)


# whose files are left alone


def contents(store: Store) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(store.directory.rglob("*")):
        name = str(path.relative_to(store.directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def test_no_file_of_others_is_touched(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    with opened(tmp_path) as store:
        runs = written(store, 4)
        strangers = {
            "backup_20200101_020000.sql.gz.gpg": "of the old scripts",
            "redis_20200101_020000.rdb": "of the old scripts",
            "backup_20200102_020000.sql.gz.gpg.partial": "nobody knows",
            "backup_20261120_020000.dump.gpg": "of the second of a run that goes, and not in its entry",
            "5b0c8b9e-6a53-4d7c-9f0a-2f1f6f4c1d11.started": "the marker of a restore",
            "backup_20200103_020000.json": "{}",
            "RECOVER.md": "how to recover",
            "notes.txt": "mine",
        }
        for name, content in strangers.items():
            (store.directory / name).write_text(content)
        (store.directory / "backup_20200104_020000.json").symlink_to(outside)
        (store.directory / "link").symlink_to("..")
        (store.directory / "safety").mkdir()
        (store.directory / "safety" / "backup_20200101_020000.json").write_text("{}")
        before = contents(store)

        result = prune_at(store, NIGHT)

        gone = set(before) - set(contents(store))
        assert result.deleted == tuple(runs[:2])
        assert gone == files_of(*runs[:2], globals_too=False)
        assert {name: content for name, content in contents(store).items() if name != "audit.jsonl"} == {
            name: content for name, content in before.items() if name not in gone
        }
    assert outside.read_text() == "not ours"


def test_an_artifact_that_became_a_link_is_damage_and_stays(tmp_path):
    (tmp_path / "outside").write_bytes(CONTENT)
    with opened(tmp_path) as store:
        runs = written(store, 4)
        artifact = store.directory / f"{runs[0]}.sql.gz.gpg"
        artifact.unlink()
        artifact.symlink_to(tmp_path / "outside")

        result = prune_at(store, NIGHT)

        assert result.deleted == (runs[1],)
        assert artifact.is_symlink()
    assert (tmp_path / "outside").read_bytes() == CONTENT


def test_damaged_and_locked_backups_are_no_floor_and_stay(tmp_path):
    with opened(tmp_path) as store:
        locked = write_run(store, NIGHT - 6 * DAY, keys=keys_of(b"the passphrase of before"))
        runs = written(store, 5)
        (store.directory / f"{runs[4]}.sql.gz.gpg").write_bytes(b"cut")

        result = prune_at(store, NIGHT, RetentionOrder(keep_last=1, minimum=2))

        assert result.deleted == tuple(runs[:2])
        assert of_runs(store) == files_of(locked, *runs[2:], globals_too=False)


def test_backups_of_another_kind_are_not_the_policys(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)

        result = prune_at(store, NIGHT, kind=SourceKind.REDIS)

        assert (result.kept, result.deleted_count) == (0, 0)
        assert of_runs(store) == files_of(*runs, globals_too=False)


def test_an_entry_that_names_files_of_others_does_not_remove_them(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)
        tombstone = store.directory / f"{runs[0]}.json.deleting"
        (store.directory / f"{runs[0]}.json").rename(tombstone)
        members = json.loads(tombstone.read_text())
        names = ["../outside", f"{runs[3]}.sql.gz.gpg", "notes.txt", f"{runs[0]}.sql.gz.gpg"]
        tombstone.write_text(json.dumps(members | {"artifacts": [{"name": name} for name in names]}))
        (store.directory / "notes.txt").write_text("mine")
        (store.directory.parent / "outside").write_text("not ours")

        result = prune_at(store, NIGHT)

        assert result.deleted == (runs[0], runs[1])
        assert of_runs(store) == files_of(*runs[2:], globals_too=False) | {"notes.txt"}
        assert (store.directory.parent / "outside").exists()


def test_files_of_dead_runs_are_the_sweeps(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)
        dead = begin_run_and_die(store)

        prune_at(store, NIGHT)
        after_pruning = of_runs(store)
        sweep_dead_runs(store)

        assert after_pruning == files_of(*runs[2:], globals_too=False) | dead
        assert of_runs(store) == files_of(*runs[2:], globals_too=False)


def begin_run_and_die(store: Store) -> set[str]:
    before = of_runs(store)

    def work() -> None:
        writer = begin_run(store, SourceKind.POSTGRES, NIGHT + timedelta(hours=1))
        writer.create_partial(entry().artifacts[0].kind, entry().artifacts[0].compression).write(b"half")
        os._exit(KILLED)

    assert run_in_a_child(work) == KILLED
    return of_runs(store) - before


def test_an_unknown_time_zone_deletes_nothing_and_says_so(tmp_path):
    with opened(tmp_path) as store:
        written(store, 4)

        result = prune_at(store, NIGHT, RetentionOrder(keep_last=1, minimum=1, time_zone="Europe/Nowhere"))

        assert result.stopped == "retention's time zone 'Europe/Nowhere' is unknown"
        assert len(read_catalog(store, KEYS).entries) == 4


# days and clocks


def night_after_night(store: Store, starts: list[datetime], retention: RetentionOrder) -> None:
    """A good run at each of these times, as the worker's clock has them, and retention after it."""
    for start in starts:
        run = write_run(store, start)
        prune_at(store, start + timedelta(minutes=5), retention, held={run: "it has just been made"})


def kept(store: Store) -> list[datetime]:
    return [run.started_at for run in read_catalog(store, KEYS).entries]


def test_forty_good_nights_leave_what_the_rules_say(tmp_path):
    nights = [NIGHT + number * DAY for number in range(40)]
    retention = RetentionOrder(max_age=10 * DAY, keep_weekly=4, keep_monthly=3, time_zone="Europe/Berlin")
    with opened(tmp_path) as store:
        night_after_night(store, nights, retention)

        # 2026-11-23 is a Monday; the last night is New Year's
        young = nights[-10:]
        sundays = [datetime(2026, 12, day, 2, tzinfo=UTC) for day in (13, 20)]
        assert kept(store) == sorted({*young, *sundays, datetime(2026, 11, 30, 2, tzinfo=UTC)}, reverse=True)
        assert of_runs(store) == files_of(*map(name_of, kept(store)), globals_too=False)
        assert len(verify_audit(store).events) == 40 - len(kept(store))


def test_forty_nights_without_a_good_run_lose_nothing(tmp_path):
    retention = RetentionOrder(max_age=30 * DAY, minimum=3)
    with opened(tmp_path) as store:
        runs = written(store, 20)
        # a failing run never gets as far as retention (test_retention_in_runs.py); this is the first good one
        write_run(store, NIGHT + 40 * DAY)
        first = prune_at(store, NIGHT + 40 * DAY, retention)
        write_run(store, NIGHT + 41 * DAY)
        second = prune_at(store, NIGHT + 41 * DAY, retention)

        # the date is believed once two good runs agree on it
        assert first.deleted_count == 0
        assert second.deleted == tuple(runs[:19])
        assert kept(store) == [NIGHT + 41 * DAY, NIGHT + 40 * DAY, NIGHT]


def test_a_clock_that_leaps_ahead_and_back_loses_next_to_nothing(tmp_path):
    retention = RetentionOrder(max_age=30 * DAY, minimum=3)
    nights = [NIGHT + number * DAY for number in range(30)]
    leaps = [NIGHT + timedelta(days=5000), NIGHT - timedelta(days=5000)]
    with opened(tmp_path) as store:
        night_after_night(store, nights, retention)
        night_after_night(store, leaps, retention)
        after_the_leaps = kept(store)
        night_after_night(store, [NIGHT + 30 * DAY], retention)

        assert after_the_leaps == [leaps[0], *nights[:6:-1], leaps[1]]
        assert kept(store) == [leaps[0], NIGHT + 30 * DAY, *nights[:6:-1]]


@pytest.mark.parametrize(
    "retention",
    [
        RetentionOrder(keep_last=5, minimum=3),
        RetentionOrder(keep_daily=7, keep_weekly=2, minimum=3),
        RetentionOrder(max_age=10 * DAY, minimum=3),
    ],
    ids=["last", "calendar", "age"],
)
def test_whatever_the_clock_says_the_run_just_made_and_the_newest_stay(tmp_path, retention):
    hours = [0, 24, 48, 47, 900, 72, 73, -50, 96, 100_000, 97, 120, 119, 144]
    with opened(tmp_path) as store:
        for hour in hours:
            night_after_night(store, [NIGHT + timedelta(hours=hour)], retention)
            assert NIGHT + timedelta(hours=hour) in kept(store)

        known = [NIGHT + timedelta(hours=hour) for hour in (144, 120, 119)]
        assert set(known) <= set(kept(store))


def test_the_plan_says_of_every_backup_why(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 3)
        plan: RetentionPlan = plan_pruning(store, KEYS, pruning(held={runs[0]: "it has just been made"}), NIGHT).plan

    assert [(verdict.run.name, verdict.why) for verdict in plan.verdicts] == [
        (runs[2], "last 2"),
        (runs[1], "last 2"),
        (runs[0], "it has just been made"),
    ]


def test_redis_backups_are_pruned_by_a_redis_policy(tmp_path):
    with opened(tmp_path) as store:
        runs = [write_redis_run(store, NIGHT - number * DAY) for number in range(4)]

        result = prune_at(store, NIGHT, kind=SourceKind.REDIS)

        assert result.deleted == (runs[3], runs[2])


def write_redis_run(store: Store, start: datetime, keys: EntryKeys = KEYS) -> str:
    record = redis_entry().artifacts[0]
    with begin_run(store, SourceKind.REDIS, start) as writer:
        partial = writer.create_partial(record.kind, record.compression)
        partial.write(CONTENT)
        writer.seal_partial(partial)
        made = record.model_copy(update={"name": writer.publish(partial)})
        writer.commit(redis_entry(writer.run, started_at=start, artifacts=(made,)), keys)
        return writer.run

"""The catalog: only what has an authentic entry and all its files is listed, all else is listed apart."""

import json
import os
import time
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.contract.report import BackupLine, Catalog
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.store.catalog import CatalogReading, read_catalog, read_entry
from backup_operator.worker.store.entry import EntryKeys, seal_entry
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.run import begin_run
from tests.support.store_content import CONTENT, KEYS, NIGHT, artifact, derive_quickly, entry, keys_of, write_run

SALT = bytes(16)


def opened(mount):
    return open_store(mount, "prod/app-db", described="claim backups", create=True)


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path) as one:
        yield one


def test_an_empty_store_has_an_empty_catalog(store):
    assert read_catalog(store, KEYS) == CatalogReading()
    assert read_catalog(store, KEYS).catalog() == Catalog(count=0)


def test_the_catalog_as_a_report_carries_it(store):
    write_run(store, NIGHT, with_globals=True)
    write_run(store, NIGHT + timedelta(days=1))

    line = {"completed_at": NIGHT + timedelta(seconds=90), "size_bytes": len(CONTENT), "rows": 3, "verified": True}
    newest = BackupLine(**line | {"name": "backup_20231202_020000", "started_at": NIGHT + timedelta(days=1)})
    oldest = {"name": "backup_20231201_020000", "started_at": NIGHT, "size_bytes": 2 * len(CONTENT), "rows": 6}
    assert read_catalog(store, KEYS).catalog() == Catalog(
        count=2, oldest_at=NIGHT, backups=(newest, BackupLine(**line | oldest))
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=40), max_size=8))
def test_backups_are_listed_newest_first_in_whatever_order_they_were_made(tmp_path_factory, offsets):
    with opened(tmp_path_factory.mktemp("volume")) as store:
        for offset in offsets:
            write_run(store, NIGHT + timedelta(hours=offset))

        listed = [run.started_at for run in read_catalog(store, KEYS).entries]

    assert listed == sorted((NIGHT + timedelta(hours=offset) for offset in offsets), reverse=True)


def test_what_is_no_good_backup_is_listed_apart_and_told(store):
    runs = [write_run(store, NIGHT + timedelta(days=day)) for day in range(6)]
    directory = store.directory
    (directory / f"{runs[0]}.sql.gz.gpg").unlink()
    (directory / f"{runs[1]}.sql.gz.gpg").write_bytes(CONTENT[:-1])
    forged = json.loads((directory / f"{runs[2]}.json").read_text())
    (directory / f"{runs[2]}.json").write_text(json.dumps(forged | {"verified": False}))
    (directory / f"{runs[3]}.json").write_bytes(seal_entry(entry(runs[3]), keys_of(b"another passphrase"), SALT))
    (directory / f"{runs[4]}.json").rename(directory / f"{runs[4]}.json.deleting")
    os.mkfifo(directory / "backup_20240101_000000.json")
    (directory / "backup_20240102_000000.json").symlink_to(f"{runs[5]}.json")
    (directory / "backup_20240103_000000.json.started").write_bytes(b"")
    (directory / "backup_20240103_000000.sql.gz.gpg").write_bytes(b"published, not yet committed")
    (directory / "backup_20240104_000000.sql.gz.gpg.partial").write_bytes(b"")
    (directory / "backup_20200101_020000.sql.gz.gpg").write_bytes(b"old")
    (directory / "redis_20200101_020000.rdb").write_bytes(b"old")
    (directory / "notes.txt").write_bytes(b"")
    (directory / os.fsdecode(b"no\xfftext")).write_bytes(b"")

    reading = read_catalog(store, KEYS)

    assert [run.name for run in reading.entries] == [runs[5]]
    assert [(refused.name, refused.reason) for refused in reading.unreadable] == [
        (f"{runs[2]}.json", Reason.VERIFICATION_FAILED),
        (f"{runs[3]}.json", Reason.KEY_INVALID),
        ("backup_20240101_000000.json", Reason.STORAGE_FAILED),
        ("backup_20240102_000000.json", Reason.STORAGE_FAILED),
    ]
    assert [(refused.name, refused.why) for refused in reading.damaged] == [
        (f"{runs[0]}.json", f"{runs[0]}.sql.gz.gpg is missing"),
        (f"{runs[1]}.json", f"{runs[1]}.sql.gz.gpg has 1299 bytes instead of 1300"),
    ]
    assert (reading.unfinished, reading.deleting) == (("backup_20240103_000000",), (runs[4],))
    assert reading.partials == ("backup_20240104_000000.sql.gz.gpg.partial",)
    assert reading.old == ("backup_20200101_020000.sql.gz.gpg", "redis_20200101_020000.rdb")
    assert set(reading.foreign) == {
        "notes.txt",
        os.fsdecode(b"no\xfftext"),
        "backup_20240104_000000.sql.gz.gpg.partial",
    }
    assert len(reading.warnings()) == 6
    assert len(reading.without_entry()) == 1


def test_files_of_others_are_counted_apart_with_a_few_names_that_fit_a_report(store):
    write_run(store)
    long = "redis_20200103_020000." + "\N{SNOWMAN}" * 70
    strangers = [
        "backup_20200101_020000.sql.gz.gpg",
        "redis_20200102_020000.rdb",
        long,
        "a\nb\x01.txt",
        os.fsdecode(b"no\xfftext"),
        "z.txt",
        "backup_20240104_000000.sql.gz.gpg.partial",
    ]
    for name in strangers:
        (store.directory / name).write_bytes(b"")
    (store.directory / os.fsdecode(b"backup_20190101_020000.\xff")).write_bytes(b"")

    catalog = read_catalog(store, KEYS).catalog()

    assert (catalog.count, catalog.old_files, catalog.foreign_files) == (1, 4, 4)
    assert catalog.other_names == (
        "backup_20190101_020000.\\xff",
        "backup_20200101_020000.sql.gz.gpg",
        "a\nb?.txt",
        "backup_20240104_000000.sql.gz.gpg.partial",
    )
    assert Catalog.model_validate_json(catalog.model_dump_json()) == catalog


def test_files_of_a_run_that_goes_on_are_nobody_elses(store):
    with begin_run(store, SourceKind.POSTGRES, NIGHT) as writer:
        writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)
        catalog = read_catalog(store, KEYS).catalog()

    assert catalog == Catalog(count=0)


def test_a_changed_passphrase_is_told_in_a_few_warnings_not_one_per_entry(store):
    for day in range(6):
        write_run(store, NIGHT + timedelta(days=day))

    reading = read_catalog(store, keys_of(b"a new passphrase"))

    assert reading.catalog() == Catalog(count=0, locked=6)
    warnings = reading.warnings()
    assert len(warnings) == 4
    assert "was written under another passphrase" in warnings[0]
    assert warnings[-1] == "… and the same of 3 more entries"


def test_one_whole_entry_is_read_by_its_run(store):
    run = write_run(store)

    read = read_entry(store, run, KEYS)

    assert read.artifacts[0].rows_per_table == {"public.users": 3, 'public."Größe"': 0}
    with pytest.raises(FileNotFoundError):
        read_entry(store, "backup_19990101_000000", KEYS)


def test_a_backup_that_is_deleted_while_the_catalog_is_read_is_not_told_as_damaged(tmp_path):
    with opened(tmp_path) as store:
        runs = [write_run(store, NIGHT + timedelta(days=day)) for day in range(4)]
        directory = store.directory
        derived = []

        def delete_others_meanwhile(salt: bytes) -> bytes:
            derived.append(salt)
            for run in runs[:2]:  # the first has been read already, the second has not
                (directory / f"{run}.json").rename(directory / f"{run}.json.deleting")
                (directory / f"{run}.sql.gz.gpg").unlink()
            return derive_quickly(b"the right passphrase", salt)

        reading = read_catalog(store, EntryKeys([delete_others_meanwhile]))

    assert len(derived) == 1
    assert [run.name for run in reading.entries] == [runs[3], runs[2]]
    assert (reading.damaged, reading.unreadable) == ((), ())


@pytest.fixture
def thousand(store):
    for number in range(1000):
        run = f"backup_{NIGHT + timedelta(hours=number):%Y%m%d_%H%M%S}"
        rows = {f"public.table_{table}": table for table in range(50)}
        record = artifact(f"{run}.sql.gz.gpg", rows_per_table=rows)
        one = entry(run, started_at=NIGHT + timedelta(hours=number), artifacts=(record,))
        (store.directory / f"{run}.json").write_bytes(seal_entry(one, KEYS, SALT))
        (store.directory / f"{run}.sql.gz.gpg").write_bytes(CONTENT)
    return store


def test_a_catalog_of_a_thousand_entries_costs_one_derivation_and_a_moment(thousand):
    derivations = []

    def derive(salt: bytes) -> bytes:
        derivations.append(salt)
        return derive_quickly(b"the right passphrase", salt)

    began = time.process_time()
    reading = read_catalog(thousand, EntryKeys([derive]))
    seconds = time.process_time() - began
    tracemalloc.start()
    again = read_catalog(thousand, EntryKeys([derive]))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(reading.entries) == 1000
    assert reading == again
    assert derivations == [SALT, SALT]
    assert seconds < 5
    assert peak_bytes < 16 << 20
    assert reading.catalog().count == 1000
    assert len(reading.catalog().backups) == 20

"""Runs that are killed, fail, or meet others: nothing half-written is ever listed, nothing foreign is lost."""

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import StoreError
from backup_operator.worker.store.audit import append, verify_audit
from backup_operator.worker.store.catalog import read_catalog, read_entry
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.run import begin_run, sweep_dead_runs
from tests.support.kills import KILLED, killed_at, run_in_a_child
from tests.support.store_content import CONTENT, KEYS, NIGHT, artifact, entry, write_run

FOREIGN = {
    "backup_20231130_020000.sql.gz.gpg": b"of the old script",
    "backup_20231201_020007.sql.gz.gpg": b"of the old script, seconds later",
    "backup_20231130_020000.sql.gz.gpg.partial": b"somebody's",
    "notes.txt": b"keep me",
}


def opened(mount: Path, before_step: Callable[[str], None] | None = None) -> Store:
    return open_store(mount, "prod/app-db", described="claim backups", create=True, before_step=before_step)


@pytest.fixture
def make_mount(tmp_path_factory):
    """Makes volumes with a store that holds one backup and files of others."""

    def make() -> Path:
        root: Path = tmp_path_factory.mktemp("volume")
        with opened(root) as store:
            for name, content in FOREIGN.items():
                (store.directory / name).write_bytes(content)
            write_run(store, NIGHT - timedelta(days=1))
            append(store, {"event": "backup"})
        return root

    return make


@pytest.fixture
def mount(make_mount):
    return make_mount()


def contents(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.directory.iterdir()}


def assert_sound(mount: Path) -> int:
    """Check the promises on a store that was left in any state, sweep it, and check again. Returns: the backups."""
    with opened(mount) as store:
        left = read_catalog(store, KEYS)
        assert (left.unreadable, left.damaged) == ((), ())
        for run in left.entries:
            for listed in run.artifacts:
                assert (store.directory / listed.name).read_bytes() == CONTENT

        sweep_dead_runs(store)

        swept = read_catalog(store, KEYS)
        assert swept.entries == left.entries
        assert (swept.unfinished, set(swept.old + swept.foreign)) == ((), set(FOREIGN))
        listed_names = {listed.name for run in swept.entries for listed in run.artifacts}
        entry_names = {f"{run.name}.json" for run in swept.entries}
        assert set(contents(store)) - {"audit.jsonl"} == listed_names | entry_names | set(FOREIGN)
        assert FOREIGN.items() <= contents(store).items()
        write_run(store, NIGHT)
        append(store, {"event": "backup"})
        assert verify_audit(store).faults == ()
        assert len(read_catalog(store, KEYS).entries) == len(swept.entries) + 1
        return len(swept.entries)


def whole_run(store: Store) -> None:
    write_run(store, NIGHT, with_globals=True)
    append(store, {"event": "backup"})


def steps_of_a_run(mount: Path) -> list[str]:
    labels: list[str] = []
    with opened(mount, labels.append) as store:
        whole_run(store)
    return labels


def test_a_run_killed_before_any_of_its_steps_leaves_a_sound_store(make_mount):
    steps = steps_of_a_run(make_mount())
    backups = []
    for step in range(len(steps)):
        mount = make_mount()

        def work(mount: Path = mount, step: int = step) -> None:
            with opened(mount, killed_at(step)) as store:
                whole_run(store)

        assert run_in_a_child(work) == KILLED
        backups.append(assert_sound(mount))
    assert len(steps) > 40
    commit = steps.index("publish backup_20231201_020000.json")
    assert backups == [1] * (commit + 1) + [2] * (len(steps) - commit - 1)


@pytest.mark.parametrize(
    ("number", "reason", "lasting"),
    [
        (errno.ENOSPC, Reason.STORAGE_FULL, False),
        (errno.ENOSPC, Reason.STORAGE_FULL, True),
        (errno.EDQUOT, Reason.QUOTA_EXCEEDED, True),
        (errno.EIO, Reason.STORAGE_FAILED, True),
    ],
    ids=[
        "one step finds it full",
        "all steps from there on find it full",
        "the quota is used up",
        "the volume breaks for good",
    ],
)
def test_a_run_that_fails_at_any_of_its_steps_says_why_and_leaves_a_sound_store(make_mount, number, reason, lasting):
    steps = steps_of_a_run(make_mount())
    commit = steps.index("publish backup_20231201_020000.json")
    for step in range(len(steps)):
        mount = make_mount()
        count = iter(range(10_000))

        def before_step(_label: str, count=count, step: int = step) -> None:
            at = next(count)
            if at == step or (lasting and at > step):
                raise OSError(number, os.strerror(number))

        with opened(mount, before_step) as store:
            failed = None
            try:
                whole_run(store)
            except StoreError as exc:
                failed = exc.reason
        assert failed == reason or (failed is None and step > commit), steps[step]
        backups = assert_sound(mount)
        if not lasting and failed and not steps[step].startswith("append") and step < len(steps) - 1:
            assert backups == 1, steps[step]


def write_half_a_run(store: Store) -> None:
    with begin_run(store, SourceKind.POSTGRES, NIGHT) as writer:
        first = writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)
        first.write(CONTENT)
        writer.seal_partial(first)
        writer.publish(first)
        writer.create_partial(ArtifactKind.POSTGRES_GLOBALS, Compression.GZIP).write(b"half")
        raise RuntimeError("the dump tool failed")


def test_leaving_a_run_early_removes_its_files_and_nothing_else(mount):
    with opened(mount) as store:
        before = contents(store)
        with pytest.raises(RuntimeError):
            write_half_a_run(store)

        assert contents(store) == before


def test_the_intent_names_the_files_before_they_are_there(mount):
    with opened(mount) as store, begin_run(store, SourceKind.POSTGRES, NIGHT) as writer:
        assert read_catalog(store, KEYS).unfinished == (writer.run,)
        partial = writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.ZSTD)

        assert partial.artifact.encode() in contents(store)[f"{writer.run}.json.started"]


def test_two_runs_of_one_second_get_names_of_their_own(mount):
    with opened(mount) as store:
        names = [write_run(store, NIGHT) for _ in range(3)]

        assert names == [f"backup_20231201_02000{second}" for second in range(3)]


def test_a_second_of_which_an_old_file_exists_is_not_taken(mount):
    with opened(mount) as store:
        name = write_run(store, NIGHT + timedelta(seconds=7))

        assert name == "backup_20231201_020008"
        assert contents(store)["backup_20231201_020007.sql.gz.gpg"] == b"of the old script, seconds later"


def test_a_file_that_an_old_script_makes_in_the_same_second_is_not_overwritten(mount):
    with opened(mount) as store:
        with begin_run(store, SourceKind.POSTGRES, NIGHT) as writer:
            partial = writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)
            partial.write(CONTENT)
            writer.seal_partial(partial)
            (store.directory / partial.artifact).write_bytes(CONTENT)
            with pytest.raises(StoreError) as refused:
                writer.publish(partial)
        sweep_dead_runs(store)

        assert "made on claim backups by somebody else" in refused.value.message
        assert refused.value.retryable
        assert contents(store)["backup_20231201_020000.sql.gz.gpg"] == CONTENT
        assert read_catalog(store, KEYS).old[0] == "backup_20231130_020000.sql.gz.gpg"


def test_a_sweep_spares_what_took_the_place_of_a_published_file(mount):
    with opened(mount) as store:
        writer = begin_run(store, SourceKind.POSTGRES, NIGHT)
        partial = writer.create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)
        partial.write(CONTENT)
        writer.seal_partial(partial)
        writer.publish(partial)
        (store.directory / partial.artifact).write_bytes(b"of the old script")

        sweep_dead_runs(store)

        assert contents(store)[partial.artifact] == b"of the old script"
        assert read_catalog(store, KEYS).unfinished == ()


@pytest.mark.parametrize(
    "intent",
    [b"", b'{"run": "backup_2023', b"\xff", b'{"run": "backup_20231130_020000", "begun_at": "2023-11-30T02:00:00Z"}'],
    ids=["empty", "torn", "no text", "of another run"],
)
def test_a_torn_intent_is_removed_and_names_no_file(mount, intent):
    with opened(mount) as store:
        before = contents(store)
        (store.directory / "backup_20231201_020000.json.started").write_bytes(intent)

        sweep_dead_runs(store)

        assert contents(store) == before


def test_an_intent_cannot_name_files_of_others(mount):
    names = ["audit.jsonl", "../secret", "backup_20231130_020000.sql.gz.gpg", "/etc/passwd", "notes.txt"]
    with opened(mount) as store:
        before = contents(store)
        (store.directory.parent / "secret").write_bytes(b"x")
        files = ", ".join(f'"{name}": {len(before.get(name, b"x"))}' for name in names)
        (store.directory / "backup_20231201_020000.json.started").write_text(
            f'{{"run": "backup_20231201_020000", "begun_at": "{NIGHT.isoformat()}", "files": {{{files}}}}}'
        )

        sweep_dead_runs(store)

        assert contents(store) == before
        assert (store.directory.parent / "secret").exists()


names = st.one_of(
    st.text(min_size=1, max_size=30).filter(
        lambda name: "/" not in name and "\0" not in name and name not in {".", ".."}
    ),
    st.from_regex(r"\A(backup|redis|globals|safety)_2023120[1-3]_0[0-9]00[0-5]{2}\.(sql|rdb|dump|json)[a-z.]{0,9}\Z"),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=20), max_size=6))
def test_a_sweep_never_removes_a_file_that_no_intent_names(tmp_path_factory, foreign):
    with opened(tmp_path_factory.mktemp("volume")) as store:
        for name, content in foreign.items():
            if not name.endswith(".json.started") and len(name.encode(errors="ignore")) < 200:
                (store.directory / name.encode(errors="ignore").decode()).write_bytes(content)
        before = contents(store)
        begin_run(store, SourceKind.POSTGRES, NIGHT).create_partial(ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)

        sweep_dead_runs(store)

        assert contents(store) == before


def test_an_entry_that_does_not_tell_what_was_published_is_not_committed(mount):
    with opened(mount) as store:
        with begin_run(store, SourceKind.POSTGRES, NIGHT) as writer, pytest.raises(ValueError, match="the entry of"):
            writer.commit(entry(writer.run, artifacts=(artifact(),)), KEYS)

        assert len(read_catalog(store, KEYS).entries) == 1


def test_entries_of_one_store_share_their_salt(mount):
    with opened(mount) as store:
        write_run(store, NIGHT)
        runs = read_catalog(store, KEYS).entries
        fingerprints = {read_entry(store, run.name, KEYS).key_fingerprint for run in runs}

        assert (len(runs), len(fingerprints)) == (2, 1)


def test_all_files_of_a_run_belong_to_us_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with opened(tmp_path) as store:
            write_run(store, NIGHT, with_globals=True)
            append(store, {"event": "backup"})
            modes = {path.name: path.stat().st_mode & 0o7777 for path in store.directory.iterdir()}
            directories = [path.stat().st_mode & 0o7777 for path in (store.directory, store.directory.parent)]
    finally:
        os.umask(before)

    assert set(modes.values()) == {0o600}
    assert directories == [0o700, 0o700]

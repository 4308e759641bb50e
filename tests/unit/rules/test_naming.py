"""Names of runs and files: written and read back, and nothing else taken for ours."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_operator.rules.naming import (
    ArtifactName,
    FileName,
    FileRole,
    RunName,
    StoredForm,
    artifact_name,
    marker_name,
    parse_artifact_name,
    parse_run_name,
    parse_stored_form,
    recognise,
    run_name,
    runs_of_safety_name,
    safety_name,
    second_after,
    store_path,
)
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind

NIGHT = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)
OF_REDIS = {ArtifactKind.REDIS_RDB, ArtifactKind.REDIS_AOF}
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))


@given(st.sampled_from(SourceKind), times)
def test_a_run_name_reads_back_as_its_kind_and_second(kind, at):
    assert parse_run_name(run_name(kind, at)) == RunName(kind, at)


@given(st.sampled_from(ArtifactKind), st.sampled_from(Compression), times)
def test_an_artifact_name_reads_back_as_its_run_kind_and_compression(kind, compression, at):
    source = SourceKind.REDIS if kind in OF_REDIS else SourceKind.POSTGRES

    name = artifact_name(run_name(source, at), kind, compression)

    assert parse_artifact_name(name) == ArtifactName(RunName(source, at), kind, compression)
    assert recognise(name) == FileName(FileRole.ARTIFACT, run_name(source, at))
    assert recognise(name + ".partial") == FileName(FileRole.PARTIAL, run_name(source, at))


def test_every_artifact_kind_has_a_name_of_its_own():
    redis, postgres = run_name(SourceKind.REDIS, NIGHT), run_name(SourceKind.POSTGRES, NIGHT)
    runs = {kind: redis if kind in OF_REDIS else postgres for kind in ArtifactKind}

    names = {artifact_name(runs[kind], kind, how) for kind in ArtifactKind for how in Compression}

    assert len(names) == len(ArtifactKind) * len(Compression)


@pytest.mark.parametrize(
    ("kind", "compression", "name"),
    [
        (ArtifactKind.POSTGRES_PLAIN, Compression.GZIP, "backup_20231201_020000.sql.gz.gpg"),
        (ArtifactKind.POSTGRES_PLAIN, Compression.ZSTD, "backup_20231201_020000.sql.zst.gpg"),
        (ArtifactKind.POSTGRES_PLAIN, Compression.NONE, "backup_20231201_020000.sql.gpg"),
        (ArtifactKind.POSTGRES_CUSTOM, Compression.GZIP, "backup_20231201_020000.dump.gz.gpg"),
        (ArtifactKind.POSTGRES_CUSTOM, Compression.NONE, "backup_20231201_020000.dump.gpg"),
        (ArtifactKind.POSTGRES_GLOBALS, Compression.GZIP, "globals_20231201_020000.sql.gz.gpg"),
        (ArtifactKind.POSTGRES_PROVIDER_DATA, Compression.GZIP, "auth_storage_20231201_020000.sql.gz.gpg"),
    ],
)
def test_artifacts_are_named_as_the_design_says(kind, compression, name):
    assert artifact_name("backup_20231201_020000", kind, compression) == name


def test_the_rdb_of_a_redis_run_is_named_after_it():
    name = artifact_name("redis_20231201_020000", ArtifactKind.REDIS_RDB, Compression.GZIP)

    assert name == "redis_20231201_020000.rdb.gz.gpg"


@pytest.mark.parametrize("run", ["redis_20231201_020000", "backup_20231301_020000", "backup_2023", ""])
def test_an_artifact_of_a_run_of_another_source_or_of_none_is_refused(run):
    with pytest.raises(ValueError, match="has no artifact of kind PostgresPlain"):
        artifact_name(run, ArtifactKind.POSTGRES_PLAIN, Compression.GZIP)


@pytest.mark.parametrize(
    ("name", "role", "run"),
    [
        ("backup_20231201_020000.json", FileRole.ENTRY, "backup_20231201_020000"),
        ("backup_20231201_020000.json.started", FileRole.INTENT, "backup_20231201_020000"),
        ("backup_20231201_020000.json.deleting", FileRole.TOMBSTONE, "backup_20231201_020000"),
        ("backup_20231201_020000.json.partial", FileRole.PARTIAL, "backup_20231201_020000"),
        ("backup_20231201_020000.json.started.partial", FileRole.PARTIAL, "backup_20231201_020000"),
        ("redis_20231201_020000.rdb.gz.gpg", FileRole.ARTIFACT, "redis_20231201_020000"),
        ("globals_20231201_020000.sql.gpg", FileRole.ARTIFACT, "backup_20231201_020000"),
        (".lock", FileRole.STORE, None),
        ("audit.jsonl", FileRole.STORE, None),
        ("RECOVER.md", FileRole.STORE, None),
        ("RECOVER.md.partial", FileRole.STORE, None),
        ("redis_aof_20231201_020000.aof.gz.gpg", FileRole.ARTIFACT, "redis_20231201_020000"),
        ("safety", FileRole.STORE, None),
        ("5b0c8b9e-6a53-4d7c-9f0a-2f1f6f4c1d11.started", FileRole.MARKER, None),
        ("../5b0c.started", FileRole.FOREIGN, None),
        (".started", FileRole.FOREIGN, None),
        ("redis_20231201_020000.rdb", FileRole.OLD, None),
        ("redis_aof_20231201_020000.aof", FileRole.OLD, None),
        ("backup_20231201_020000.sql.gz", FileRole.OLD, None),
        ("backup_20231301_020000.sql.gz.gpg", FileRole.FOREIGN, None),
        ("backup_20231201_020000.json\n", FileRole.OLD, None),
        ("\nbackup_20231201_020000.json", FileRole.FOREIGN, None),
        ("backup_٢٠٢٣١٢٠١_020000.json", FileRole.FOREIGN, None),
        ("globals_20231201_020000.json", FileRole.OLD, None),
        ("notes.partial", FileRole.FOREIGN, None),
        ("lost+found", FileRole.FOREIGN, None),
        ("", FileRole.FOREIGN, None),
    ],
)
def test_a_file_is_recognised_by_its_name(name, role, run):
    assert recognise(name) == FileName(role, run)


@given(st.text())
def test_any_name_is_recognised_as_something(name):
    assert recognise(name).role in FileRole


@pytest.mark.parametrize(
    ("name", "kind", "compression", "encrypted"),
    [
        ("backup_20231201_020000.sql.gz.gpg", ArtifactKind.POSTGRES_PLAIN, Compression.GZIP, True),
        ("redis_20231201_020000.rdb.gz.gpg", ArtifactKind.REDIS_RDB, Compression.GZIP, True),
        ("redis_20231201_020000.rdb", ArtifactKind.REDIS_RDB, Compression.NONE, False),
        ("redis_aof_20231201_020000.aof.gz", ArtifactKind.REDIS_AOF, Compression.GZIP, False),
    ],
)
def test_a_file_of_the_old_scripts_says_by_its_name_what_it_is(name, kind, compression, encrypted):
    assert parse_stored_form(name) == StoredForm(kind, compression, encrypted, NIGHT)


@pytest.mark.parametrize(
    "name", ["backup_20231201_020000", "backup_20231201_020000.json", "redis_aof_20231201_020000.tar.gz.gpg", "x.sql"]
)
def test_other_files_say_nothing_of_their_content(name):
    assert parse_stored_form(name) is None


@pytest.mark.parametrize("run", ["backup_20231201_020000", "redis_20231201_020000"])
def test_a_safety_backup_is_found_by_the_name_that_people_use(run):
    assert safety_name(run) == "safety_20231201_020000"
    assert run in runs_of_safety_name("safety_20231201_020000")


@pytest.mark.parametrize("name", ["safety_", "safety_20231301_020000", "backup_20231201_020000", "20231201_020000"])
def test_nothing_else_names_a_safety_backup(name):
    assert runs_of_safety_name(name) == ()


@pytest.mark.parametrize("uid", ["", "../x", "a/b", "a" * 65, "uid\n"])
def test_what_is_no_uid_makes_no_marker(uid):
    with pytest.raises(ValueError, match="is no uid"):
        marker_name(uid)


def test_a_time_in_another_zone_is_named_in_utc():
    at = NIGHT.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert run_name(SourceKind.POSTGRES, at) == "backup_20231201_020000"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        run_name(SourceKind.POSTGRES, NIGHT.replace(tzinfo=None))


def test_the_second_after_begins_at_its_first_microsecond():
    assert second_after(NIGHT.replace(microsecond=999_999)) == NIGHT + timedelta(seconds=1)


def test_the_default_path_of_a_store_is_namespace_and_policy():
    assert store_path("prod", "app-db") == "prod/app-db"

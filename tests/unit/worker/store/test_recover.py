"""RECOVER.md: what it tells of a run, and what it never tells."""

from pathlib import Path

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.worker.store.recover import recover_text
from tests.support.store_content import artifact, entry, redis_entry

STORE = Path("/backups/prod/app-db")
GLOBALS = artifact("globals_20231201_020000.sql.gz.gpg", kind=ArtifactKind.POSTGRES_GLOBALS, rows_per_table=None)
ROWS = artifact("auth_storage_20231201_020000.sql.gz.gpg", kind=ArtifactKind.POSTGRES_PROVIDER_DATA)
CUSTOM = artifact(
    "backup_20231201_020000.dump.zst.gpg", kind=ArtifactKind.POSTGRES_CUSTOM, compression=Compression.ZSTD
)


def page(*artifacts, **changes) -> str:
    return recover_text(STORE, entry(**({"artifacts": artifacts or (artifact(),)} | changes)))


def test_the_page_names_the_newest_backup_and_what_it_holds():
    text = page()

    assert "- Newest backup: `backup_20231201_020000`, begun 2023-12-01 02:00:00 UTC\n" in text
    assert "- It holds 3 rows in 2 tables\n" in text
    assert "- Source: Postgres 17.12\n" in text
    assert "STORE=/backups/prod/app-db\n" in text


@pytest.mark.parametrize(
    ("artifacts", "commands"),
    [
        ((artifact(),), ["gunzip --force backup_20231201_020000.sql.gz", "--file backup_20231201_020000.sql\n"]),
        (
            (CUSTOM,),
            ["zstd --decompress --force backup_20231201_020000.dump.zst", "restored backup_20231201_020000.dump"],
        ),
        (
            (artifact("backup_20231201_020000.sql.gpg", compression=Compression.NONE),),
            ["--output backup_20231201_020000.sql --decrypt", "--file backup_20231201_020000.sql\n"],
        ),
        ((artifact(), GLOBALS), ["--dbname postgres --file globals_", "createdb", "--dbname restored --file backup_"]),
        ((artifact(), ROWS), ["--dbname postgres --file auth_storage_", "--dbname postgres --file backup_"]),
    ],
    ids=["gzip", "custom and zstd", "no compression", "roles first", "the provider's rows first"],
)
def test_each_kind_of_artifact_has_its_commands_in_order(artifacts, commands):
    text = page(*artifacts)

    places = [text.find(command) for command in commands]
    assert -1 not in places
    assert places == sorted(places)


def test_a_database_of_another_encoding_is_made_in_it():
    assert "createdb --template template0 --encoding UTF8 restored" in page()
    assert "--encoding LATIN1 --locale C restored" in page(server={"encoding": "LATIN1"})
    assert "createdb --template template0 restored" in page(server={"encoding": "$(reboot)"})


def test_words_of_a_server_cannot_become_commands_or_markup():
    hostile = "x`; rm -rf ~\n```sh\nreboot\n```"

    text = page(server={"version": hostile, "roles": [hostile], "encoding": hostile}, client={"tool": hostile})

    assert text.count("```") == page().count("```")
    assert "\nreboot" not in text


def test_a_path_with_a_blank_or_a_quote_is_quoted():
    assert "STORE='/mnt/a b/c'\n" in recover_text(Path("/mnt/a b/c"), entry())
    assert "STORE='/mnt/$x'\n" in recover_text(Path("/mnt/$x"), entry())


def test_a_redis_page_warns_of_the_append_only_trap():
    text = recover_text(STORE, redis_entry())

    assert "- It holds 6 keys, 2 of them with a time to live\n" in text
    assert "do not just put `dump.rdb` there" in text
    assert "file appendonly.aof.1.base.rdb seq 1 type b" in text
    assert "psql" not in text.split("## Another backup")[0]


def test_the_page_tells_what_to_do_about_quotes():
    assert "leave these two quotes out" in page()

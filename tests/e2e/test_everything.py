"""One of everything, backed up on the cluster and opened with stock programs, equals its source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import objects, source_redis
from tests.support.compare import PostgresDatabase, assert_redis_servers_are_equal, key_counts
from tests.support.kubectl import Namespace
from tests.support.opening import Opener, file_of, start_opener
from tests.support.policies import Policy
from tests.support.servers import Servers

EVERYTHING = Path(__file__).resolve().parents[1] / "golden/source/everything.sql"
PGBENCH_SCALE = 10
"""1,000,000 rows of pgbench_accounts."""
BIG_RUN_SECONDS = 240


@pytest.fixture(scope="module")
def everything(module_namespace: Namespace) -> Servers:
    """Servers that hold one of everything and 1,000,000 pgbench rows, Secret `app` and claim `backups` beside them."""
    started = Servers(module_namespace, password="everything and more")
    started.start("postgres", "redis")
    database = started.create_database("app", EVERYTHING.read_bytes())
    scale = f"--scale={PGBENCH_SCALE}"
    database.shell.run("pgbench", "--initialize", "--quiet", scale, *objects.POSTGRES, "app", timeout_seconds=300)
    with started.redis_client() as client:
        source_redis.fill(client)
    module_namespace.apply(started.app_secret(), objects.claim("backups", "4Gi"))
    return started


@dataclass(frozen=True)
class Source:
    """What the PostgreSQL source holds. Nothing changes it, and a checksum of a million rows takes its time."""

    contents: dict[str, list[Any]]
    schema: list[str]

    def assert_equals(self, restored: PostgresDatabase) -> None:
        """Raises: AssertionError naming the first difference in contents, then in the schema."""
        assert restored.contents() == self.contents
        assert restored.schema().splitlines() == self.schema

    @property
    def rows_per_table(self) -> dict[str, int]:
        """By name quoted as in SQL: what an entry of a backup must say."""
        tables = {key: found for key, found in self.contents.items() if key.startswith("table ")}
        return {key.removeprefix("table "): found[0] for key, found in tables.items()}


@pytest.fixture(scope="module")
def source(everything: Servers) -> Source:
    database = everything.database()
    return Source(database.contents(), database.schema().splitlines())


@pytest.fixture(scope="module")
def stored(everything: Servers) -> Opener:
    """A pod that opens what is stored, with fresh servers."""
    return start_opener(everything.namespace)


def test_a_plain_dump_of_everything_opens_with_gpg_gunzip_and_psql_and_equals_its_source(everything, stored, source):
    space = everything.namespace
    space.apply(objects.backup_policy("plain", objects.postgres_source(globals=True)))

    good = Policy(space, "plain").back_up("plain-now", timeout_seconds=BIG_RUN_SECONDS)

    store = f"{space.name}/plain"
    entry = stored.entry(store, good["name"])
    stored.load_globals(store, file_of(entry, "PostgresGlobals"))
    restored = stored.load_plain(store, file_of(entry, "PostgresPlain"), "app_plain")
    source.assert_equals(restored)
    counted = next(one["rows_per_table"] for one in entry["artifacts"] if one["kind"] == "PostgresPlain")
    assert counted == source.rows_per_table
    assert counted["public.pgbench_accounts"] == PGBENCH_SCALE * 100_000
    assert good["rows"] == sum(counted.values())


def test_a_custom_dump_of_everything_opens_with_gpg_and_pg_restore_and_equals_its_source(everything, stored, source):
    space = everything.namespace
    space.apply(objects.backup_policy("custom", objects.postgres_source(format="Custom", globals=True)))

    good = Policy(space, "custom").back_up("custom-now", timeout_seconds=BIG_RUN_SECONDS)

    store = f"{space.name}/custom"
    entry = stored.entry(store, good["name"])
    stored.load_globals(store, file_of(entry, "PostgresGlobals"))
    restored = stored.load_custom(store, file_of(entry, "PostgresCustom"), "app_custom")
    source.assert_equals(restored)


def test_a_zstd_backup_opens_with_stock_zstd_and_gpg_and_equals_its_source(everything, stored, source):
    """The million rows are in the dumps above; here they would only cost time."""
    space = everything.namespace
    without = objects.postgres_source(tables={"exclude": ["pgbench_accounts"]})
    space.apply(objects.backup_policy("small", without, compression={"algorithm": "Zstd", "level": 9}))

    good = Policy(space, "small").back_up("small-now")

    store = f"{space.name}/small"
    entry = stored.entry(store, good["name"])
    file = file_of(entry, "PostgresPlain")
    assert file.endswith(".sql.zst.gpg")
    restored = stored.load_plain(store, file, "app_zstd")
    wanted = {key: found for key, found in source.contents.items() if key != "table public.pgbench_accounts"}
    assert restored.contents() == wanted


def test_a_redis_with_everything_opens_with_gpg_gunzip_and_redis_server_and_equals_its_source(everything, stored):
    space = everything.namespace
    space.apply(objects.backup_policy("cache", objects.redis_source()))

    good = Policy(space, "cache").back_up("cache-now", timeout_seconds=BIG_RUN_SECONDS)

    store = f"{space.name}/cache"
    entry = stored.entry(store, good["name"])
    artifact = next(one for one in entry["artifacts"] if one["kind"] == "RedisRdb")
    with stored.loaded_rdb(store, artifact["name"]) as restored, everything.redis_client() as source:
        assert_redis_servers_are_equal(source, restored)
        counts = key_counts(source)
    found = {int(number): (tally["keys"], tally["expiring"]) for number, tally in artifact["keys_per_database"].items()}
    assert found == counts
    assert good["keys"] == sum(keys for keys, _ in counts.values())


def test_the_store_holds_what_the_design_says_and_nothing_else(everything, stored):
    """Artifacts, entry, audit line and RECOVER.md; files 0600, directories 0700, all of the worker's uid."""
    space = everything.namespace
    space.apply(
        objects.backup_policy("tidy", objects.redis_source(), storage={"claimName": "backups", "path": "by/hand"})
    )

    good = Policy(space, "tidy").back_up("tidy-now")

    run = good["name"]
    listed = set(stored.files("by/hand"))
    assert {"RECOVER.md", "audit.jsonl", f"{run}.json", f"{run}.rdb.gz.gpg"} <= listed
    assert [name for name in listed if name.endswith((".partial", ".started", ".deleting"))] == []
    modes = stored.bash("find /backups/by -printf '%y %m %U\n' | sort -u").splitlines()
    assert modes == ["d 700 65532", "f 600 65532"]

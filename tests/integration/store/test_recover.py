"""RECOVER.md is typed as it stands, by a shell, with stock tools: what comes out is what was in the source."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.worker.stages.chain import Recipe, seal
from backup_operator.worker.store.entry import ArtifactRecord
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.recover import write_recover
from backup_operator.worker.store.run import RunWriter, begin_run
from tests.support.polling import wait_until
from tests.support.postgres_server import SUPERUSER_PASSWORD, PostgresServer
from tests.support.redis_server import PATIENCE_SECONDS
from tests.support.store_content import KEYS, NIGHT, entry

PASSPHRASE = b'it\'s a "long" passphrase with `all` $kinds'
SCHEMA = """
    create role "App Owner"; create role reader;
    create schema "Größe" authorization "App Owner";
    create table "Größe"."Übel" (id int primary key, text text); alter table "Größe"."Übel" owner to "App Owner";
    insert into "Größe"."Übel" select n, 'row ' || n || E'\\n\\t\\\\.' from generate_series(1, 500) n;
    create table empty (id int); grant select on empty to reader;
    select lo_from_bytea(4711, 'a large object');
"""
Dumps = Sequence[tuple[ArtifactKind, bytes]]


def write_run(mount: Path, kind: SourceKind, compression: Compression, dumps: Dumps) -> Path:
    """A run of these dumps and its RECOVER.md. Returns: the store's directory."""
    mount.mkdir()
    with open_store(mount, "prod/app db", described="claim backups", create=True) as store:
        with begin_run(store, kind, NIGHT) as writer:
            records = tuple(write_artifact(writer, one, compression, dump) for one, dump in dumps)
            made = entry(writer.run, kind=kind, artifacts=records)
            writer.commit(made, KEYS)
        assert write_recover(store, made)
        assert not write_recover(store, made)
        return store.directory


def write_artifact(writer: RunWriter, kind: ArtifactKind, compression: Compression, dump: bytes) -> ArtifactRecord:
    file = writer.create_partial(kind, compression)
    sealed = seal([dump], file, Recipe(compression, 2, PASSPHRASE))
    writer.seal_partial(file)
    sizes = {name: getattr(sealed, name) for name in ("plain_bytes", "plain_sha256", "stored_bytes", "stored_sha256")}
    return ArtifactRecord(name=writer.publish(file), kind=kind, compression=compression, **sizes)


def type_all(store: Path, scratch: Path, environment: Mapping[str, str]) -> str:
    """Run the page's `sh` blocks top to bottom in one shell, as a person would. Returns: what they printed."""
    page = (store / "RECOVER.md").read_text()
    assert PASSPHRASE.decode() not in page
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    secret = scratch / "typed by the person"
    secret.write_bytes(PASSPHRASE + b"\nanother line\n")
    person = f'cat "{secret}" > passphrase\n'
    script = "".join(block + (person if "/dev/null passphrase" in block else "") for block in blocks)
    work = scratch / "work"
    work.mkdir()
    with gpg_home() as home:
        done = subprocess.run(
            ["sh", "-eu"],
            input=script,
            cwd=work,
            env={"PATH": os.environ["PATH"], "HOME": home, "GNUPGHOME": home, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (work / "passphrase").exists()
    return done.stdout


@contextmanager
def gpg_home() -> Iterator[str]:
    """A home of gpg's own; its agent is ended with it."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        yield home
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)


def login(server: PostgresServer) -> dict[str, str]:
    return {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": SUPERUSER_PASSWORD}


def dump_with(server: PostgresServer, program: str, *options: str) -> bytes:
    argv = [str(server.bin / program), "--no-password", *options]
    return subprocess.run(argv, env=login(server), check=True, capture_output=True).stdout


def contents(server: PostgresServer, database: str) -> list[list[tuple[object, ...]]]:
    queries = [
        'select id, md5(text) from "Größe"."Übel" order by 1',
        "select convert_from(lo_get(4711), 'UTF8'), count(*) from empty",
        "select tableowner, has_table_privilege('reader', 'public.empty', 'select') from pg_tables "
        "where tablename = 'Übel'",
    ]
    return [server.rows(query, database) for query in queries]


@pytest.fixture(scope="module")
def source():
    with PostgresServer(15) as server:
        server.execute("create database app")
        server.execute(SCHEMA, "app")
        yield server


@pytest.mark.parametrize(
    ("kind", "options", "compression", "with_globals"),
    [
        (ArtifactKind.POSTGRES_PLAIN, ["--format=plain"], Compression.GZIP, True),
        (ArtifactKind.POSTGRES_PLAIN, ["--format=plain"], Compression.NONE, False),
        (ArtifactKind.POSTGRES_CUSTOM, ["--format=custom", "--compress=0"], Compression.ZSTD, False),
        (ArtifactKind.POSTGRES_CUSTOM, ["--format=custom", "--compress=0"], Compression.GZIP, True),
    ],
    ids=["plain, gzip, roles", "plain, uncompressed", "custom, zstd", "custom, gzip, roles"],
)
def test_the_typed_page_brings_a_database_back(tmp_path, source, kind, options, compression, with_globals):
    dumps = [(kind, dump_with(source, "pg_dump", "--dbname=app", *options))]
    if with_globals:
        dumps.append((ArtifactKind.POSTGRES_GLOBALS, dump_with(source, "pg_dumpall", "--globals-only")))
    store = write_run(tmp_path / "volume", SourceKind.POSTGRES, compression, dumps)

    with PostgresServer(15) as target:
        if not with_globals:  # as the page tells for `role … does not exist`
            target.execute('create role "App Owner"; create role reader')
        printed = type_all(store, tmp_path, login(target))

        assert contents(target, "restored") == contents(source, "app")
    assert len(re.findall(r": OK$", printed, re.MULTILINE)) == len(dumps)
    assert re.search(r'"Größe"\."Übel"\s+\|\s+500\n', printed)
    assert re.search(r"public\.empty\s+\|\s+0\n", printed)


def test_a_damaged_file_stops_the_typed_page_before_anything_is_loaded(tmp_path):
    store = write_run(tmp_path / "volume", SourceKind.POSTGRES, Compression.GZIP, [(ArtifactKind.POSTGRES_PLAIN, b"x")])
    stored = next(store.glob("*.gpg"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")

    with pytest.raises(AssertionError, match="sha256sum: WARNING: 1 computed checksum did NOT match"):
        type_all(store, tmp_path, {})
    assert not (tmp_path / "work" / stored.name.removesuffix(".gpg")).exists()


@contextmanager
def redis_server() -> Iterator[redis.Redis]:
    """A server on a unix socket, in a directory with a short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        argv = ["redis-server", "--port", "0", "--unixsocket", "s", "--dir", directory, "--save", ""]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: Path(directory, "s").exists(), bool, for_what="the socket of Redis")
            with redis.Redis(unix_socket_path=f"{directory}/s", socket_timeout=PATIENCE_SECONDS) as client:
                wait_until(client.ping, bool, for_what="Redis answering")
                yield client
            process.terminate()


def test_the_typed_page_brings_redis_back_both_ways(tmp_path):
    with redis_server() as source:
        source.mset({f"key:{number}": "wert ü" for number in range(1000)})
        source.set("gone tomorrow", b"\x00\xff", ex=86_400)
        source.save()
        dump = Path(str(source.config_get("dir")["dir"]), "dump.rdb").read_bytes()
    store = write_run(tmp_path / "volume", SourceKind.REDIS, Compression.GZIP, [(ArtifactKind.REDIS_RDB, dump)])

    printed = type_all(store, tmp_path, {})

    assert len(re.findall(r"^db0:keys=1001,expires=1,", printed, re.MULTILINE)) == 2
    work = tmp_path / "work"
    assert (work / "redis-data/dump.rdb").read_bytes() == dump
    assert (work / "redis-aof/appendonlydir/appendonly.aof.manifest").exists()

"""Room `worker.store`: RECOVER.md, the way back without us, for the store it lies in; written by `worker.backup`.

Its `sh` blocks are run by a test as they stand, top to bottom in one directory. Written for a tired person: what to
type comes first, what to know where it is needed. It holds no secret.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import JsonValue

from backup_operator.rules.naming import ENTRY_SUFFIX, RECOVER_NAME
from backup_operator.vocabulary.choices import ArtifactKind, Compression, SourceKind
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import ArtifactRecord, Entry

_LIMIT_BYTES = 1 << 20
_ROLES_SHOWN = 30
_LOADING_ORDER = (
    ArtifactKind.POSTGRES_GLOBALS,
    ArtifactKind.POSTGRES_PROVIDER_DATA,
    ArtifactKind.POSTGRES_PLAIN,
    ArtifactKind.POSTGRES_CUSTOM,
    ArtifactKind.REDIS_RDB,
)
_UNPACKERS: dict[Compression, str] = {Compression.GZIP: "gunzip --force", Compression.ZSTD: "zstd --decompress --force"}
_PACKED_SUFFIXES: dict[Compression, str] = {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}


def write_recover(store: Store, entry: Entry) -> bool:
    """Write RECOVER.md for the run of this entry, the newest; False where it says so already. Raises: StoreError."""
    content = recover_text(store.directory, entry).encode()
    try:
        if store.read_file(RECOVER_NAME, _LIMIT_BYTES) == content:
            return False
    except FileNotFoundError:
        pass
    store.replace_whole(RECOVER_NAME, content)
    return True


def recover_text(directory: Path, entry: Entry) -> str:
    """The page, in Markdown."""
    sections = [_head(directory, entry), _passphrase(), _open(entry)]
    sections += _load_postgres(entry) if entry.kind is SourceKind.POSTGRES else _load_redis(entry)
    return "\n\n".join([*sections, _other_backups(entry), _clean_up()]) + "\n"


def _head(directory: Path, entry: Entry) -> str:
    plain_bytes = sum(artifact.plain_bytes for artifact in entry.artifacts)
    policy = f"{_word(entry.policy.namespace)}/{_word(entry.policy.name)}"
    return f"""\
# How to get the data back, without the operator

Backups of the {entry.kind} policy `{policy}`. You need this directory, the passphrase, and
{_tools(entry)}. Neither the operator nor its cluster is needed.

- Newest backup: `{entry.run}`, begun {_time(entry)}{"" if entry.verified else ", NOT verified"}
- It holds {_contents(entry)}
- Source: {_word(entry.server.get("product", entry.kind))} {_word(entry.server.get("version", "of unknown version"))}
- Free space needed: {_mebibytes(2 * plain_bytes)} MiB

Type the commands below one block after the other, in one shell, in an empty directory that is **not** on the backup
volume. `STORE` is the directory that holds this page; change it if the volume is mounted elsewhere:

```sh
STORE={shlex.quote(str(directory))}
umask 077
```"""


def _passphrase() -> str:
    return """\
## 1. The passphrase

```sh
install -m 0600 /dev/null passphrase
```

Open the file `passphrase` with an editor and put the passphrase on its **first line**; gpg reads no further. It is what
the policy's `encryption.passphraseSecretRef` names. If it is written there in quotes (`'…'` or `"…"` around all of it,
as environment files have them), leave these two quotes out: the operator did. Should gpg then say `Bad session key`, it
is another passphrase (an older one, before it was changed?). Never type it on a command line: others can see that."""


def _open(entry: Entry) -> str:
    blocks = "\n".join(_open_commands(artifact) for artifact in _in_order(entry))
    return f"""\
## 2. Decrypt and unpack

```sh
{blocks}
```

Each must say `OK` and end without an error. gpg writes out what it reads *before* it knows whether the file is whole:
if it fails, throw away what it wrote and take an older backup. (`encrypted with 1 passphrase` is no error.)"""


def _open_commands(artifact: ArtifactRecord) -> str:
    packed = artifact.name.removesuffix(".gpg")
    lines = [
        f'echo "{artifact.stored_sha256}  $STORE/{artifact.name}" | sha256sum --check &&',
        "gpg --batch --yes --pinentry-mode loopback --passphrase-file passphrase \\",
        f'    --output {packed} --decrypt "$STORE/{artifact.name}"',
    ]
    if artifact.compression in _UNPACKERS:
        lines[-1] += " &&"
        lines.append(f"{_UNPACKERS[artifact.compression]} {packed}")
    return "\n".join(lines)


def _load_postgres(entry: Entry) -> Iterator[str]:
    yield """\
## 3. Where the data goes

Any PostgreSQL server at least as new as the source, and a superuser there. Tell the tools where it is, for example
`export PGHOST=localhost PGPORT=5432 PGUSER=postgres` (the password goes into `~/.pgpass`)."""
    in_provider = any(artifact.kind is ArtifactKind.POSTGRES_PROVIDER_DATA for artifact in entry.artifacts)
    for artifact in _in_order(entry):
        if artifact.kind is ArtifactKind.POSTGRES_GLOBALS:
            yield _load_globals(artifact)
        elif artifact.kind is ArtifactKind.POSTGRES_PROVIDER_DATA:
            yield _load_provider_data(artifact)
        else:
            yield _load_into_project(artifact, entry) if in_provider else _load_database(artifact, entry)
    yield _roles(entry)


def _load_globals(artifact: ArtifactRecord) -> str:
    return f"""\
## Roles

```sh
psql --no-psqlrc --dbname postgres --file {_unpacked(artifact)}
```

`role … already exists` is no harm. But such a role then gets the backup's attributes, **its password too**, that of
`postgres` included: from then on the source's passwords count."""


def _load_database(artifact: ArtifactRecord, entry: Entry) -> str:
    return f"""\
## The database

A **new** database is made; nothing that is there is touched.

```sh
createdb --template template0{_encoding(entry)} restored
{_load(artifact, "restored")}
```

It stops at the first error. Then: `dropdb restored`, put right what it names (below), and run this block again. When it
has gone through, count the rows and compare with the backup's (`rows_per_table` in `{entry.run}{ENTRY_SUFFIX}`):

{_count_rows("restored")}"""


def _load_provider_data(artifact: ArtifactRecord) -> str:
    return f"""\
## The provider's own rows (users, sessions, files' records)

The source is a Supabase project: its `auth` and `storage` schemas belong to the provider, so this file holds their rows
only. Load it into a **new project** of the same PostgreSQL version, which has these tables already, and *before* the
rest, which refers to it. Set PGHOST, PGPORT and PGUSER to the new project's session pooler or direct host:

```sh
{_load(artifact, "postgres")}
```

The files themselves are not in the database: they have to be copied from the old project's storage."""


def _load_into_project(artifact: ArtifactRecord, entry: Entry) -> str:
    return f"""\
## The database

```sh
{_load(artifact, "postgres")}
```

It stops at the first error: put right what it names (below). Such a project has one database and no superuser, so
begin again with a new project. Then count the rows and compare with the backup's (`rows_per_table` in
`{entry.run}{ENTRY_SUFFIX}`):

{_count_rows("postgres")}"""


def _load(artifact: ArtifactRecord, database: str) -> str:
    if artifact.kind is ArtifactKind.POSTGRES_CUSTOM:
        return f"pg_restore --exit-on-error --dbname {database} {_unpacked(artifact)}"
    return f"psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname {database} --file {_unpacked(artifact)}"


def _count_rows(database: str) -> str:
    return f"```sh\npsql --no-psqlrc --tuples-only --dbname {database} {_ROW_COUNTS}```"


_ROW_COUNTS = r"""<<'SQL'
select format('select %L, count(*) from only %I.%I', format('%I.%I', schemaname, tablename), schemaname, tablename)
    from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1 \gexec
SQL
"""


def _roles(entry: Entry) -> str:
    roles = entry.server.get("roles")
    names = [_word(role) for role in roles[:_ROLES_SHOWN]] if isinstance(roles, list) else []
    known = f" The source has: {', '.join(f'`{name}`' for name in names)}." if names else ""
    return f"""\
### If it stops

- `role "x" does not exist`: owners and grants need their roles. `createuser --no-login x` for each.{known}
- `extension "x" is not available`: install the server's package of it (`postgresql-contrib`, `postgis`, …).
- `unrecognized configuration parameter` or `invalid command \\restrict`: server or psql is older than the backup's
  tools ({_word(entry.client.get("tool", "pg_dump"))} {_word(entry.client.get("version", ""))}); take newer ones.
- To load only a part of a `.dump` file: `pg_restore --list`, then `pg_restore --use-list`."""


def _load_redis(entry: Entry) -> Iterator[str]:
    artifact = entry.artifacts[0]
    yield f"""\
## 3. Look at it in a throw-away server

A redis-server at least as new as the source; it listens on a file here, not on the network:

```sh
mkdir -p redis-data && cp {_unpacked(artifact)} redis-data/dump.rdb
redis-server --dir redis-data --dbfilename dump.rdb --appendonly no --save "" --port 0 \\
    --unixsocket redis.sock --logfile redis.log --daemonize yes
timeout 600 sh -c 'until redis-cli -s redis-data/redis.sock ping 2>&1 | grep -q PONG; do sleep 1; done' \\
    || tail redis-data/redis.log
redis-cli -s redis-data/redis.sock info keyspace
redis-cli -s redis-data/redis.sock shutdown nosave
```

Fewer keys than the backup holds? Keys whose time to live has run out since then are dropped while loading."""
    yield """\
## 4. Put it into your server

First ask the server, or its configuration file: `redis-cli config get appendonly` and `redis-cli config get dir`.

**With `appendonly no`:** stop the server with `redis-cli shutdown nosave` (a plain stop would write its own data over
yours), keep its `dump.rdb` under another name, copy `redis-data/dump.rdb` into its directory, give it the owner of the
directory (`chown --reference=. dump.rdb`), start it, and check `redis-cli info keyspace`.

**With `appendonly yes`: do not just put `dump.rdb` there.** The server ignores it, starts empty, and writes the empty
data over it. Make an append-only directory of it instead (Redis 7 and newer, and Valkey):

```sh
mkdir -p redis-aof/appendonlydir
cp redis-data/dump.rdb redis-aof/appendonlydir/appendonly.aof.1.base.rdb
echo 'file appendonly.aof.1.base.rdb seq 1 type b' > redis-aof/appendonlydir/appendonly.aof.manifest
```

See that a server takes it:

```sh
redis-server --dir redis-aof --appendonly yes --save "" --port 0 \\
    --unixsocket redis.sock --logfile redis.log --daemonize yes
timeout 600 sh -c 'until redis-cli -s redis-aof/redis.sock ping 2>&1 | grep -q PONG; do sleep 1; done' \\
    || tail redis-aof/redis.log
redis-cli -s redis-aof/redis.sock info keyspace
redis-cli -s redis-aof/redis.sock shutdown nosave
```

Then stop the real server (`redis-cli shutdown nosave`), keep its `appendonlydir` under another name, copy
`redis-aof/appendonlydir` into its directory, `chown -R --reference=. appendonlydir`, start it, and check
`redis-cli info keyspace`. Other names are set with `appenddirname` and `appendfilename`. Redis 6 and older: start it
with `--appendonly no` and `dump.rdb` in place, then `redis-cli config set appendonly yes`."""


def _other_backups(entry: Entry) -> str:
    return f"""\
## Another backup than the newest

Every `*{ENTRY_SUFFIX}` here is one backup; a file without one is none. `{entry.run}{ENTRY_SUFFIX}` and its like say
what a backup holds, its files, and their SHA-256 (`stored_sha256`): put them in place of the names and sums above.
`.gz` is unpacked with `gunzip`, `.zst` with `zstd --decompress`; `.sql` goes to `psql`, `.dump` to `pg_restore`, `.rdb`
to `redis-server`. What a restore has overwritten lies for a week in a directory `safety`, with a page of its own."""


def _clean_up() -> str:
    return """\
## When done

```sh
rm -f passphrase
```

and delete the decrypted files: they hold everything in the clear."""


def _in_order(entry: Entry) -> Sequence[ArtifactRecord]:
    """What has to be loaded first comes first."""
    return sorted(entry.artifacts, key=lambda artifact: _LOADING_ORDER.index(artifact.kind))


def _unpacked(artifact: ArtifactRecord) -> str:
    return artifact.name.removesuffix(".gpg").removesuffix(_PACKED_SUFFIXES.get(artifact.compression, ""))


def _tools(entry: Entry) -> str:
    compressions = {artifact.compression for artifact in entry.artifacts}
    unpackers = [name for algorithm, name in _TOOL_NAMES.items() if algorithm in compressions]
    loaders = ["psql"] if entry.kind is SourceKind.POSTGRES else ["redis-server", "redis-cli"]
    if any(artifact.kind is ArtifactKind.POSTGRES_CUSTOM for artifact in entry.artifacts):
        loaders.append("pg_restore")
    return ", ".join(f"`{tool}`" for tool in ["gpg", *unpackers, *loaders])


_TOOL_NAMES: dict[Compression, str] = {Compression.GZIP: "gunzip", Compression.ZSTD: "zstd"}


def _contents(entry: Entry) -> str:
    if entry.rows is not None:
        tables = sum(len(artifact.rows_per_table or {}) for artifact in entry.artifacts)
        return f"{entry.rows} rows in {tables} tables"
    if entry.keys is not None:
        expiring = sum(t.expiring for artifact in entry.artifacts for t in (artifact.keys_per_database or {}).values())
        return f"{entry.keys} keys, {expiring} of them with a time to live"
    return "what its entry says"


def _encoding(entry: Entry) -> str:
    encoding = entry.server.get("encoding")
    if not isinstance(encoding, str) or not re.fullmatch(r"[A-Za-z0-9_]+", encoding):
        return ""
    # other encodings than UTF8 seldom fit the locale of the new server; C fits all
    return f" --encoding {encoding}" + ("" if encoding == "UTF8" else " --locale C")


def _time(entry: Entry) -> str:
    return f"{entry.started_at:%Y-%m-%d %H:%M:%S} UTC"


def _mebibytes(size_bytes: int) -> int:
    return -(-size_bytes // (1 << 20))


def _word(value: JsonValue) -> str:
    """A server's word on one line of Markdown."""
    return re.sub(r"[^\w .,:/@$+()-]", "?", str(value)).strip()

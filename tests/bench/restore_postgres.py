"""Restores one database from its stored files, beside a shell's pipe and pg_restore -j2, in turn; called by __main__.

Plain:   the worker's restore into a new database, against `gpg | gunzip | psql` of the same stored file.
Custom:  the worker's restore of the archive, against `pg_restore -j2` of the decrypted archive in a local file.

The worker's seconds are those of all its steps that write, from `CREATE DATABASE` to the rename, counting rows and
ANALYZE included, which the others do not do; verifying and planning come before and are reported apart. Aims: at
least 2 times faster than the pipe, at most 1.05 times pg_restore -j2.

On 2 cores that the server shares, the first cannot be had: of the pipe's 9.5 CPU seconds for 0.7 GB the server alone
takes 5.3, which no client spares it, and the pipe keeps 1.8 cores busy already. Tried there, against 5.6 s:

    raw rows from memory into 1, 2, 3, 4 sessions, nothing decrypted or counted   4.8, 3.0, 3.1, 3.3 s
    COPY FREEZE in the transaction that makes the table; an unlogged table         4.9 s; 4.7 s, and to be logged later
    COPY of binary rows, which a dump does not hold                                3.1 s, 1.7 CPU s less in the server
    the worker as it was, 2 sessions                                               5.2 s, 9.1 CPU s
    + a faster search for the end of rows, no joining of blocks                    8.5 CPU s
    + the plaintext hashed once, while it is verified                              8.1 CPU s
    + ANALYZE beside the counting, rows taken out for the plan while verifying     4.5 s, 7.7 CPU s, and 1.4 s before it
    the same from a decrypted file, which would lie on a disk: not taken           4.1 s, 6.9 CPU s
    the archive in a local file for our Custom: not taken                          4.2 s for 5.1 s
    index builds without parallel workers, with one each                           no difference beyond the noise
"""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from backup_operator.contract.order import SecretFile
from backup_operator.contract.restore import PostgresTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.worker.keys import Candidate
from backup_operator.worker.opening import StoredArtifact
from backup_operator.worker.progress import Progress
from backup_operator.worker.sources.postgres_copy import PlainInspector
from backup_operator.worker.stages.chain import Recipe, Sealed, seal
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.postgres import PostgresTarget
from tests.bench import database
from tests.bench.measure import tree_cpu_seconds
from tests.support.postgres_server import SUPERUSER_PASSWORD, PostgresServer

_MAJOR = 15
_PASSPHRASE = b"a passphrase of the benchmark"
_JOBS = 2
_CHUNK_BYTES = 1 << 20
_SERVER_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "fsync": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
}
_OLD_PIPE = (
    'set -o pipefail; gpg --batch --pinentry-mode loopback --passphrase-file "$KEY" --decrypt "$STORED" 2>/dev/null '
    '| gunzip | "$BIN/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$INTO" >/dev/null'
)
_PLAIN, _CUSTOM = ArtifactKind.POSTGRES_PLAIN, ArtifactKind.POSTGRES_CUSTOM


@dataclass
class _Took:
    """What the rounds of one contestant took."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    before_seconds: list[float] = field(default_factory=list)
    """Verifying and planning, which only read."""

    @property
    def median_seconds(self) -> float:
        return median(self.seconds)


def run(*, rounds: int, gigabytes: float) -> None:
    """Print the figures of each round and their medians."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as made,
        PostgresServer(_MAJOR, settings=_SERVER_SETTINGS) as server,
    ):
        print(f"filling a database of {gigabytes} GB with text", flush=True)
        database.fill(server.url("postgres"), gigabytes=gigabytes)
        bench = _Bench(Path(made), server)
        bench.store()
        print(f"\nRestore of {gigabytes} GB of text, {rounds} rounds, in turn:")
        bench.compare(rounds)


class _Bench:
    def __init__(self, work: Path, server: PostgresServer) -> None:
        self._work, self._server = work, server
        self._into = "restored"
        self._sealed: dict[ArtifactKind, Sealed] = {}
        self._rows: dict[str, int] = {}
        self._archive = Path()
        self._postmaster = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
        self._key = work / "key"
        self._key.write_bytes(_PASSPHRASE)
        self._url = work / "url"
        self._url.write_text(server.url("postgres"))

    def store(self) -> None:
        """The stored files of both formats, and the decrypted archive."""
        plain = self._dump("plain.sql", "--format=plain")
        inspector = PlainInspector()
        for chunk in _chunks(plain):
            inspector.update(chunk)
        rows = dict(inspector.finish().rows_per_table or {})
        self._archive = self._dump("archive", "--format=custom", "--compress=0")
        for kind, dump in ((_PLAIN, plain), (_CUSTOM, self._archive)):
            with (self._work / kind).open("wb", buffering=0) as file:
                self._sealed[kind] = seal(_chunks(dump), file, Recipe(Compression.GZIP, 2, _PASSPHRASE))
        self._rows = rows
        plain.unlink()

    def compare(self, rounds: int) -> None:
        contestants: list[tuple[_Took, Callable[[_Took], None]]] = [
            (_Took("gpg | gunzip | psql"), self._pipe),
            (_Took("worker, Plain"), partial(self._restore, _PLAIN)),
            (_Took(f"pg_restore -j{_JOBS}"), self._pg_restore),
            (_Took("worker, Custom"), partial(self._restore, _CUSTOM)),
        ]
        for turn in range(rounds + 1):
            for took, restore in contestants:
                self._clean()
                # the first round warms up and does not count
                restore(took if turn else _Took(f"(warming up) {took.name}"))
        self._print([took for took, _ in contestants])

    def _dump(self, name: str, *options: str) -> Path:
        path = self._work / name
        argv = [str(self._server.bin / "pg_dump"), *options, f"--file={path}", self._server.url("postgres")]
        subprocess.run(argv, check=True)
        return path

    def _clean(self) -> None:
        """The database is gone, and the server has nothing left to write."""
        self._server.execute(f"drop database if exists {self._into} with (force)")
        self._server.execute("checkpoint")

    def _restore(self, kind: ArtifactKind, took: _Took) -> None:
        began = time.monotonic()
        target = self._target()
        with self._stored(kind) as stored, closing(target):
            progress = Progress("verify", interval=timedelta(hours=1), clock=time.monotonic)
            stored.verify(progress, keeps_outline=True)
            verified = time.monotonic()
            artifact = self._restored(stored)
            plan = target.survey([artifact])
            assert plan.obstacles == (), plan.obstacles
            surveyed, cpu_before = time.monotonic(), self._cpu_seconds()
            steps: list[tuple[str, float]] = [("begin", surveyed)]
            target.apply([artifact], lambda name: steps.append((name, time.monotonic())))
            ended = time.monotonic()
        told = ", ".join(f"{name} {after - at:.1f}" for (name, at), (_, after) in pairwise([*steps, ("end", ended)]))
        print(f"    verify {verified - began:.1f}, survey {surveyed - verified:.1f}, {told}")
        took.before_seconds.append(surveyed - began)
        self._note(took, ended - surveyed, self._cpu_seconds() - cpu_before)

    @contextmanager
    def _stored(self, kind: ArtifactKind) -> Iterator[StoredArtifact]:
        """The file as the worker opens it."""
        keys = (Candidate(_PASSPHRASE, "the benchmark's key", is_current=True),)
        with (self._work / kind).open("rb") as file:
            yield StoredArtifact(str(kind), kind, Compression.GZIP, file, keys, proven=self._sealed[kind])

    def _restored(self, stored: StoredArtifact) -> RestoredArtifact:
        return RestoredArtifact(
            kind=stored.kind,
            name=stored.name,
            plain_bytes=stored.plain_bytes,
            open=stored.plaintext,
            rows_per_table=self._rows,
            server={"encoding": "UTF8"},
            outline=stored.outline,
        )

    def _target(self) -> PostgresTarget:
        order = PostgresTargetOrder(
            url=SecretFile(path=str(self._url), described="the benchmark's URL"), database=self._into, jobs=_JOBS
        )
        return PostgresTarget(order, scratch=self._work, confirm="", now=lambda: datetime.now(UTC))

    def _pipe(self, took: _Took) -> None:
        environment = {
            "BIN": str(self._server.bin),
            "KEY": str(self._key),
            "STORED": str(self._work / _PLAIN),
            "INTO": self._server.url(self._into),
            "GNUPGHOME": str(self._work),
        }
        self._time(took, ["bash", "-c", _OLD_PIPE], environment)

    def _pg_restore(self, took: _Took) -> None:
        program = str(self._server.bin / "pg_restore")
        url = f"host=127.0.0.1 port={self._server.port} user=postgres dbname={self._into}"
        argv = [program, f"--jobs={_JOBS}", "--exit-on-error", f"--dbname={url}", str(self._archive)]
        self._time(took, argv, {"PGPASSWORD": SUPERUSER_PASSWORD})

    def _time(self, took: _Took, argv: list[str], environment: dict[str, str]) -> None:
        """Making the database counts, as it does for the worker."""
        cpu_before, began = self._cpu_seconds(), time.monotonic()
        self._server.execute(f"create database {self._into} template template0")
        subprocess.run(argv, env={"PATH": os.environ["PATH"], **environment}, check=True)
        self._note(took, time.monotonic() - began, self._cpu_seconds() - cpu_before)

    def _cpu_seconds(self) -> float:
        """Of the server and of all that is on this side."""
        return _own_cpu_seconds() + tree_cpu_seconds(self._postmaster)

    def _note(self, took: _Took, seconds: float, cpu_seconds: float) -> None:
        took.seconds.append(seconds)
        took.cpu_seconds.append(cpu_seconds)
        print(f"  {took.name}: {seconds:.2f} s, {cpu_seconds:.1f} CPU s", flush=True)

    def _print(self, contestants: list[_Took]) -> None:
        pipe, plain, pg_restore, custom = contestants
        print()
        for one in contestants:
            before = f", before it {median(one.before_seconds):.1f} s to verify and plan" if one.before_seconds else ""
            print(f"  {one.name:22} {one.median_seconds:7.2f} s {median(one.cpu_seconds):7.1f} CPU s{before}")
        plain_ratio = pipe.median_seconds / plain.median_seconds
        custom_ratio = custom.median_seconds / pg_restore.median_seconds
        print(f"\n  {'pipe / worker, Plain':36} {plain_ratio:7.3f}   aim: at least 2")
        print(f"  {f'worker, Custom / pg_restore -j{_JOBS}':36} {custom_ratio:7.3f}   aim: at most 1.05\n", flush=True)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


def _own_cpu_seconds() -> float:
    """Of this process and of the programs that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)

"""Backs up one database with the worker, with bare pg_dump, and with the old scripts' pipe, in turn, and compares.

Aims: the worker at least 7 times faster than the pipe; without the read-back at most 1.10 times bare pg_dump, with it
at most 1.5 times; its file at most 1.10 times that of gzip -6; at most 64 MiB above the interpreter.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from backup_operator.contract.order import BackupOrder, PolicyIdentity, PostgresOrder, SecretFile, StoreOrder
from tests.bench import database
from tests.bench.measure import Contestant, Series, alternate, tree_cpu_seconds
from tests.support.postgres_server import PostgresServer

_MAJOR = 15
_PASSPHRASE = "correct horse battery staple"
_OLD_PIPE = 'set -o pipefail; "$PG_DUMP" "$URL" | gzip -6 | gpg --batch --yes --pinentry-mode loopback ' + (
    '--passphrase-file "$KEY" --symmetric --cipher-algo AES256 --output "$OUT"'
)
_SERVER_SETTINGS = {"shared_buffers": "256MB", "fsync": "off", "max_wal_size": "4GB"}


def run(*, rounds: int, gigabytes: float) -> None:
    """Print one table for text as applications keep it, and one for pgbench's own tables."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as work,
        PostgresServer(_MAJOR, settings=_SERVER_SETTINGS) as server,
    ):
        bench = _Bench(Path(work), server)
        print(f"filling a database of {gigabytes} GB with text", flush=True)
        database.fill(server.url("postgres"), gigabytes=gigabytes)
        bench.compare("text, as applications keep it", rounds)
        print(f"filling a database of {gigabytes} GB with pgbench's tables", flush=True)
        database.fill_pgbench(server.url("postgres"), server.bin / "pgbench", gigabytes=gigabytes)
        bench.compare("pgbench's tables (mostly filler)", rounds)


class _Bench:
    def __init__(self, work: Path, server: PostgresServer) -> None:
        self._work = work
        self._store = work / "volume"
        self._store.mkdir()
        self._url = server.url("postgres")
        self._postmaster = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
        self._pg_dump = server.bin / "pg_dump"
        self._key = work / "key"
        self._key.write_text(_PASSPHRASE)
        (work / "url").write_text(self._url)
        self._order = work / "order.json"
        self._order.write_text(self._backup_order().model_dump_json())
        self._steps: list[tuple[float, float]] = []

    def compare(self, title: str, rounds: int) -> None:
        self._steps.clear()
        contestants = [
            Contestant(
                "pg_dump", [str(self._pg_dump), self._url, f"--file={self._out('plain.sql')}"], self._taken("plain.sql")
            ),
            Contestant("pg_dump | gzip -6 | gpg", ["bash", "-c", _OLD_PIPE], self._taken("old.gpg")),
            Contestant("worker", [*_WORKER, "--order", str(self._order), "--report", self._out("report")], self._entry),
        ]
        series = alternate(contestants, rounds, self._environment(), lambda: tree_cpu_seconds(self._postmaster))
        self._print(title, series, rounds)

    def _environment(self) -> dict[str, str]:
        # the worker finds its code compiled, as in the image: the uncounted round compiles it
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {
            "PYTHONPYCACHEPREFIX": str(self._work / "bytecode"),
            "PG_DUMP": str(self._pg_dump),
            "URL": self._url,
            "KEY": str(self._key),
            "OUT": self._out("old.gpg"),
            "GNUPGHOME": str(self._work),
        }

    def _out(self, name: str) -> str:
        return str(self._work / name)

    def _taken(self, name: str):
        def size_then_gone() -> int:
            path = self._work / name
            size_bytes = path.stat().st_size
            path.unlink()
            return size_bytes

        return size_then_gone

    def _entry(self) -> int:
        entry = json.loads(next(self._store.rglob("*.json")).read_text())
        artifact = entry["artifacts"][0]
        self._steps.append((artifact["dump_seconds"], artifact["verify_seconds"]))
        shutil.rmtree(self._store / "bench")
        return int(artifact["stored_bytes"])

    def _backup_order(self) -> BackupOrder:
        return BackupOrder(
            policy=PolicyIdentity(namespace="bench", name="bench", spec_digest=""),
            postgres=PostgresOrder(url=SecretFile(path=self._out("url"), described="the benchmark's URL")),
            passphrase=SecretFile(path=str(self._key), described="the benchmark's passphrase"),
            store=StoreOrder(mount=str(self._store), path="bench", described="the benchmark's directory"),
            deadline="PT1H",
        )

    def _print(self, title: str, series: dict[str, Series], rounds: int) -> None:
        bare, pipe, worker = series.values()
        read_back = sorted(verify for _, verify in self._steps[1:])[len(self._steps[1:]) // 2]
        without = worker.median_seconds - read_back
        print(f"\n{title}: medians of {rounds} rounds, in turn\n")
        for one in series.values():
            print(
                f"  {one.name:26} {one.median_seconds:7.2f} s  {one.median_cpu_seconds:7.2f} CPU s  "
                f"{one.stored_bytes / 1e6:8.1f} MB  peak {max(one.peak_kib) / 1024:6.1f} MiB"
            )
        print(f"  {'worker without read-back':26} {without:7.2f} s\n")
        ratios = (
            ("pipe / worker", pipe.median_seconds / worker.median_seconds, "at least 7"),
            ("worker / pg_dump", worker.median_seconds / bare.median_seconds, "at most 1.50"),
            ("worker without read-back / pg_dump", without / bare.median_seconds, "at most 1.10"),
            ("worker's size / the pipe's", worker.stored_bytes / pipe.stored_bytes, "at most 1.10"),
        )
        for name, ratio, aim in ratios:
            print(f"  {name:36} {ratio:7.3f}   aim: {aim}")
        cores = len(os.sched_getaffinity(0))
        least = worker.median_cpu_seconds / cores / bare.median_seconds
        print(
            f"  the least of worker / pg_dump that {cores} cores allow: {least:.2f} (all CPU seconds, the server's too)"
        )
        print(flush=True)


_WORKER = [sys.executable, "-m", "backup_operator.worker.cli", "run"]

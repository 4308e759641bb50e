"""A worker's surroundings on this machine: a volume, secrets in files, and the command as the pod would run it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backup_operator.contract.report import Report, decode
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

PASSPHRASE = "correct horse battery staple"


@dataclass
class Bench:
    """One policy's order, to be run as often as wanted."""

    directory: Path
    order: dict[str, Any]

    @property
    def store(self) -> Path:
        return self.directory / "volume/ns/app"

    def files(self) -> list[str]:
        """What lies in the store, without lock, audit trail and RECOVER.md."""
        own = {".lock", "audit.jsonl", "RECOVER.md"}
        return sorted(path.name for path in self.store.iterdir() if path.name not in own)

    def start(self, **changes) -> subprocess.Popen[bytes]:
        """The worker in a process of its own."""
        (self.directory / "order.json").write_text(json.dumps(self.order | changes))
        (self.directory / "report.json").unlink(missing_ok=True)
        argv = [sys.executable, "-m", "backup_operator.worker.cli", "run"]
        argv += ["--order", str(self.directory / "order.json"), "--report", str(self.directory / "report.json")]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def report(self) -> Report:
        """What the last worker reported."""
        return decode((self.directory / "report.json").read_bytes())

    def run(self, **changes) -> tuple[int, Report, str]:
        """Exit code, report and log of a whole run."""
        with self.start(**changes) as process:
            _, said = process.communicate(timeout=300)
        return process.returncode, self.report(), said.decode()


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer(15) as server:
        server.execute("create table users (id int primary key, name text)")
        server.execute("insert into users select n, 'user ' || n from generate_series(1, 1000) n")
        yield server


def bench_in(directory: Path, **source) -> Bench:
    ((kind, options),) = source.items()
    (directory / "volume").mkdir()
    (directory / "url").write_text(options.pop("url"))
    (directory / "key").write_text(PASSPHRASE)
    order = {
        "policy": {"namespace": "ns", "name": "app", "spec_digest": "digest"},
        kind: {"url": {"path": str(directory / "url"), "described": "key URL of Secret ns/app"}} | options,
        "passphrase": {"path": str(directory / "key"), "described": "key KEY of Secret ns/app"},
        "store": {"mount": str(directory / "volume"), "path": "ns/app", "described": "claim ns/backups"},
        "deadline": "PT2M",
        "store_lock_timeout": "PT1S",
    }
    return Bench(directory, order)


@pytest.fixture(scope="session")
def make_bench():
    """Builds a bench in a directory for a source, for example `make_bench(tmp, postgres={"url": "postgresql://…"})`."""
    return bench_in


@pytest.fixture
def bench(tmp_path):
    """The same in this test's own directory."""

    def build(**source) -> Bench:
        return bench_in(tmp_path, **source)

    return build


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis with thirty keys, for a module."""
    with RedisServer() as one, one.client() as client:
        client.mset({f"key{number}": number for number in range(30)})
        yield one

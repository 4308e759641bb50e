"""A real PgBouncer before a server, for what a pooler does to a backup."""

import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.ports import free_port
from tests.support.postgres_server import UNPRIVILEGED_UID, PostgresServer, run_unprivileged, wait_until

USER, PASSWORD = "pooled", "pooled"


@dataclass
class Pooler:
    """PgBouncer in this pool mode; `database`, when set, is where every connection ends up."""

    server: PostgresServer
    mode: str
    database: str = ""

    def __enter__(self) -> Self:
        if not self.server.rows(f"select 1 from pg_roles where rolname = '{USER}'"):
            self.server.execute(f"create role {USER} login superuser password '{PASSWORD}'")
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self._directory.chmod(0o755)
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(self._configuration())
        shutil.chown(self._directory, UNPRIVILEGED_UID)
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(run_unprivileged([program, str(configuration)]), stdout=log, stderr=log)
        wait_until(self._listens, "the start of PgBouncer")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory)

    def url(self, database: str) -> str:
        """A URL through the pooler."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _configuration(self) -> str:
        database = f"dbname={self.database}" if self.database else ""
        return f"""
[databases]
* = host=127.0.0.1 port={self.server.port} user={USER} password={PASSWORD} {database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = {self.mode}
ignore_startup_parameters = extra_float_digits
"""

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError((self._directory / "log").read_text())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

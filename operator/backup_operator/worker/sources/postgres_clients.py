"""Room `worker.sources`: finds PostgreSQL's client programs and picks by server; called by `sources.postgres`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.process import Program

_OLDEST_SERVER = 90500
"""pg_dump 15 and later reads servers back to 9.2; what preflight asks about row security is known from 9.5 on."""


@dataclass(frozen=True)
class Client:
    """The client programs of one major version."""

    major: int
    directory: Path

    @property
    def pg_dump(self) -> str:
        """Path of pg_dump."""
        return str(self.directory / "pg_dump")

    @property
    def pg_dumpall(self) -> str:
        """Path of pg_dumpall."""
        return str(self.directory / "pg_dumpall")

    @property
    def pg_restore(self) -> str:
        """Path of pg_restore."""
        return str(self.directory / "pg_restore")

    def version(self) -> str:
        """What pg_dump says its version is, for example `17.12`."""
        with Program([self.pg_dump, "--version"], environment={"LC_ALL": "C"}) as program:
            text = b"".join(program.chunks()).decode(errors="replace")
            program.wait()
        found = re.search(r"\) (\S+)", text)
        return found[1] if found else text.strip()


def installed_clients(root: Path) -> tuple[Client, ...]:
    """The clients below `root` (laid out like /usr/lib/postgresql), oldest first."""
    found = (
        Client(int(directory.name), directory / "bin")
        for directory in (root.iterdir() if root.is_dir() else ())
        if directory.name.isdigit() and (directory / "bin/pg_dump").exists()
    )
    return tuple(sorted(found, key=lambda client: client.major))


def pick_client(clients: Sequence[Client], server_number: int, server_version: str) -> Client:
    """The oldest client that is not older than the server (`server_number` is its server_version_num).

    A newer client writes settings that an older server does not know, so the nearest major gives the dump that restores
    best. Raises: SourceError VersionMismatch.
    """
    if server_number < _OLDEST_SERVER:
        raise SourceError(
            Reason.VERSION_MISMATCH,
            f"The server's version {server_version} is older than this worker can read.",
            detail="It reads servers from 9.5 on.",
            hint="Upgrade the server.",
        )
    for client in sorted(clients, key=lambda each: each.major):
        if client.major >= server_number // 10000:
            return client
    majors = ", ".join(str(client.major) for client in clients) or "none"
    raise SourceError(
        Reason.VERSION_MISMATCH,
        f"The server's version {server_version} is newer than every client in this image.",
        detail=f"Clients in this image: {majors}. A pg_dump refuses to read a newer server.",
        hint="Install a newer release of the operator, or build the backup image with PostgreSQL "
        f"{server_number // 10000} clients and set it in the chart's values (image.backup).",
    )

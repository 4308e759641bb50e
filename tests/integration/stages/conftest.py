"""The real gpg in a home of its own."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import IO

import pytest

PASSPHRASE = b"correct horse battery staple"


@dataclass(frozen=True)
class Gpg:
    """Runs gpg with the passphrase in a file."""

    home: Path

    def command(self, *arguments: str) -> list[str]:
        return [
            *("gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback"),
            *("--passphrase-file", str(self.home / "passphrase"), *arguments),
        ]

    def run(self, *arguments: str, content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*arguments), input=content, capture_output=True, check=False, timeout=300)

    def encrypt(self, content: bytes, *arguments: str) -> bytes:
        """What `gpg --symmetric` writes when it reads a pipe."""
        ended = self.run(*arguments, "--symmetric", content=content)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def encrypt_file(self, content: bytes, *arguments: str) -> bytes:
        """What `gpg --symmetric FILE` writes, which knows the size beforehand."""
        plain = self.home / "plain"
        plain.write_bytes(content)
        ended = self.run(*arguments, "--output", "-", "--symmetric", str(plain))
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def decrypt(self, stored: bytes) -> bytes:
        ended = self.run("--decrypt", content=stored)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def list_packets(self, stored: bytes) -> str:
        ended = self.run("--list-packets", "--verbose", content=stored)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.decode()

    def pipe(self, arguments: Sequence[str], source: IO[bytes], destination: IO[bytes]) -> None:
        subprocess.run(self.command(*arguments), stdin=source, stdout=destination, check=True, timeout=300)


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    # directly under /tmp: the agent's socket path may have 107 characters
    home = Path(mkdtemp(prefix="gpg-"))
    (home / "passphrase").write_bytes(PASSPHRASE + b"\nsecond line\n")
    yield Gpg(home)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, timeout=300)
    # the agent ends a moment later and takes its sockets away itself
    shutil.rmtree(home, ignore_errors=True)

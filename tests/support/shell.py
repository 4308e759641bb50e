"""Where a test runs a program: on this machine, or in a pod. Used by `compare`, the demo and the e2e tests.

A `Shell` is all that comparing two servers needs, so that the same comparison is shown right on local servers and then
used on those in a cluster.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class ProgramFailed(AssertionError):
    """A program ended with an error; the text holds its argv and what it wrote."""


class Shell(Protocol):
    """Runs a program and waits for it."""

    def run(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> bytes:
        """What the program wrote to stdout. Raises: ProgramFailed when its exit code is not 0."""
        ...


@dataclass(frozen=True)
class LocalShell:
    """Programs on this machine."""

    environment: Mapping[str, str] | None = None
    prefix: Sequence[str] = field(default=())
    """Put before every argv, for example `setpriv …` or `kubectl exec … --`."""

    def run(self, *argv: str, stdin: bytes = b"", timeout_seconds: float = 120) -> bytes:
        """What the program wrote to stdout. Raises: ProgramFailed when its exit code is not 0 or it takes too long."""
        whole = [*self.prefix, *argv]
        try:
            ended = subprocess.run(
                whole, check=False, input=stdin, capture_output=True, env=self.environment, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired as late:
            raise ProgramFailed(f"{_said(whole)} was not done after {timeout_seconds} s: {late.stderr!r}") from late
        if ended.returncode != 0:
            told = (ended.stdout[-2000:] + ended.stderr[-4000:]).decode(errors="replace")
            raise ProgramFailed(f"{_said(whole)} ended with {ended.returncode}:\n{told}")
        return ended.stdout


def _said(argv: Sequence[str]) -> str:
    return " ".join(argv)[:500]

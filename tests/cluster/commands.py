"""Starts programs for the test cluster and shows how long they take. Used by every module here."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError, CommandFailed

TAIL_LINES = 40


def say(text: str) -> None:
    """One line to the person who waits."""
    print(text, flush=True)


def output(argv: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_seconds: float = 120) -> str:
    """What a short program prints, without the last newline. Raises CommandFailed."""
    done = _finish(argv, environment, timeout_seconds)
    if done.returncode != 0:
        raise failure(argv, done.stderr.decode(errors="replace") or done.stdout.decode(errors="replace"))
    return done.stdout.decode(errors="replace").rstrip("\n")


def succeeds(argv: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_seconds: float = 30) -> bool:
    """True when a short program ends with 0; a program that is not there does not."""
    try:
        return _finish(argv, environment, timeout_seconds).returncode == 0
    except CommandFailed:
        return False


def _finish(
    argv: Sequence[str], environment: Mapping[str, str] | None, timeout_seconds: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv, env=environment, timeout=timeout_seconds, capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError as exc:
        raise CommandFailed(f"{argv[0]} is not installed") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"{argv[0]} did not end within {timeout_seconds:.0f} s", detail=" ".join(argv)) from exc


def failure(argv: Sequence[str], written: str) -> CommandFailed:
    """The error for a program that ended badly, with the end of what it wrote."""
    return CommandFailed(f"`{' '.join(argv)}` failed", detail=tail(written))


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run_long(
    label: str,
    argv: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Runs a long program, output in `log`, seconds on the screen. Raises CommandFailed with the log's end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            with Progress(label) as progress:
                while process.poll() is None:
                    progress.tick()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        raise failure(argv, log.read_text(errors="replace"))


def wait_until(label: str, ready: Callable[[], bool], *, seconds: float, pause_seconds: float = 0.3) -> None:
    """Polls until `ready` says so. Raises ClusterError when the time is over."""
    deadline = time.monotonic() + seconds
    with Progress(label) as progress:
        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(f"{label}: not done after {seconds:.0f} s")
            progress.tick(pause_seconds)


class Progress:
    """A label with the seconds it has taken: rewritten in place on a terminal, a line every 20 s in a log."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = time.monotonic()
        self.last_line = self.started
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def __enter__(self) -> "Progress":
        if self.terminal:
            print(f"{self.label} …", end="", flush=True)
        else:
            say(f"{self.label} …")
        return self

    def tick(self, pause_seconds: float = 0.2) -> None:
        """Waits a moment and shows the time."""
        time.sleep(pause_seconds)
        now = time.monotonic()
        if self.terminal:
            print(f"\r{self.label} … {now - self.started:.0f} s", end="", flush=True)
        elif now - self.last_line >= 20:
            self.last_line = now
            say(f"{self.label} … {now - self.started:.0f} s")

    def __exit__(self, kind: object, *_: object) -> None:
        word = "done" if kind is None else "failed"
        lead = "\r" if self.terminal else ""
        say(f"{lead}{self.label}: {word} in {time.monotonic() - self.started:.1f} s")

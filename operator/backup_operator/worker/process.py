"""Room `worker`: the only place that starts programs; called by the sources and by `worker.verify`.

Programs are started by list, never through a shell, with an environment that is given whole: a secret goes in through a
file or a pipe, never through argv or the inherited environment.
"""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

CHUNK_BYTES = 1 << 16
"""Asked of the pipe at a time: a larger wish is allocated whole for every read, however little is there."""
_PIPE_BYTES = 1 << 20
"""Room in the pipe, so that a program is not stopped whenever we are; the system's default is 64 KiB."""
_STDERR_KEPT_BYTES = 64 * 1024
_TERMINATION_GRACE_SECONDS = 10


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code (negative: the signal) and the last 64 KiB of its stderr."""

    program: str
    exit_code: int
    stderr: str

    @property
    def succeeded(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


class Program:
    """A running program, a context manager: leaving it early terminates it, so that none outlives its caller."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        feeds_stdin: bool = False,
        reads_stdout: bool = True,
        pass_fds: Sequence[int] = (),
        working_directory: Path | None = None,
    ) -> None:
        self.name = Path(argv[0]).name
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if feeds_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if reads_stdout else subprocess.DEVNULL,
            stderr=self._stderr,
            env=dict(environment),
            pass_fds=tuple(pass_fds),
            cwd=working_directory,
            bufsize=0,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _widen(pipe.fileno())

    @property
    def _stdout(self) -> int:
        if self._process.stdout is None:
            raise ValueError(f"{self.name} was started without reading its stdout")
        return self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def chunks(self) -> Iterator[bytes]:
        """What the program writes to stdout, in chunks of up to 64 KiB, until it closes it."""
        descriptor = self._stdout
        while chunk := os.read(descriptor, CHUNK_BYTES):
            yield chunk

    def feed(self, chunk: bytes | memoryview) -> None:
        """Write the whole chunk to the program's stdin. Raises: BrokenPipeError when it has ended."""
        stdin = self._process.stdin
        if stdin is None:
            raise ValueError(f"{self.name} was started without feeding its stdin")
        view = memoryview(chunk)
        while view:
            view = view[stdin.write(view) or 0 :]

    def end_of_input(self) -> None:
        """Close the program's stdin."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self, timeout_seconds: float | None = None) -> Finished:
        """Wait for the end. Raises: subprocess.TimeoutExpired."""
        exit_code = self._process.wait(timeout_seconds)
        return Finished(self.name, exit_code, self._last_stderr())

    def _last_stderr(self) -> str:
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - _STDERR_KEPT_BYTES))
        return self._stderr.read().decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()

    def _end(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_TERMINATION_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _widen(pipe: int) -> None:
    # refused where a user's pipes hold much already (fs.pipe-user-pages-soft): slower, not wrong
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

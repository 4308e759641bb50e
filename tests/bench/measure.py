"""Times whole commands, alternating between them, so that a machine's drift meets all of them alike."""

import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_POLL_SECONDS = 0.02


@dataclass
class Series:
    """What the runs of one command took: seconds each, CPU seconds of all that worked, and the first one's peak."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    """Of the command, the programs that it started and the server beside it."""
    peak_kib: list[int] = field(default_factory=list)
    stored_bytes: int = 0

    @property
    def median_seconds(self) -> float:
        """The figure to quote."""
        return median(self.seconds)

    @property
    def median_cpu_seconds(self) -> float:
        """On N cores nothing takes less than an N-th of it, however well it is spread."""
        return median(self.cpu_seconds)


@dataclass(frozen=True)
class Contestant:
    """A command, and what it leaves behind: `stored` says its size and cleans up."""

    name: str
    argv: Sequence[str]
    stored: Callable[[], int]


def alternate(
    contestants: Sequence[Contestant],
    rounds: int,
    environment: Mapping[str, str],
    server_cpu_seconds: Callable[[], float] = lambda: 0.0,
) -> dict[str, Series]:
    """Run all of them once uncounted, then `rounds` times in turn. Raises: RuntimeError when one fails.

    `server_cpu_seconds` says what the server beside them has used by now.
    """
    series = {contestant.name: Series(contestant.name) for contestant in contestants}
    for turn in range(rounds + 1):
        for contestant in contestants:
            used = _cpu_of_children() + server_cpu_seconds()
            seconds, peak_kib = _time(contestant.argv, environment)
            used = _cpu_of_children() + server_cpu_seconds() - used
            stored_bytes = contestant.stored()
            if turn:
                found = series[contestant.name]
                found.seconds.append(seconds)
                found.cpu_seconds.append(used)
                found.peak_kib.append(peak_kib)
                found.stored_bytes = stored_bytes
                print(f"  round {turn}: {contestant.name}: {seconds:.2f} s, {used:.2f} CPU s", flush=True)
    return series


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_cpu_seconds(pid: int) -> float:
    """What a server has used by now: itself, the processes that it has started, and those of them that have ended."""
    family = [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return sum(map(_own_and_reaped, family)) / os.sysconf("SC_CLK_TCK")


def _own_and_reaped(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _time(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[float, int]:
    """Seconds and peak KiB of the process itself.

    Its own high-water mark is polled: what the kernel accounts to an ended child includes this process's memory, which
    the child shares until it starts its program.
    """
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(argv, env=dict(environment), stdout=subprocess.DEVNULL, stderr=said)
        peak_kib = 0
        while process.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - started
        if process.returncode:
            said.seek(0)
            raise RuntimeError(
                f"{argv[0]} ended with {process.returncode}: {said.read().decode(errors='replace')[-2000:]}"
            )
    return seconds, peak_kib


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0

"""Times whole commands, alternating between them, so that a machine's drift meets all of them alike."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Series:
    """What the runs of one command took: seconds each, and the peak memory of its largest process."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_kib: list[int] = field(default_factory=list)
    stored_bytes: int = 0

    @property
    def median_seconds(self) -> float:
        """The figure to quote."""
        return median(self.seconds)


@dataclass(frozen=True)
class Contestant:
    """A command, and what it leaves behind: `stored` says its size and cleans up."""

    name: str
    argv: Sequence[str]
    stored: Callable[[], int]


def alternate(contestants: Sequence[Contestant], rounds: int, environment: Mapping[str, str]) -> dict[str, Series]:
    """Run all of them once uncounted, then `rounds` times in turn. Raises: RuntimeError when one fails."""
    series = {contestant.name: Series(contestant.name) for contestant in contestants}
    for turn in range(rounds + 1):
        for contestant in contestants:
            seconds, peak_kib = _time(contestant.argv, environment)
            stored_bytes = contestant.stored()
            if turn:
                found = series[contestant.name]
                found.seconds.append(seconds)
                found.peak_kib.append(peak_kib)
                found.stored_bytes = stored_bytes
                print(f"  round {turn}: {contestant.name}: {seconds:.2f} s", flush=True)
    return series


def _time(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[float, int]:
    started = time.monotonic()
    process = subprocess.Popen(argv, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss

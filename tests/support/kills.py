"""Kills at the steps of the store, in a child process; used by the tests of runs and of pruning."""

import os
from collections.abc import Callable

KILLED = 137


def killed_at(step: int) -> Callable[[str], None]:
    left = iter(range(step))

    def before_step(_label: str) -> None:
        if next(left, None) is None:
            os._exit(KILLED)

    return before_step


def run_in_a_child(work: Callable[[], None]) -> int:
    """Do it in a child. Returns: its exit code; 1 when it raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

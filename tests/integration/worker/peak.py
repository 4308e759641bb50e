"""Runs `backup-worker` in a process of its own; prints its peak memory in KiB above a bare interpreter.

Called by test_memory.py: `python peak.py run --order ORDER --report REPORT`. The bare interpreter's peak is read before
anything is imported. The dump tool is a process of its own and not counted.
"""

import sys


def peak_kib() -> int:
    """This program's own peak; getrusage's would be that of whoever started it, where that was larger."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - a bare interpreter has not imported pathlib
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


BARE_KIB = peak_kib()

from backup_operator.worker.cli import main  # noqa: E402 - memory is measured first

if __name__ == "__main__":
    code = main(sys.argv[1:])
    print(peak_kib() - BARE_KIB)
    sys.exit(code)

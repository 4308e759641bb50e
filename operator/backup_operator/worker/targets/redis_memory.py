"""Room `worker.targets`: how much memory the pod may use, from its cgroup; called by worker.restore for a Redis target.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
"""

from pathlib import Path
from typing import Final

_LIMIT_FILES: Final = ("memory.max", "memory/memory.limit_in_bytes")
"""Of cgroup v2, and of v1; a container sees its own cgroup as the root."""
_NO_LIMIT_BYTES: Final = 1 << 60
"""Version 1 says a number near 2**63 where there is no limit."""


def pod_memory_limit_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory limit that holds for this process; None without a limit, or where it cannot be read."""
    for name in _LIMIT_FILES:
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT_BYTES else None
    return None

"""The pod's memory limit, as cgroups of both versions say it."""

from pathlib import Path

import pytest

from backup_operator.worker.targets.redis_memory import pod_memory_limit_bytes


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        pytest.param("memory.max", "536870912\n", 512 << 20, id="version 2"),
        pytest.param("memory.max", "max\n", None, id="version 2 without a limit"),
        pytest.param("memory/memory.limit_in_bytes", "536870912\n", 512 << 20, id="version 1"),
        pytest.param("memory/memory.limit_in_bytes", "9223372036854771712\n", None, id="version 1 without a limit"),
        pytest.param("other", "1\n", None, id="no cgroup"),
    ],
)
def test_the_limit_is_read_where_there_is_one(tmp_path: Path, file, text, limit):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)

    assert pod_memory_limit_bytes(tmp_path) == limit

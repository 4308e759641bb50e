"""How much the scratch volume still takes: its limit counts what is there, and the file system's own end counts too."""

import errno
import shutil
from pathlib import Path

import pytest

from backup_operator.worker.targets.scratch import free_bytes, within

MIB = 1 << 20


def test_without_a_limit_the_file_system_says_what_is_free(tmp_path: Path):
    free = shutil.disk_usage(tmp_path).free

    assert free_bytes(tmp_path, None) == pytest.approx(free, rel=0.1)
    assert free_bytes(tmp_path, free * 2) == pytest.approx(free, rel=0.1)


def test_what_is_there_counts_against_the_limit(tmp_path: Path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "file").write_bytes(b"x" * MIB)
    (tmp_path / "link").symlink_to(below / "file")

    assert free_bytes(tmp_path, 4 * MIB) == pytest.approx(3 * MIB, abs=64 * 1024)
    assert free_bytes(tmp_path, MIB // 2) == 0


def test_a_file_without_content_takes_nothing(tmp_path: Path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 * MIB)

    assert free_bytes(tmp_path, MIB) == pytest.approx(MIB, abs=64 * 1024)


def test_chunks_that_fit_pass_and_the_first_that_does_not_is_an_error():
    chunks = within([b"12", b"34", b"5"], 4)

    assert [next(chunks), next(chunks)] == [b"12", b"34"]
    with pytest.raises(OSError, match="No space left") as caught:
        next(chunks)
    assert caught.value.errno == errno.ENOSPC
    assert list(within([b"12", b"34"], 4)) == [b"12", b"34"]

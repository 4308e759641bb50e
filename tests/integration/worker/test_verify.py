"""A stored file that is not what was written is never believed, wherever it differs."""

from contextlib import contextmanager
from datetime import timedelta

import pytest

from backup_operator.vocabulary.choices import ArtifactKind, Compression
from backup_operator.worker.errors import VerificationFailed
from backup_operator.worker.progress import Progress
from backup_operator.worker.sources.base import Contents
from backup_operator.worker.stages.chain import Recipe, seal
from backup_operator.worker.verify import verify_artifact

RECIPE = Recipe(Compression.GZIP, 2, b"correct horse battery")
PLAIN = b"".join(b"row %d\n" % number for number in range(5000))


class _Lines:
    """Counts lines; stands where a source's inspector would."""

    def __init__(self):
        self.counted = 0

    def update(self, chunk: bytes) -> None:
        self.counted += chunk.count(b"\n")

    def finish(self) -> Contents:
        return Contents(rows_per_table={"public.rows": self.counted})


class _Dump:
    kind = ArtifactKind.POSTGRES_PLAIN

    def stream(self):
        raise AssertionError("a stored file is verified without the database")

    @contextmanager
    def inspector(self):
        yield _Lines()


def _verify(file, written):
    progress = Progress("verify", interval=timedelta(seconds=10), clock=lambda: 0.0)
    with file.open("rb") as stored:
        return verify_artifact(stored, _Dump(), written, RECIPE, progress)


@pytest.fixture
def stored(tmp_path):
    file = tmp_path / "backup.sql.gz.gpg"
    with file.open("wb") as destination:
        written = seal([PLAIN], destination, RECIPE)
    return file, written


def test_a_file_that_is_as_written_is_counted(stored):
    file, written = stored

    assert _verify(file, written).rows == 5000


@pytest.mark.parametrize("position", [0, 20, 60, 5000, -30, -1], ids=str)
def test_a_flipped_bit_is_a_failed_verification(stored, position):
    file, written = stored
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)

    with pytest.raises(VerificationFailed):
        _verify(file, written)


def test_another_good_file_in_its_place_is_a_failed_verification(stored):
    file, written = stored
    with file.open("wb") as destination:
        seal([PLAIN], destination, RECIPE)

    with pytest.raises(VerificationFailed, match="not what was written"):
        _verify(file, written)


def test_a_cut_file_is_a_failed_verification(stored):
    file, written = stored
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(VerificationFailed):
        _verify(file, written)

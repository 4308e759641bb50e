"""Sealed is unsealed; whichever side fails, its error comes out, and no thread is left."""

import hashlib
import io
import random
import threading
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.vocabulary.choices import Compression
from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.stages.base import BLOCK_BYTES, Progress, regroup
from backup_operator.worker.stages.chain import Recipe, Sealed, seal, unseal
from tests.unit.worker.stages.messages import PASSPHRASE

RECIPE = Recipe(Compression.GZIP, 2, PASSPHRASE)
MANY = [random.Random(seed).randbytes(BLOCK_BYTES) for seed in range(40)]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def sealed_bytes(chunks, recipe=RECIPE) -> tuple[Sealed, bytes]:
    stored = io.BytesIO()
    return seal(chunks, stored, recipe, None), stored.getvalue()


@pytest.mark.parametrize("algorithm", Compression)
@pytest.mark.parametrize("size", [0, 1, 5000, BLOCK_BYTES, 5 * BLOCK_BYTES + 17])
def test_what_is_sealed_is_unsealed_with_the_same_sizes_and_hashes(algorithm, size):
    content = random.Random(size).randbytes(size // 2) * 2 + b"x" * (size % 2)
    chunks = [content[at : at + 70001] for at in range(0, size, 70001)]

    written, stored = sealed_bytes(chunks, Recipe(algorithm, 2, PASSPHRASE))
    unsealing = unseal(io.BytesIO(stored), [b"another one", PASSPHRASE], algorithm)

    assert b"".join(unsealing) == content
    assert unsealing.sealed == written
    assert written == Sealed(size, hashlib.sha256(content).hexdigest(), len(stored), hashlib.sha256(stored).hexdigest())


def test_progress_is_told_in_the_callers_thread():
    seen: list[tuple[threading.Thread, Progress]] = []

    written = seal(MANY, io.BytesIO(), RECIPE, lambda progress: seen.append((threading.current_thread(), progress)))

    assert {thread for thread, _ in seen} == {threading.current_thread()}
    assert len(seen) == len(MANY)
    amounts = [(progress.plain_bytes, progress.stored_bytes) for _, progress in seen]
    assert amounts == sorted(amounts)
    assert 0 < amounts[-1][0] <= written.plain_bytes


class Boom(Exception):
    """Raised by the tests' own sources and destinations."""


class Full(io.RawIOBase):
    """A volume that takes a few bytes at a time and then no more."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def writable(self) -> bool:
        return True

    def write(self, block):
        if self.room_bytes == 0:
            raise OSError(28, "No space left on device") from Boom("the cause")
        taken = min(len(block), self.room_bytes, 100_000)
        self.room_bytes -= taken
        return taken


def test_a_destination_that_takes_a_part_at_a_time_gets_everything():
    volume = Full(1 << 30)

    written = seal(MANY[:3], cast(BinaryIO, volume), RECIPE, None)

    assert (1 << 30) - volume.room_bytes == written.stored_bytes


@pytest.mark.parametrize("room_bytes", [0, 10, 300_000, 3_000_000])
def test_a_full_destination_stops_the_dump_and_raises_its_own_error(room_bytes):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield MANY[0]
        finally:
            closed.set()

    with pytest.raises(OSError, match="No space left") as failure:
        seal(endless(), cast(BinaryIO, Full(room_bytes)), RECIPE, None)

    assert failure.value.errno == 28
    assert isinstance(failure.value.__cause__, Boom)
    assert closed.is_set()


@pytest.mark.parametrize("good", [0, 1, 30])
def test_a_failing_dump_raises_its_own_error(good):
    def failing():
        yield from MANY[:good]
        raise Boom from ValueError("the cause")

    with pytest.raises(Boom) as failure:
        seal(failing(), io.BytesIO(), RECIPE, None)

    assert isinstance(failure.value.__cause__, ValueError)


def test_an_interrupt_while_waiting_for_the_dump_is_not_swallowed():
    def interrupted():
        yield MANY[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(interrupted(), io.BytesIO(), RECIPE, None)


def test_a_failing_observer_stops_everything():
    def observe(_: Progress) -> None:
        raise Boom

    with pytest.raises(Boom):
        seal(iter(MANY), io.BytesIO(), RECIPE, observe)


def test_a_wrong_level_is_refused():
    with pytest.raises(ValueError, match="1-9"):
        seal(MANY, io.BytesIO(), Recipe(Compression.GZIP, 0, PASSPHRASE), None)


@pytest.mark.parametrize("taken", [0, 1, 20])
def test_closing_midway_ends_the_threads(taken):
    _, stored = sealed_bytes(MANY)

    with unseal(io.BytesIO(stored), [PASSPHRASE], Compression.GZIP) as unsealing:
        for _ in range(taken):
            next(unsealing)

    assert list(unsealing) == []
    with pytest.raises(RuntimeError, match="not been read to its end"):
        _ = unsealing.sealed


def test_a_failing_reader_of_the_plaintext_ends_the_threads():
    _, stored = sealed_bytes(MANY)

    def fail_after_the_first_block():
        with unseal(io.BytesIO(stored), [PASSPHRASE], Compression.GZIP) as unsealing:
            next(unsealing)
            raise Boom

    with pytest.raises(Boom):
        fail_after_the_first_block()


class Unreadable(io.BytesIO):
    """A stored file on a disk that fails."""

    def read(self, size=-1):
        if self.tell() > 1_000_000:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_disk_that_cannot_be_read_raises_its_own_error():
    _, stored = sealed_bytes(MANY)

    with pytest.raises(OSError, match="Input/output error"):
        list(unseal(Unreadable(stored), [PASSPHRASE], Compression.GZIP))


def test_a_wrong_passphrase_is_refused():
    _, stored = sealed_bytes(MANY[:2])

    with pytest.raises(KeyInvalid):
        list(unseal(io.BytesIO(stored), [b"another one"], Compression.GZIP))


@pytest.mark.parametrize("at", [20, 1000, -1, -21, -23, -40])
def test_a_changed_byte_is_refused_before_the_end(at):
    _, stored = sealed_bytes(MANY)
    changed = bytearray(stored)
    changed[at] ^= 0x10

    with pytest.raises((VerificationFailed, KeyInvalid)):
        list(unseal(io.BytesIO(changed), [PASSPHRASE], Compression.GZIP))


@pytest.mark.parametrize("algorithm", Compression)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 30, 300_000, -300_000, -23, -1])
def test_a_cut_file_is_refused(algorithm, size):
    _, stored = sealed_bytes(MANY[:5], Recipe(algorithm, 2, PASSPHRASE))

    with pytest.raises((VerificationFailed, KeyInvalid)):
        list(unseal(io.BytesIO(stored[:size]), [PASSPHRASE], algorithm))


def test_the_passphrase_is_not_shown():
    assert PASSPHRASE.decode() not in repr(RECIPE)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
@settings(deadline=None)
def test_regrouped_blocks_hold_the_same_bytes(chunks, size):
    blocks = list(regroup(chunks, size))

    assert b"".join(blocks) == b"".join(chunks)
    assert all(len(block) == size for block in blocks[:-1])
    assert all(0 < len(block) <= size for block in blocks)

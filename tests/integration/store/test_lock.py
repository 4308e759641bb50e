"""One writer at a time: who waits learns who holds the store, and a dead holder holds nothing."""

import os
import signal
import threading
from datetime import timedelta

import pytest

from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.errors import StoreBusy
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.store.lock import Holder, locked
from backup_operator.worker.store.run import begin_run
from tests.support.store_content import NIGHT

FIRST = Holder("run of prod/app-db", "app-db-29-x7k2p", "2023-12-01T02:00:00Z")
SECOND = Holder("second", "elsewhere", "2023-12-01T02:00:01Z")
AT_ONCE = timedelta(0)


@pytest.fixture
def two(tmp_path):
    """The same store, opened twice as two workers would."""
    with (
        open_store(tmp_path, "a/b", described="claim prod/backups", create=True) as first,
        open_store(tmp_path, "a/b", described="claim prod/backups", create=True) as second,
    ):
        yield first, second


def test_a_second_writer_is_told_who_holds_the_store_and_what_has_begun(two):
    first, second = two
    with locked(first, AT_ONCE, FIRST):
        begin_run(first, SourceKind.POSTGRES, NIGHT)
        with pytest.raises(StoreBusy) as refused, locked(second, AT_ONCE, SECOND):
            pass

    assert refused.value.message.endswith(
        "on claim prod/backups is held by run of prod/app-db in app-db-29-x7k2p since 2023-12-01T02:00:00Z"
    )
    assert refused.value.detail == "waited 0 s for the lock; begun there: backup_20231201_020000"
    assert "`kubectl -n prod logs app-db-29-x7k2p" in refused.value.hint


def test_a_second_writer_goes_on_when_the_first_has_finished(two):
    first, second = two
    inside, leave, order = threading.Event(), threading.Event(), []

    def hold() -> None:
        with locked(first, AT_ONCE, FIRST):
            inside.set()
            leave.wait(20)
            order.append("first left")

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(20)
    threading.Timer(0.3, leave.set).start()
    with locked(second, timedelta(seconds=20), SECOND):
        order.append("second inside")
    thread.join()

    assert order == ["first left", "second inside"]


def test_the_lock_is_free_after_an_error_inside(two):
    first, second = two
    with pytest.raises(RuntimeError), locked(first, AT_ONCE, FIRST):
        raise RuntimeError

    with locked(second, AT_ONCE, SECOND):
        assert second.read_file(".lock", 1000).startswith(b'{"run": "second"')
    assert second.read_file(".lock", 1000) == b""


def test_a_killed_holder_holds_nothing(two):
    first, second = two
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(first, AT_ONCE, FIRST):
            os.write(writing, b"x")
            signal.pause()
    assert os.read(reading, 1) == b"x"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    with locked(second, AT_ONCE, SECOND):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 1}', b"\xff"])
def test_a_holder_without_a_readable_name_is_another_run(two, content):
    first, second = two
    with locked(first, AT_ONCE, FIRST):
        (first.directory / ".lock").write_bytes(content)
        with pytest.raises(StoreBusy, match="is held by another run"), locked(second, AT_ONCE, SECOND):
            pass

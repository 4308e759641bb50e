"""Threads of a crew share one fate."""

import threading

import pytest

from backup_operator.worker.stages.relay import DEPTH_BLOCKS, Abandoned, Crew


def test_blocks_arrive_in_order():
    received: list[bytes] = []
    with Crew(threads=1) as crew:
        channel = crew.channel()
        crew.start(lambda: received.extend(channel))
        for number in range(500):
            channel.put(b"%d" % number)
        channel.end()

    assert received == [b"%d" % number for number in range(500)]


def fail() -> None:
    raise ZeroDivisionError


def test_a_channel_holds_only_a_few_blocks():
    full = threading.Event()
    put: list[int] = []

    def fill(channel):
        for number in range(100):
            if number == DEPTH_BLOCKS:
                full.set()
            channel.put(b"x")
            put.append(number)

    def fail_when_it_is_full():
        with Crew(threads=1) as crew:
            channel = crew.channel()
            crew.start(lambda: fill(channel))
            assert full.wait(10)
            fail()

    with pytest.raises(ZeroDivisionError):
        fail_when_it_is_full()
    assert len(put) == DEPTH_BLOCKS


def test_a_failure_wakes_a_thread_that_waits_for_blocks_and_one_that_waits_for_room():
    woken: list[str] = []

    def wait(name, work):
        try:
            work()
        except Abandoned:
            woken.append(name)
            raise

    def fail_beside_two_that_wait():
        with Crew(threads=3) as crew:
            empty, full = crew.channel(), crew.channel()
            for _ in range(DEPTH_BLOCKS):
                full.put(b"x")
            crew.start(lambda: wait("reader", lambda: list(empty)))
            crew.start(lambda: wait("writer", lambda: full.put(b"x")))
            crew.start(fail)
            list(empty)

    with pytest.raises(ZeroDivisionError):
        fail_beside_two_that_wait()
    assert sorted(woken) == ["reader", "writer"]


def test_a_failure_after_the_last_block_is_raised():
    with pytest.raises(ZeroDivisionError), Crew(threads=1) as crew:
        crew.start(fail)


def test_the_callers_own_error_comes_before_that_of_a_thread():
    failed = threading.Event()

    def fail_and_tell():
        failed.set()
        fail()

    def fail_too():
        with Crew(threads=1) as crew:
            crew.start(fail_and_tell)
            assert failed.wait(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail_too()

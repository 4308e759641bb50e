"""The queue of dirty keys: nothing twice, nothing lost, nothing at the same time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from backup_operator.controller.queue import Backoff, DirtyQueue, RetryLater

SOON = timedelta(milliseconds=20)
FAST = Backoff(first=timedelta(milliseconds=10), longest=timedelta(milliseconds=40))


class Ledger:
    """A reconcile that writes down what it is called with, and does as told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running: list[str] = []
        self.overlaps = 0
        self.answers: list[timedelta | Exception | None] = []
        self.gate: asyncio.Event | None = None

    async def reconcile(self, key: str) -> timedelta | None:
        self.calls.append(key)
        self.overlaps += key in self.running
        self.running.append(key)
        try:
            if self.gate is not None:
                await self.gate.wait()
            answer = self.answers.pop(0) if self.answers else None
        finally:
            self.running.remove(key)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is a list of the test's own
            await asyncio.sleep(0.001)


def run(test: Callable[[Ledger, DirtyQueue[str]], "object"], *, workers: int = 2) -> Ledger:
    async def main() -> Ledger:
        ledger = Ledger()
        queue: DirtyQueue[str] = DirtyQueue(ledger.reconcile, backoff=FAST)
        tasks = [asyncio.create_task(queue.work()) for _ in range(workers)]
        try:
            await test(ledger, queue)  # type: ignore[misc]  # every test is a coroutine function
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return ledger

    return asyncio.run(main())


def test_a_key_that_is_marked_twice_is_reconciled_once():
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        queue.mark("a")
        queue.mark("a")
        queue.mark("b")
        await until(lambda: queue.length == 0)

    assert sorted(run(test).calls) == ["a", "b"]


def test_a_key_that_is_marked_while_it_is_reconciled_is_reconciled_again_and_never_twice_at_once():
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        ledger.gate = asyncio.Event()
        queue.mark("a")
        await until(lambda: ledger.running == ["a"])
        queue.mark("a")
        queue.mark("a")
        await asyncio.sleep(0)
        assert ledger.calls == ["a"]
        ledger.gate.set()
        await until(lambda: queue.length == 0)

    ledger = run(test)
    assert ledger.calls == ["a", "a"]
    assert ledger.overlaps == 0


def test_a_slow_key_does_not_hold_up_the_others():
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        ledger.gate = asyncio.Event()
        queue.mark("slow")
        await until(lambda: ledger.running == ["slow"])
        queue.mark("other")
        await until(lambda: "other" in ledger.calls)
        ledger.gate.set()
        await until(lambda: queue.length == 0)

    run(test)


@pytest.mark.parametrize("fault", [RetryLater("not now"), RuntimeError("a fault of ours")], ids=["expected", "fault"])
def test_a_failed_reconcile_comes_back_until_it_succeeds(fault: Exception):
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        ledger.answers = [fault, fault, None]
        queue.mark("a")
        await until(lambda: len(ledger.calls) == 3 and queue.length == 0)

    assert run(test).calls == ["a", "a", "a"]


def test_a_reconcile_that_asks_for_a_wake_up_gets_it():
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        ledger.answers = [SOON, None]
        queue.mark("a")
        await until(lambda: len(ledger.calls) == 2)

    run(test)


def test_of_two_wake_ups_the_earlier_one_counts():
    async def test(ledger: Ledger, queue: DirtyQueue[str]) -> None:
        queue.wake("a", SOON)
        queue.wake("a", timedelta(hours=1))
        queue.wake("b", timedelta(hours=1))
        queue.wake("b", SOON)
        await until(lambda: sorted(ledger.calls) == ["a", "b"])

    run(test)


def test_the_pause_after_failures_doubles_up_to_its_longest():
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=10))

    assert [backoff.pause(failures).total_seconds() for failures in (1, 2, 3, 4, 5, 500)] == [1, 2, 4, 8, 10, 10]

"""One operator at a time, and a watch that is known to be alive; time is the test's own."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.controller.cluster import LEASES, Key, Unreachable
from backup_operator.controller.lease import Leadership, LeaseLost
from tests.unit.controller.fake_cluster import FakeCluster

LEASE = Key("backup-operator", "backup-operator")
DURATION = timedelta(seconds=20)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def operator(cluster: FakeCluster, clock: Clock, name: str) -> Leadership:
    return Leadership(cluster, LEASE, name, DURATION, clock=clock)  # type: ignore[arg-type]  # a fake of the door


def step(*operators: Leadership) -> None:
    for one in operators:
        asyncio.run(one._step())


def lease(cluster: FakeCluster) -> dict[str, Any]:
    return cluster.objects[LEASES.plural, LEASE]


def test_the_first_one_takes_the_lease_and_the_second_one_waits(cluster: FakeCluster, clock: Clock):
    first, second = operator(cluster, clock, "first"), operator(cluster, clock, "second")

    step(first, second)

    assert first.taken.is_set()
    assert not second.taken.is_set()
    assert lease(cluster)["spec"]["holderIdentity"] == "first"


def test_the_second_one_waits_for_as_long_as_the_first_one_renews(cluster: FakeCluster, clock: Clock):
    first, second = operator(cluster, clock, "first"), operator(cluster, clock, "second")

    for _ in range(20):
        step(first, second)
        clock.pass_(5)

    assert not second.taken.is_set()


def test_the_second_one_takes_over_when_the_first_one_is_silent_for_the_whole_duration(
    cluster: FakeCluster, clock: Clock
):
    first, second = operator(cluster, clock, "first"), operator(cluster, clock, "second")
    step(first, second)

    clock.pass_(20)
    step(second)
    assert not second.taken.is_set()
    clock.pass_(1)
    step(second)

    assert second.taken.is_set()
    assert lease(cluster)["spec"]["leaseTransitions"] == 2
    with pytest.raises(LeaseLost, match="second"):
        step(first)


def test_a_lease_that_is_given_up_is_taken_at_once(cluster: FakeCluster, clock: Clock):
    first, second = operator(cluster, clock, "first"), operator(cluster, clock, "second")
    step(first, second)

    asyncio.run(first.give_up())
    step(second)

    assert second.taken.is_set()


def test_a_restarted_container_of_the_same_pod_goes_on_at_once(cluster: FakeCluster, clock: Clock):
    step(operator(cluster, clock, "pod-1"))

    again = operator(cluster, clock, "pod-1")
    step(again)

    assert again.taken.is_set()
    assert lease(cluster)["spec"]["leaseTransitions"] == 1


def test_a_watch_that_tells_of_every_renewal_is_alive(cluster: FakeCluster, clock: Clock):
    one = operator(cluster, clock, "one")

    for _ in range(100):
        step(one)
        one.seen_by_watch(lease(cluster))
        clock.pass_(5)

    assert not one.watch_is_deaf


def test_a_watch_that_tells_nothing_while_the_lease_changes_is_deaf(cluster: FakeCluster, clock: Clock):
    one = operator(cluster, clock, "one")

    for _ in range(14):
        step(one)
        clock.pass_(5)

    assert one.watch_is_deaf


def test_an_outage_of_the_api_server_does_not_make_the_watch_deaf(cluster: FakeCluster, clock: Clock):
    one = operator(cluster, clock, "one")
    step(one)
    one.seen_by_watch(lease(cluster))

    cluster.away = True
    for _ in range(100):
        with pytest.raises(Unreachable):
            step(one)
        clock.pass_(5)

    assert not one.watch_is_deaf


def test_another_lease_says_nothing_about_the_watch(cluster: FakeCluster, clock: Clock):
    one = operator(cluster, clock, "one")
    for _ in range(14):
        step(one)
        one.seen_by_watch({"metadata": {"namespace": "kube-system", "name": "backup-operator"}})
        clock.pass_(5)

    assert one.watch_is_deaf

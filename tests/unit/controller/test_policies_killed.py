"""The operator is killed, or the API server fails, before and after each call: a policy ends in the same objects."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from backup_operator.controller.cluster import ClusterError, Refused, Unreachable
from tests.unit.controller.policing import HOUR, TEMPLATE, World, policy, stored
from tests.unit.controller.test_restores_killed import MANY_CALLS, Killed, Trip

STORE = stored(HOUR, 25 * HOUR)
CHANGED: dict[str, Any] = {"retention": {"keepLast": 1}}


def drive(world: World) -> None:
    """A policy comes, and its rules change; the operator is started again when it was killed."""
    until_at_rest(world)
    world.put(policy(generation=2, storage=TEMPLATE, **CHANGED))
    until_at_rest(world)


def until_at_rest(world: World) -> None:
    """Turns of operator and workers until one has no error and changes nothing."""
    for _ in range(10):
        before = dict(world.cluster.objects)
        try:
            world.reconcile()
        except Killed:
            world.start_operator()
            continue
        except ClusterError:
            continue
        world.work()
        if world.cluster.objects == before:
            return
    raise AssertionError("no rest")


def tripped(when: str, at: int, make: Callable[[], BaseException]) -> tuple[World, Trip]:
    """A world in which one call of the operator fails."""
    world = World(store=STORE)
    world.put(policy(storage=TEMPLATE))
    trip = Trip(at, make())
    setattr(world.cluster, when, trip)
    drive(world)
    return world, trip


def content(world: World) -> dict[Any, Any]:
    """What there is, but for Events and versions."""
    return {
        place: {name: value for name, value in one.items() if name != "metadata"}
        for place, one in world.cluster.objects.items()
        if place[0] != "events"
    }


FAULTS: dict[str, Callable[[], BaseException]] = {
    "killed": Killed,
    "no answer": lambda: Unreachable("timed out"),
    "overload": lambda: Refused(429, "too many requests"),
}


@pytest.mark.parametrize("make", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("when", ["before_call", "after_call"])
def test_a_fault_at_any_call_changes_nothing_in_the_end(when: str, make: Callable[[], BaseException]):
    untouched, _ = tripped(when, MANY_CALLS * 100, make)
    tripped_at = []

    for at in itertools.count(1):
        world, trip = tripped(when, at, make)
        if not trip.call or at > MANY_CALLS:
            break
        tripped_at.append(trip.call)
        assert content(world) == content(untouched), trip.call
        assert world.inventories_created() == 2, trip.call

    assert {"create persistentvolumeclaims", "apply cronjobs", "create jobs", "apply_status backuppolicies"} <= set(
        tripped_at
    )

"""The operator is killed, or the API server fails, before and after each call: a restore still runs at most once."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from backup_operator.controller.cluster import ClusterError, Refused, Unreachable
from backup_operator.manifests.labels import Work
from tests.unit.controller.restoring import World, plan, policy, request, restored

MANY_CALLS = 200
ENDS = ({"Complete"}, {"Failed"})


class Killed(BaseException):
    """SIGKILL in the middle of a call."""


class Trip:
    """Raises once, at one call."""

    def __init__(self, at: int, raises: BaseException) -> None:
        self._at = at
        self._raises = raises
        self._seen = 0
        self.call = ""

    def __call__(self, call: str) -> None:
        self._seen += 1
        if self._seen == self._at and not self.call:
            self.call = call
            raise self._raises


def live(world: World, *, approve: bool) -> None:
    """Everything that happens to a request, over and over, whatever the operator makes of it."""
    if world.jobs(Work.PLAN) and not world.jobs(Work.PLAN)[0].get("status"):
        world.run_job(plan(), Work.PLAN)
    if approve and world.status().get("state") == "Planned" and world.request()["spec"]["dryRun"]:
        world.approve()
    if world.jobs() and not world.jobs()[0].get("status"):
        world.run_job(restored())


def drive(world: World, *, approve: bool = False) -> None:
    """Operator and cluster in turns, the operator started again when it was killed."""
    for _ in range(20):
        try:
            world.reconcile()
        except Killed:
            world.start_operator()
        except ClusterError:
            continue
        live(world, approve=approve)
        if set(world.true_conditions()) - {"Planned"}:
            return


def tripped(spec: dict[str, Any], when: str, make: Callable[[], BaseException], at: int) -> tuple[World, Trip]:
    """A world in which one call of the operator fails."""
    world = World(policy(), request(**spec))
    trip = Trip(at, make())
    setattr(world.cluster, when, trip)
    drive(world, approve=bool(spec.get("dryRun")))
    return world, trip


def every_trip(spec: dict[str, Any], when: str, make: Callable[[], BaseException]) -> list[tuple[World, Trip]]:
    """One world for each call that the operator makes for this request."""
    worlds: list[tuple[World, Trip]] = []
    for at in itertools.count(1):
        world, trip = tripped(spec, when, make, at)
        if not trip.call:
            return worlds
        assert at < MANY_CALLS
        worlds.append((world, trip))
    raise AssertionError


SPECS: dict[str, dict[str, Any]] = {"at once": {}, "planned and approved": {"dryRun": True}}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("when", ["before_call", "after_call"])
def test_an_operator_killed_at_any_call_makes_at_most_one_restore_job(spec: dict[str, Any], when: str):
    worlds = every_trip(spec, when, Killed)

    assert len(worlds) >= 12
    for world, trip in worlds:
        ended = world.true_conditions()
        assert len(world.created_jobs()) <= 1, trip.call
        assert set(ended) - {"Planned"} in ENDS, (trip.call, world.status())
        if world.created_jobs():
            assert ended["Complete"] == "Restored", trip.call
        else:
            assert ended["Failed"] == "JobLost", trip.call


def test_only_a_death_between_marker_and_job_loses_a_request():
    lost = {
        (when, trip.call)
        for when in ("before_call", "after_call")
        for world, trip in every_trip({}, when, Killed)
        if not world.created_jobs()
    }

    assert lost == {
        ("after_call", "apply_status restorerequests"),
        ("before_call", "create jobs"),
    }


FAULTS: dict[str, Callable[[], BaseException]] = {
    "no answer": lambda: Unreachable("timed out"),
    "overload": lambda: Refused(429, "too many requests"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize(
    ("when", "fault"),
    [
        ("before_call", "no answer"),
        ("after_call", "no answer"),
        ("before_call", "overload"),
        ("after_call", "overload"),
    ],
)
def test_an_api_server_that_fails_at_any_call_costs_nothing_but_time(spec: dict[str, Any], when: str, fault: str):
    worlds = every_trip(spec, when, FAULTS[fault])

    assert len(worlds) >= 12
    for world, trip in worlds:
        assert len(world.created_jobs()) == 1, (trip.call, world.status())
        assert world.true_conditions()["Complete"] == "Restored", trip.call


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_status_that_somebody_wrote_in_between_is_written_anew(spec: dict[str, Any]):
    world = World(policy(), request(**spec))
    conflicts: list[str] = []

    def write_in_between(call: str) -> None:
        if call == "apply_status restorerequests" and len(conflicts) < 3:
            conflicts.append(call)
            world.put(
                {**world.request(), "metadata": {**world.request()["metadata"], "labels": {"n": str(len(conflicts))}}}
            )

    world.cluster.before_call = write_in_between

    drive(world, approve=True)

    assert len(conflicts) == 3
    assert len(world.created_jobs()) == 1
    assert world.true_conditions()["Complete"] == "Restored"

"""Many requests, and everything that can happen to them in any order: what must hold holds after every step."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from backup_operator.controller.cluster import JOBS, PODS, ClusterError, Key, Unreachable
from backup_operator.controller.sight import job_state, url_secret_of
from backup_operator.manifests.labels import REQUEST_ANNOTATION, Work
from backup_operator.rules.runs import JobState
from backup_operator.vocabulary.reasons import Reason
from tests.unit.controller.restoring import NAMESPACE, World, failed, plan, policy, request, restored

STEPS = 120
OTHER = {"postgres": {"urlSecretRef": {"name": "other", "key": "URL"}}}
REQUESTS: tuple[dict[str, Any], ...] = (
    request("one"),
    request("two", age=30),
    request("three", after=["one", "two"]),
    request("four", dryRun=True),
    request("five", target=OTHER),
    request("six", target=OTHER, after=["five"], dryRun=True),
)
NAMES = tuple(one["metadata"]["name"] for one in REQUESTS)


class Killed(BaseException):
    """SIGKILL in the middle of a call."""


class Chance:
    """Things that happen, one at a time; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.world = World(policy(), *REQUESTS)
        self._ended: dict[str, dict[str, Any]] = {}

    def step(self) -> None:
        """One thing happens."""
        happens: list[Callable[[], None]] = [
            self.reconcile, self.reconcile, self.reconcile, self.fail_in_a_call, self.fail_in_a_call,
            self.end_a_job, self.end_a_job, self.lose_a_job, self.approve, self.world.start_operator,
        ]  # fmt: skip
        self._dice.choice(happens)()

    def reconcile(self) -> None:
        self._turn(self._dice.choice(NAMES))

    def fail_in_a_call(self) -> None:
        """The operator is killed, or not answered, before or after one of its calls."""
        left, fault = self._dice.randrange(8), self._dice.choice((Killed(), Unreachable("timed out")))

        def trip(_call: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                raise fault

        when = self._dice.choice(("before_call", "after_call"))
        setattr(self.world.cluster, when, trip)
        self._turn(self._dice.choice(NAMES))
        setattr(self.world.cluster, when, lambda _call: None)

    def end_a_job(self) -> None:
        """A worker reports how it went."""
        for job, work in self._going():
            good = plan() if work is Work.PLAN else restored()
            bad = failed(Reason.RESTORE_FAILED, dry_run=work is Work.PLAN)
            self._end(job, work, self._dice.choice((good, good, bad)))
            return

    def lose_a_job(self) -> None:
        """Somebody deletes a Job, or it was deleted while its pod had not begun."""
        jobs = self._going()
        if jobs and self._dice.random() < 0.3:
            self.world.cluster.remove(JOBS, Key(NAMESPACE, jobs[0][0]["metadata"]["name"]))

    def approve(self) -> None:
        for name in ("four", "six"):
            if self.world.request(name)["spec"]["dryRun"] and self._dice.random() < 0.5:
                self.world.approve(name)

    def check(self) -> None:
        """What must hold at any time."""
        world = self.world
        created = Counter(world.created_jobs())
        assert max(created.values(), default=0) <= 1, created
        going = [job for job, work in self._going() if work is Work.RESTORE]
        targets = Counter(url_secret_of(job) for job in going)
        assert max(targets.values(), default=0) <= 1, targets
        for name in NAMES:
            ends = set(world.true_conditions(name)) - {"Planned"}
            assert len(ends) <= 1
            if ends:
                assert self._ended.setdefault(name, world.status(name)) == world.status(name)
                assert world.status(name)["state"] in ends

    def finish(self) -> None:
        """Everything goes well from now on."""
        for _ in range(40):
            for name in NAMES:
                self._turn(name)
            for job, work in self._going():
                self._end(job, work, plan() if work is Work.PLAN else restored())
            self.approve()
            self.check()

    def _turn(self, name: str) -> None:
        try:
            self.world.reconcile(name)
        except Killed:
            self.world.start_operator()
        except ClusterError:
            return

    def _going(self) -> list[tuple[dict[str, Any], Work]]:
        both = [(job, work) for work in (Work.PLAN, Work.RESTORE) for job in self.world.jobs(work)]
        going = [one for one in both if job_state(one[0]) is JobState.ACTIVE]
        self._dice.shuffle(going)
        return going

    def _end(self, job: dict[str, Any], work: Work, report: Any) -> None:
        name = job["metadata"]["annotations"][REQUEST_ANNOTATION]
        others = {
            place: one for place, one in self.world.cluster.objects.items() if place[0] in (JOBS.plural, PODS.plural)
        }
        for place in others:
            if others[place]["metadata"].get("annotations", {}).get(REQUEST_ANNOTATION) != name:
                del self.world.cluster.objects[place]
        self.world.run_job(report, work)
        self.world.cluster.objects = others | self.world.cluster.objects


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_request_runs_twice_and_none_beside_another_at_its_target(seed: int):
    chance = Chance(seed)

    for _ in range(STEPS):
        chance.step()
        chance.check()
    chance.finish()

    assert all(chance.world.status(name)["state"] in ("Complete", "Failed") for name in NAMES), [
        chance.world.status(name) for name in NAMES
    ]

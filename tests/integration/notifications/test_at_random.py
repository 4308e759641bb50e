"""Whatever goes wrong in whatever order: each target hears of each transition once, in order."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from backup_operator.controller.cluster import Unreachable
from tests.integration.notifications.notifying import House
from tests.support.receivers import Receiver, Webhook
from tests.unit.controller.policing import policy

FAILED = "prod/app-db: the backup failed (ConnectionRefused)"
RECOVERED = "prod/app-db: backups succeed again"
STEPS = 30


class Walk:
    """An operator, two targets, and a dice."""

    def __init__(self, urls: Path, targets: dict[str, Webhook], dice: random.Random) -> None:
        self.targets, self.dice = targets, dice
        self.expected: list[str] = []
        self.house = House(urls, *({"urlKey": name} for name in targets))
        for name, target in targets.items():
            self.house.route(name, target.url(name))
        self.house.put(policy())
        self.house.settle()
        self.house.run_succeeds()
        self.house.turn()

    def step(self) -> None:
        """Something happens, and the operator has its turn."""
        what = [self.a_run_fails, self.a_run_succeeds, self.a_target_changes, self.restart, self.no_api_server]
        self.dice.choices(what, weights=[3, 3, 4, 2, 1])[0]()
        self.house.passes(timedelta(seconds=self.dice.randint(1, 90)))

    def a_run_fails(self) -> None:
        self.house.run_fails()
        if self.expected[-1:] != [FAILED]:
            self.expected.append(FAILED)
        asyncio.run(self.house.look_at_all())

    def a_run_succeeds(self) -> None:
        self.house.run_succeeds()
        if self.expected[-1:] == [FAILED]:
            self.expected.append(RECOVERED)
        asyncio.run(self.house.look_at_all())

    def a_target_changes(self) -> None:
        target = self.dice.choice(list(self.targets.values()))
        target.down()
        target.answer = self.dice.choice([200, 200, 503])
        if self.dice.random() < 0.5:
            target.up()

    def restart(self) -> None:
        self.house.start_operator()

    def no_api_server(self) -> None:
        """It goes after an answer has come and before that is written; then it is back."""
        asyncio.run(self.house.send())
        self.house.cluster.away = True
        with suppress(Unreachable):
            asyncio.run(self.house.write())
        self.house.cluster.away = False

    def end_well(self) -> None:
        """Everything is up again, for long enough."""
        for target in self.targets.values():
            target.down()
            target.answer = 200
            target.up()
        for _ in range(12):
            self.house.passes(timedelta(seconds=60))


@contextmanager
def up(*targets: Receiver) -> Iterator[None]:
    for one in targets:
        one.up()
    try:
        yield
    finally:
        for one in targets:
            one.down()


@pytest.mark.parametrize("seed", range(8))
def test_each_target_hears_of_each_transition_once_and_in_order(tmp_path: Path, seed: int):
    targets = {"one": Webhook(), "two": Webhook()}

    with up(*targets.values()):
        walk = Walk(tmp_path, targets, random.Random(seed))
        for _ in range(STEPS):
            walk.step()
        walk.end_well()

    assert {name: target.titles for name, target in targets.items()} == dict.fromkeys(targets, walk.expected)
    assert len(walk.expected) > 3
    assert not walk.house.notified().get("owed")

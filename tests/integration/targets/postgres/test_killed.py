"""A worker killed at any moment: the target is as it was or fully restored, and what is left over is told.

SIGKILL to the whole process group, as when a container ends: nothing of ours gets to clean up.
"""

import functools
import itertools
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backup_operator.contract.restore import RestoreOrder, RestoreReport
from backup_operator.worker.restore import restore
from backup_operator.worker.workplace import Workplace
from tests.integration.targets.postgres.conftest import Side, make_everything
from tests.integration.targets.postgres.killing import Moment, Worker, at_byte, before, behind
from tests.integration.worker.conftest import Bench, bench_in
from tests.integration.worker.ordering import restore_order
from tests.support.postgres_server import PostgresServer, wait_until

SOURCE, DAMAGED = "app", "damaged"
STRATEGIES = ("NewDatabase", "SwapDatabase", "InPlace")
DECISIVE = {
    "NewDatabase": (b"COMMIT", b" rename to "),
    "SwapDatabase": (b"COMMIT", b" rename to "),
    "InPlace": (b"commit\0", b"begin\0"),
}
"""What makes the restore visible to others, as it goes over the wire, and what is sent before it."""
FIRST_WRITE = {"NewDatabase": b"create database ", "SwapDatabase": b"create database ", "InPlace": b"begin\0"}
"""What it begins to write with."""
PARTS = [("Plain", 0.02), ("Plain", 0.2), ("Plain", 0.4), ("Plain", 0.6), ("Plain", 0.8), ("Plain", 0.97)]
PARTS += [("Custom", 0.5), ("Custom", 0.9)]


@dataclass
class Scene:
    """A server with a source, a damaged copy of it, and a store with the source's backup."""

    server: PostgresServer
    place: Bench
    form: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    whole_runs: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """By strategy what a run that nobody kills sends, in bytes, and the state that it leaves."""
    damaged: Any = None

    def target(self, strategy: str) -> str:
        """The name of a database that is not there yet, or is as damaged as the others."""
        name = f"{self.form.lower()}_{next(self.numbers)}"
        if strategy != "NewDatabase":
            self.server.create_database(name, f"template {DAMAGED}")
        return name

    def run(self, strategy: str, name: str, moment: Moment | None = None, log_line: str = "") -> Worker:
        """A restore into this database, killed at the moment or at the line."""
        worker = Worker(self.place, self.server.port, log_line=log_line)
        worker.moment = moment or worker.moment
        worker.run(self.server.url(SOURCE), **self.changes(strategy, name))
        wait_until(lambda: not self.sessions(), "the end of the worker's sessions")
        return worker

    def changes(self, strategy: str, name: str) -> dict[str, Any]:
        """What the order says of the target."""
        target = {"url": self.place.order["postgres"]["url"], "strategy": strategy, "database": name}
        return {"postgres": target, "confirm": "" if strategy == "NewDatabase" else name}

    def sessions(self) -> list[tuple[Any, ...]]:
        """Who of ours is still connected."""
        return self.server.rows("select pid from pg_stat_activity where application_name ~ '^(backup-operator|pg_)'")

    def databases(self, name: str) -> list[str]:
        """Those that are called like this one."""
        return [row[0] for row in self.server.rows(f"select datname from pg_database where datname ~ '^{name}'")]

    def state(self, name: str) -> Any:
        """All of a database: contents and schema."""
        compared = Side(self.server, name).compared()
        return compared.contents(), compared.schema()

    def whole_run(self, strategy: str) -> tuple[int, Any]:
        """Bytes that an undisturbed restore sends, and the state that it leaves."""
        if strategy not in self.whole_runs:
            name = self.target(strategy)
            worker = self.run(strategy, name)
            assert worker.exit_code == 0, worker.said
            self.whole_runs[strategy] = worker.sent_bytes, self.state(name)
        return self.whole_runs[strategy]

    def outcome(self, strategy: str, name: str) -> str:
        """Which of the two states a target is in that may hold; fails on any other."""
        if self.databases(f"{name}$") == []:
            assert strategy == "NewDatabase"
            return "as before"
        found = self.state(name)
        if strategy != "NewDatabase" and found == self.damaged:
            return "as before"
        assert found == self.whole_run(strategy)[1]
        if strategy == "SwapDatabase":
            (kept,) = self.databases(f"{name}_before_")
            assert self.state(kept) == self.damaged
        return "restored"


@pytest.fixture(scope="module")
def server():
    with PostgresServer(15) as running:
        make_everything(running, SOURCE)
        running.execute("create table bulk (n int primary key, md5 text)", SOURCE)
        running.execute("insert into bulk select n, md5(n::text) from generate_series(1, 20000) n", SOURCE)
        running.execute("create index on bulk (md5); create sequence tickets start 77", SOURCE)
        running.create_database(DAMAGED, f"template {SOURCE}")
        running.execute("delete from bulk where n > 7; drop table conversations; update users set age = 7", DAMAGED)
        running.execute("create table since as select 1 as id; select setval('tickets', 1000)", DAMAGED)
        yield running


@pytest.fixture(scope="module")
def scene_of(server, tmp_path_factory) -> Callable[[str], Scene]:
    """The scene with a backup of this format."""

    def make(form: str) -> Scene:
        place = bench_in(tmp_path_factory.mktemp(form), postgres={"url": server.url(SOURCE), "format": form})
        code, _, said = place.run()
        assert code == 0, said
        made = Scene(server, place, form)
        made.damaged = made.state(DAMAGED)
        return made

    return functools.cache(make)


def _assert_told(scene: Scene, strategy: str, name: str, worker: Worker, outcome: str) -> None:
    """What a killed worker leaves is told: by the names of databases, by its log, and by the next plan."""
    left = scene.databases(f"{name}_restoring_")
    assert len(left) <= (0 if strategy == "InPlace" or outcome == "restored" else 1)
    if strategy == "InPlace" and "name=commit" in worker.said:
        question = re.search(r"SELECT pg_xact_status\('\d+'\)", worker.said)
        assert question is not None, worker.said
        assert scene.server.rows(question[0]) == [("committed" if outcome == "restored" else "aborted",)]
    planned = _planned(scene, strategy, name)
    assert planned.fault is None
    assert [database in "\n".join(planned.plan) for database in left] == [True] * len(left)
    for database in left:  # a plan that tells of many is cut in the report
        scene.server.execute(f'drop database "{database}" with (force)')


def _planned(scene: Scene, strategy: str, name: str) -> RestoreReport:
    order = restore_order(scene.place, dry_run=True, **scene.changes(strategy, name))
    with tempfile.TemporaryDirectory() as scratch:
        return restore(RestoreOrder.model_validate(order), Workplace(scratch=Path(scratch)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("form", "part"), PARTS)
def test_killed_in_the_middle_nothing_has_happened(scene_of, strategy, form, part):
    scene = scene_of(form)
    sent, _ = scene.whole_run(strategy)
    name = scene.target(strategy)

    worker = scene.run(strategy, name, at_byte(int(sent * part)))

    assert worker.exit_code == -signal.SIGKILL
    outcome = scene.outcome(strategy, name)
    assert outcome == "as before"
    _assert_told(scene, strategy, name, worker, outcome)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("place", "expected"), [(before, "as before"), (behind, "restored")], ids=["before it", "behind it"]
)
@pytest.mark.parametrize("form", ["Plain", "Custom"])
def test_killed_at_the_decisive_statement_it_is_one_or_the_other(scene_of, strategy, form, place, expected):
    scene = scene_of(form)
    scene.whole_run(strategy)
    name, (statement, first) = scene.target(strategy), DECISIVE[strategy]

    worker = scene.run(strategy, name, place(statement, after=first))

    assert worker.exit_code == -signal.SIGKILL
    outcome = scene.outcome(strategy, name)
    assert outcome == expected
    _assert_told(scene, strategy, name, worker, outcome)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("line", ["step name=verify", "step name=survey"])
def test_killed_before_it_writes_nothing_is_there(scene_of, strategy, line):
    scene = scene_of("Plain")
    name = scene.target(strategy)

    # a line of the log is read a moment after it was written: the worker may be further by then, but not as far as that
    worker = scene.run(strategy, name, before(FIRST_WRITE[strategy]), log_line=line)

    assert worker.exit_code == -signal.SIGKILL
    assert scene.databases(f"{name}_") == []
    assert scene.outcome(strategy, name) == "as before"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_next_restore_after_a_killed_one_goes_through(scene_of, strategy):
    scene = scene_of("Plain")
    sent, restored = scene.whole_run(strategy)
    name = scene.target(strategy)
    scene.run(strategy, name, at_byte(sent // 2))

    worker = scene.run(strategy, name)

    assert worker.exit_code == 0, worker.said
    assert scene.state(name) == restored

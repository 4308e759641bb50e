"""What real workers report, as the status of their policy says it: night after night, by a moved clock."""

import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.contract.report import Report, decode, encode
from backup_operator.rules.conditions import Finding, ScheduleSeen
from backup_operator.rules.occurrences import happenings
from backup_operator.rules.runs import Attempt, JobSeen, JobState
from backup_operator.rules.status import Sight, next_status
from backup_operator.vocabulary.conditions import ConditionStatus
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.backup import back_up
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.conftest import Bench, bench_in
from tests.integration.worker.pruning import DAY, NIGHT
from tests.support.redis_server import RedisServer

KEEP_THREE = {"keep_last": 3, "minimum": 1, "digest": "three"}
KEEP_ONE = {"keep_last": 1, "minimum": 1, "digest": "one"}
SIGHT = Sight(
    namespace="prod",
    name="app-cache",
    generation=1,
    store="backups:ns/app",
    accepted=Finding(ConditionStatus.TRUE, Reason.ACCEPTED, "valid"),
    schedule=ScheduleSeen("app-cache", "0 2 * * *", "Etc/UTC"),
    rpo=timedelta(hours=25),
    retention_digest="three",
    claim="backups",
    usage_limit_percent=100,
)


@dataclass
class Desk:
    """A policy's status, and the worker whose reports make it."""

    place: Bench
    status: BackupPolicyStatus = field(default_factory=BackupPolicyStatus)
    sight: Sight = SIGHT
    told: list[str] = field(default_factory=list)

    def run(self, night: int, **changes: Any) -> None:
        """A good run of that night, and the status after it."""
        at = NIGHT + night * DAY
        order = BackupOrder.model_validate({**self.place.order, "retention": KEEP_THREE, **changes})
        with tempfile.TemporaryDirectory(dir=self.place.directory) as scratch:
            report = back_up(order, Workplace(scratch=Path(scratch), now=lambda: at))
        self.look(at, backups=(_job(report),))

    def inventory(self, at: datetime, **changes: Any) -> None:
        """An inventory of that moment, and the status after it."""
        shared = {name: self.place.order[name] for name in ("policy", "passphrase", "store")}
        order = InventoryOrder.model_validate({**shared, "retention": KEEP_THREE, **changes})
        self.look(at, inventories=(_job(take_inventory(order, Workplace(now=lambda: at))),))

    def look(self, at: datetime, backups: tuple[JobSeen, ...] = (), inventories: tuple[JobSeen, ...] = ()) -> None:
        """The status at that moment."""
        after = next_status(self.status, replace(self.sight, backups=backups, inventories=inventories), at)
        self.told = [one.reason for one in happenings(self.status, after)]
        self.status = BackupPolicyStatus.model_validate(after.wire())

    def reason(self, kind: str) -> str:
        """The reason of a condition, empty while it is absent."""
        return next((one.reason for one in self.status.conditions if one.type == kind), "")

    def words(self, kind: str) -> str:
        """Its message."""
        return next(one.message for one in self.status.conditions if one.type == kind)

    def names(self) -> list[str]:
        """The backups of the status, newest first."""
        return [one.name for one in self.status.backups]


def _job(report: Report) -> JobSeen:
    assert report.fault is None, report.fault
    letter = decode(encode(report))
    attempt = Attempt("pod", letter.started_at, letter.completed_at, letter, 0)
    name = f"{letter.kind}-{letter.started_at}"
    return JobSeen("prod", name, name, letter.started_at, JobState.COMPLETE, letter.completed_at, attempts=(attempt,))


def named(night: int) -> str:
    return f"redis_{NIGHT + night * DAY:%Y%m%d_%H%M%S}"


@pytest.fixture(scope="module")
def server():
    with RedisServer() as one:
        yield one


@pytest.fixture
def desk(tmp_path, server):
    with server.client() as client:
        client.flushall()
        client.mset({f"key{number}": number for number in range(1000)})
    return Desk(bench_in(tmp_path, redis={"url": server.url()}))


def test_nights_of_good_runs_are_kept_counted_and_deleted_as_the_rules_say(desk):
    for night in range(5):
        desk.run(night)

    assert desk.reason("Ready") == "Ready"
    assert desk.reason("Retained") == "Applied"
    assert desk.reason("Plausible") == "InLine"
    assert desk.reason("StorageAvailable") == "BelowLimit"
    assert desk.names() == [named(4), named(3), named(2)]
    assert f"kept 3, deleted 1 backup ({named(1)})" in desk.words("Retained")
    assert f"Next to go: {named(2)}" in desk.words("Retained")
    assert desk.told == ["Succeeded", "BackupsDeleted"]


def test_an_edit_of_the_rules_is_seen_before_it_deletes_and_a_dry_run_holds_it(desk):
    for night in range(3):
        desk.run(night)
    later = NIGHT + 2 * DAY + timedelta(hours=1)

    desk.sight = replace(desk.sight, retention_digest="one")
    desk.inventory(later, retention=KEEP_ONE)
    edited = desk.words("Retained")
    desk.sight = replace(desk.sight, dry_run=True)
    desk.run(3, retention={**KEEP_ONE, "dry_run": True})
    held = (desk.reason("Retained"), desk.words("Retained"), len(desk.names()))
    desk.sight = replace(desk.sight, dry_run=False)
    desk.run(4, retention=KEEP_ONE)

    assert f"the next good run deletes 2 backups ({named(0)}, {named(1)})" in edited
    assert held[0] == "DryRun"
    assert f"3 backups ({named(0)}, {named(1)}, {named(2)})" in held[1]
    assert held[2] == 4
    assert desk.names() == [named(4)]
    assert desk.told == ["Succeeded", "BackupsDeleted"]


def test_keys_that_vanish_block_retention_until_a_person_accepts_it(desk, server):
    for night in range(3):
        desk.run(night)
    with server.client() as client:
        client.flushall()
        client.set("last", "one")

    desk.run(3)
    desk.run(4)
    collapsed = (desk.reason("Ready"), desk.reason("Retained"), desk.reason("Plausible"), len(desk.names()))
    command = desk.words("Plausible").rpartition("accepted-backup=")[2]
    desk.sight = replace(desk.sight, accepted_run=command)
    desk.look(NIGHT + 4 * DAY + timedelta(minutes=1))
    at_once = (desk.reason("Ready"), desk.reason("Plausible"), len(desk.names()))
    desk.run(5, accepted_run=command)

    assert collapsed == ("RetentionBlocked", "RetentionBlocked", "KeysCollapsed", 5)
    assert command == named(4)
    assert at_once == ("Ready", "ChangeAccepted", 5)
    assert (desk.reason("Ready"), desk.reason("Plausible")) == ("Ready", "ChangeAccepted")
    assert desk.names() == [named(5), named(4), named(3)]


def test_a_policy_made_again_on_the_same_store_knows_everything_but_what_it_never_did(desk):
    for night in range(4):
        desk.run(night)
    before = desk.status

    again = Desk(desk.place)
    again.inventory(NIGHT + 3 * DAY + timedelta(hours=1))

    assert (again.names(), again.status.backup_count) == (desk.names(), before.backup_count)
    assert (again.reason("Ready"), again.reason("Plausible"), again.reason("Retained")) == ("Ready", "InLine", "")
    assert again.status.retention is not None
    assert again.status.retention.preview is not None
    assert again.status.retention.preview.count == 0
    assert again.status.retention.applied_at is None

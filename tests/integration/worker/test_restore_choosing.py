"""Which backup a restore takes, and with which key: by name, time or `latest`, and never another instead."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.order import InventoryOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.cli import main
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.ordering import back_up_at, in_process, secret_file
from tests.support.redis_server import RedisServer

NIGHT = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TODAY = datetime(2023, 12, 9, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def source():
    with RedisServer() as server, server.client() as client:
        client.mset({f"key{number}": number for number in range(30)})
        yield server


@pytest.fixture
def place(bench, source):
    """A store with three nights of backups, and an empty server to restore into."""
    made = bench(redis={"url": source.url()})
    for night in range(3):
        back_up_at(made, NIGHT + night * DAY)
    return made


def _plan(place, source, **selection):
    """Plans into the server itself: which backup it is needs no other."""
    return in_process(place, TODAY, dry_run=True, selection=selection)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"latest": True}, "redis_20231203_020000"),
        ({"name": "redis_20231202_020000"}, "redis_20231202_020000"),
        ({"name": "redis_20231202_020000.rdb.gz.gpg"}, "redis_20231202_020000"),
        ({"before": "2023-12-02T02:00:00Z"}, "redis_20231202_020000"),
        ({"before": "2023-12-02T01:59:59Z"}, "redis_20231201_020000"),
        ({"before": "2023-12-02T04:00:00+02:00"}, "redis_20231202_020000"),
        ({"before": "2023-12-02T02:00:00"}, "redis_20231202_020000"),
    ],
    ids=["latest", "by name", "by its file's name", "at a time", "before a time", "in another zone", "without a zone"],
)
def test_the_backup_that_is_meant_is_taken(place, source, selection, expected):
    report = _plan(place, source, **selection)

    assert (report.fault, report.run, report.artifact) == (None, expected, f"{expected}.rdb.gz.gpg")
    assert report.recorded


def test_before_the_first_backup_there_is_none_and_the_oldest_is_named(place, source):
    report = _plan(place, source, before="2023-12-01T01:59:59Z")

    assert report.fault is not None
    assert report.fault.reason is Reason.BACKUP_NOT_FOUND
    assert "begun at or before 2023-12-01 01:59:59 UTC" in report.fault.message
    assert "the oldest is redis_20231201_020000, begun 2023-12-01 02:00:00 UTC" in report.fault.detail


@pytest.mark.parametrize("name", ["redis_20200101_000000", "safety_20200101_000000", "notes.txt", "../outside"])
def test_a_name_that_is_not_there_names_those_that_are(place, source, name):
    report = _plan(place, source, name=name)

    assert report.fault is not None
    assert report.fault.reason is Reason.BACKUP_NOT_FOUND
    assert name in report.fault.message
    assert report.fault.detail


def test_a_plan_reads_like_a_page(place, source):
    report = _plan(place, source, name="redis_20231202_020000")

    page = "\n".join(report.plan)
    assert page.startswith(
        "The backup redis_20231202_020000 of ns/app, begun 2023-12-02 02:00:00 UTC, 7 days 7 hours ago.\n"
        "It holds 30 keys in 1 database, from Redis "
    )
    assert "Read to its last byte now: redis_20231202_020000.rdb.gz.gpg, " in page
    assert "Opened with the current key, key KEY of Secret ns/app (fingerprint " in page
    assert "expect about " in page


def test_the_fingerprint_picks_the_key_among_current_and_previous_ones(place, source):
    new = secret_file(place, "NEW_KEY", "a new passphrase for everything")
    run = back_up_at(place, NIGHT + 5 * DAY, passphrase=new, previous_passphrases=[place.order["passphrase"]])
    keys = [new, place.order["passphrase"]]

    newest = in_process(place, TODAY, dry_run=True, passphrases=keys)
    older = in_process(place, TODAY, dry_run=True, passphrases=keys, selection={"name": "redis_20231202_020000"})

    assert (newest.fault, newest.run) == (None, run)
    assert "Opened with the current key, key NEW_KEY of" in "\n".join(newest.plan)
    assert older.fault is None
    assert "Opened with a previous key, key KEY of" in "\n".join(older.plan)


@pytest.mark.parametrize("selection", [{"latest": True}, {"name": "redis_20231206_020000"}], ids=["latest", "by name"])
def test_a_key_that_is_missing_is_named_and_nothing_older_is_taken_instead(place, source, selection):
    new = secret_file(place, "NEW_KEY", "a new passphrase for everything")
    back_up_at(place, NIGHT + 5 * DAY, passphrase=new)

    report = in_process(place, TODAY, dry_run=True, selection=selection)

    assert report.fault is not None
    assert report.fault.reason is Reason.KEY_INVALID
    assert "redis_20231206_020000.json" in report.fault.message
    assert "its key has the fingerprint '" in report.fault.detail
    assert " of key KEY of Secret ns/app" in report.fault.detail


def test_a_locked_backup_that_is_older_hinders_nobody(place, source):
    new = secret_file(place, "NEW_KEY", "a new passphrase for everything")
    run = back_up_at(place, NIGHT + 5 * DAY, passphrase=new)

    report = in_process(place, TODAY, dry_run=True, passphrases=[new])

    assert (report.fault, report.run) == (None, run)


def test_a_previous_secret_that_is_missing_is_a_warning_until_it_is_wanted(place, source):
    gone = {"path": str(place.directory / "gone"), "described": "key OLD_KEY of Secret ns/old"}
    other = secret_file(place, "OTHER_KEY", "another passphrase that fits nothing")

    told = in_process(place, TODAY, dry_run=True, passphrases=[place.order["passphrase"], gone])
    wanted = in_process(place, TODAY, dry_run=True, passphrases=[other, gone])

    assert told.fault is None
    assert "key OLD_KEY of Secret ns/old is missing" in "\n".join(told.notes)
    assert wanted.fault is not None
    assert wanted.fault.reason is Reason.KEY_INVALID
    assert "key OLD_KEY of Secret ns/old is missing" in wanted.fault.detail


def test_a_backup_that_has_lost_its_file_is_passed_over_and_that_is_told(place, source):
    (place.store / "redis_20231203_020000.rdb.gz.gpg").unlink()

    report = _plan(place, source, latest=True)
    by_name = _plan(place, source, name="redis_20231203_020000")

    assert report.run == "redis_20231202_020000"
    assert "redis_20231203_020000.json is newer, and is no backup to restore" in "\n".join(report.plan)
    assert by_name.fault is not None
    assert by_name.fault.reason is Reason.VERIFICATION_FAILED


@pytest.mark.parametrize("at", [0, 30, 200, -1], ids=["header", "first block", "body", "check sum"])
def test_a_flipped_bit_in_a_recorded_file_is_damage_and_no_wrong_key(place, source, at):
    file = place.store / "redis_20231203_020000.rdb.gz.gpg"
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)

    report = _plan(place, source, latest=True)

    assert report.fault is not None
    assert report.fault.reason is Reason.VERIFICATION_FAILED
    assert [step.name for step in report.steps] == ["choose", "verify"]


def test_a_flipped_bit_in_an_entry_makes_it_no_backup(place, source):
    entry = place.store / "redis_20231203_020000.json"
    entry.write_text(entry.read_text().replace('"keys": 30', '"keys": 31'))

    by_name = _plan(place, source, name="redis_20231203_020000")
    newest = _plan(place, source, latest=True)

    assert by_name.fault is not None
    assert by_name.fault.reason is Reason.VERIFICATION_FAILED
    assert "cannot be trusted" in by_name.fault.message
    assert newest.run == "redis_20231202_020000"


@pytest.mark.parametrize(("previous", "found"), [(True, (4, None)), (False, (1, 3))], ids=["given", "not given"])
def test_an_inventory_reads_what_previous_passphrases_open(place, source, previous, found):
    new = secret_file(place, "NEW_KEY", "a new passphrase for everything")
    back_up_at(place, NIGHT + 5 * DAY, passphrase=new)
    order = InventoryOrder.model_validate(
        {
            "policy": place.order["policy"],
            "passphrase": new,
            "previous_passphrases": [place.order["passphrase"]] if previous else [],
            "store": place.order["store"],
        }
    )

    catalog = take_inventory(order, Workplace()).catalog

    assert catalog is not None
    assert (catalog.count, catalog.locked) == found


def test_reading_by_hand_takes_a_passphrase_of_before_too(place, source, capsys):
    secret_file(place, "NEW_KEY", "a new passphrase for everything")
    keys = ["--passphrase-file", str(place.directory / "NEW_KEY"), "--passphrase-file", str(place.directory / "key")]

    code = main(["verify", "--store", str(place.store), *keys, "before=2023-12-02T03:00:00"])

    assert code == Exit.OK
    assert capsys.readouterr().out.startswith("redis_20231202_020000: good, 30 keys, ")

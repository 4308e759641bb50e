"""What a refused restore tells to type next: for a request in a cluster, and for a person at the keyboard."""

from argparse import Namespace
from datetime import UTC, datetime

import pytest

from backup_operator.contract.restore import Selection
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.choosing import choose
from backup_operator.worker.errors import TargetError
from backup_operator.worker.keys import keys_for_reading
from backup_operator.worker.restore_by_hand import passphrase_files
from backup_operator.worker.store.layout import open_store
from tests.integration.worker.ordering import back_up_at, in_process
from tests.support.redis_server import RedisServer

NIGHT = datetime(2023, 12, 1, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server():
    with RedisServer() as running, running.client() as client:
        client.set("a", "1")
        yield running


@pytest.fixture
def place(bench, server):
    return bench(redis={"url": server.url()})


def test_before_a_policys_first_run_it_says_how_to_make_one(place):
    report = in_process(place)

    assert report.fault is not None
    assert report.fault.reason is Reason.STORE_MISSING
    assert report.fault.message.endswith("; nothing was changed")
    assert "kubectl -n ns create job --from=cronjob/POLICY first-backup" in report.fault.hint
    assert "make this request again" in report.fault.hint


def test_what_confirm_must_say_is_told_as_yaml_takes_it(place):
    back_up_at(place, NIGHT)
    target = {"url": place.order["redis"]["url"], "strategy": "Replace"}

    report = in_process(place, redis=target)

    assert report.fault is not None
    assert report.fault.reason is Reason.CONFIRM_MISSING
    assert "make another request, with confirm: '127.0.0.1/all'" in report.fault.hint


def test_in_a_cluster_the_backups_are_listed_by_kubectl_and_by_hand_from_the_directory(place):
    back_up_at(place, NIGHT)
    wanted = Selection(name="redis_20200101_000000")

    in_cluster = in_process(place, selection={"name": wanted.name})
    by_hand = _by_hand(place, wanted)

    assert in_cluster.fault is not None
    assert "kubectl -n ns get bp POLICY -o jsonpath='{range .status.backups[*]}" in in_cluster.fault.hint
    assert by_hand == f"List them: backup-worker list --store {place.store} --passphrase-file FILE"


def _by_hand(place, wanted: Selection) -> str:
    (current,) = passphrase_files(Namespace(passphrase_file=[place.directory / "key"]))
    keys = keys_for_reading(current, ())
    directory = place.store
    opened = open_store(directory.parent, directory.name, described=str(directory), create=False)
    with opened as store, pytest.raises(TargetError) as failure:
        choose(store, None, keys, wanted)
    return failure.value.hint

"""Backups and restores of one database do not overlap: advisory locks on the server keep them apart."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backup_operator.contract.order import PostgresOrder, SecretFile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, TargetError
from backup_operator.worker.sources.postgres import PostgresSource
from tests.integration.targets.postgres.conftest import PLAIN, Side

IN_PLACE, SWAP = {"strategy": "InPlace"}, {"strategy": "SwapDatabase"}
BOTH = pytest.mark.parametrize("strategy", [IN_PLACE, SWAP], ids=["InPlace", "SwapDatabase"])


@pytest.fixture
def backup(tmp_path: Path, clients: Path) -> Callable[..., PostgresSource]:
    """Makes a source for a URL, that waits 1 s for locks."""

    def make(url: str) -> PostgresSource:
        secret, scratch = tmp_path / "source", tmp_path / "backing-up"
        secret.write_text(url)
        scratch.mkdir(exist_ok=True)
        order = PostgresOrder(url=SecretFile(path=str(secret), described="DB_URL"), lock_timeout_seconds=1)
        application = "backup-operator prod/app-db"
        return PostgresSource(order, scratch=scratch, clients_root=clients, application=application)

    return make


@BOTH
def test_a_restore_during_a_backup_is_refused_and_names_it(server15, everything, restorer, backup, strategy):
    source = everything(server15)
    dump, before = source.dump(PLAIN), source.compared().contents()
    target = restorer.target(server15.url(source.database), confirm=source.database, **strategy)
    target.survey([dump])

    with closing(backup(server15.url(source.database))) as running:
        running.preflight()
        planned = restorer.target(server15.url(source.database), confirm=source.database, **strategy).survey([dump])
        with pytest.raises(TargetError) as failure:
            target.apply([dump], lambda _: None)

    assert failure.value.reason is Reason.TARGET_IN_USE
    assert "Nothing was changed" in failure.value.message
    assert "a backup, process" in failure.value.detail
    assert "backup-operator prod/app-db" in failure.value.detail
    assert "backup-operator prod/app-db" in planned.obstacles[0]
    assert source.compared().contents() == before


@BOTH
def test_a_backup_during_a_restore_waits_and_is_told_to_be_tried_again(
    server15, everything, restorer, backup, strategy
):
    source = everything(server15)
    dump = source.dump(PLAIN)
    refused: list[SourceError] = []

    def meanwhile(step: str) -> None:
        if step == "restore":
            with closing(backup(server15.url(source.database))) as beside, pytest.raises(SourceError) as failure:
                beside.preflight()
            refused.append(failure.value)

    target = restorer.target(server15.url(source.database), confirm=source.database, **strategy)
    target.survey([dump])
    target.apply([dump], meanwhile)

    assert [(each.reason, each.retryable) for each in refused] == [(Reason.RESTORE_RUNNING, True)]
    assert "a restore, process" in refused[0].detail
    with closing(backup(server15.url(source.database))) as afterwards:
        afterwards.preflight()


@BOTH
def test_a_restore_right_after_a_backup_finds_the_way_free(server15, everything, restorer, backup, strategy):
    source = everything(server15)
    dump = source.dump(PLAIN)
    target = restorer.target(server15.url(source.database), confirm=source.database, **strategy)
    target.survey([dump])
    with closing(backup(server15.url(source.database))) as safety:
        safety.preflight()

    assert target.apply([dump], lambda _: None).counts == source.rows()


def test_two_backups_at_once_do_not_mind_each_other(server15, everything, backup):
    source = everything(server15)

    with (
        closing(backup(server15.url(source.database))) as one,
        closing(backup(server15.url(source.database))) as other,
    ):
        assert one.preflight().server["version"] == other.preflight().server["version"]


def test_a_swap_through_another_database_and_one_through_its_own_do_not_overlap(server15, everything, restorer):
    source = everything(server15)
    dump = source.dump(PLAIN)
    own = restorer.target(server15.url(source.database), confirm=source.database, **SWAP)
    own.survey([dump])
    through = restorer.target(server15.url("template1"), confirm=source.database, database=source.database, **SWAP)
    through.survey([dump])
    refused: list[TargetError] = []

    def meanwhile(step: str) -> None:
        if step == "restore":
            with pytest.raises(TargetError) as failure:
                through.apply([dump], lambda _: None)
            refused.append(failure.value)

    own.apply([dump], meanwhile)

    assert [each.reason for each in refused] == [Reason.TARGET_IN_USE]
    assert Side(server15, source.database).rows() == source.rows()

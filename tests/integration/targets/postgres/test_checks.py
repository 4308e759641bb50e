"""SQL checks in a restore: asked before the database takes its name, or before COMMIT; one that fails undoes all."""

import pytest

from backup_operator.contract.restore import CheckOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.errors import TargetError
from tests.integration.targets.postgres.conftest import CUSTOM, NOW, PLAIN, assert_equal

USERS = "select count(*) from users"
STRATEGIES = ["NewDatabase", "SwapDatabase", "InPlace"]


def _checks(*orders: CheckOrder) -> Checks:
    return Checks(orders, backed_up_at=NOW)


def _users(**limits) -> CheckOrder:
    return CheckOrder(name="users", sql=USERS, **limits)


def _into(side, strategy) -> dict[str, str]:
    made = f"{side.database}_new"
    return {
        "NewDatabase": {"strategy": strategy, "database": made},
        "SwapDatabase": {"strategy": strategy, "database": side.database, "confirm": side.database},
        "InPlace": {"strategy": strategy, "database": side.database, "confirm": side.database},
    }[strategy]


def _databases(server) -> list[str]:
    return [row[0] for row in server.rows("select datname::text from pg_database order by 1")]


@pytest.mark.parametrize("kind", [PLAIN, CUSTOM])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_check_sees_the_restored_rows_before_anybody_else(server15, everything, restorer, strategy, kind):
    side = everything(server15)
    backup = side.dump(kind)
    rows = side.rows()["public.users"]
    server15.execute("delete from users", side.database)
    checks = _checks(_users(equals=str(rows)))

    outcome = restorer.restore(server15.url(side.database), [backup], checks=checks, **_into(side, strategy))

    assert [(each.found, each.passed) for each in checks.found] == [(str(rows), True)]
    assert outcome.steps.index("checks") < len(outcome.steps) - 1
    assert outcome.applied.state == outcome.applied.notes[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_check_that_fails_leaves_the_target_as_it_was(server15, everything, restorer, strategy):
    side = everything(server15)
    backup = side.dump(PLAIN)
    server15.execute("create table since (id int); insert into since values (1); delete from users", side.database)
    before, databases = side.compared().contents(), _databases(server15)
    checks = _checks(_users(minimum=1_000_000), CheckOrder(name="typo", sql="selec 1", equals="1"), _users(minimum=0))

    with pytest.raises(TargetError) as raised:
        restorer.restore(server15.url(side.database), [backup], checks=checks, **_into(side, strategy))

    undone = "Everything was rolled back" if strategy == "InPlace" else "was dropped again; nothing else was touched"
    assert raised.value.reason is Reason.CHECK_FAILED
    assert raised.value.message.startswith("2 of 3 checks do not hold. ")
    assert undone in raised.value.message
    assert "users: expected at least 1000000, found " in raised.value.detail
    assert "typo: expected '1', found syntax error at or near \"selec\"" in raised.value.detail
    assert [each.passed for each in checks.found] == [False, False, True]
    assert side.compared().contents() == before
    assert _databases(server15) == databases


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("sql", ["delete from users", "select 1; commit", "commit"])
def test_a_hostile_check_changes_neither_the_rows_nor_their_fate(server15, everything, restorer, strategy, sql):
    side = everything(server15)
    source, backup = side.compared().contents(), side.dump(PLAIN)
    hostile = CheckOrder(name="hostile", sql=sql, minimum=0)

    with pytest.raises(TargetError) as raised:
        restorer.restore(server15.url(side.database), [backup], checks=_checks(hostile), **_into(side, strategy))

    assert raised.value.reason is Reason.CHECK_FAILED
    assert side.compared().contents() == source


def test_a_check_in_place_finds_names_as_an_application_does(server15, everything, restorer):
    side = everything(server15)
    backup = side.dump(PLAIN)
    path = CheckOrder(name="path", sql="select current_setting('search_path')", equals='"$user", public')
    timeout = CheckOrder(name="timeout", sql="select current_setting('statement_timeout')", equals="5min")

    restorer.restore(
        server15.url(side.database),
        [backup],
        checks=_checks(path, timeout, _users(minimum=1)),
        **_into(side, "InPlace"),
    )

    assert server15.rows(USERS, side.database) == [(side.rows()["public.users"],)]


def test_a_swapped_database_is_the_backups_after_its_checks(server17, everything, restorer):
    side = everything(server17)
    backup = side.dump(CUSTOM)
    server17.execute(f"create database {side.database}_copy template {side.database}")
    server17.execute("truncate users cascade", side.database)

    restorer.restore(
        server17.url(side.database), [backup], checks=_checks(_users(minimum=1)), **_into(side, "SwapDatabase")
    )

    assert_equal(type(side)(server17, f"{side.database}_copy"), side)

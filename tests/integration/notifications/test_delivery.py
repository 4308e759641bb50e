"""Notices reach a real webhook and a real mail server: each once, whatever is down meanwhile."""

import asyncio
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_operator.contract.report import Fault
from backup_operator.controller.cluster import POLICIES, RESTORES, Key, Unreachable
from backup_operator.controller.engine import Engine
from backup_operator.controller.notifier import GIVEN_UP, Result
from backup_operator.vocabulary.reasons import Reason
from tests.integration.notifications.notifying import (
    FAILED,
    HOOK,
    MAIL,
    MINUTE,
    RECOVERED,
    House,
    made,
    until,
)
from tests.support.receivers import PATIENCE, MailServer, Receiver, Webhook
from tests.support.tcp_server import TcpServer
from tests.unit.controller.policing import NAME, NAMESPACE, policy
from tests.unit.controller.restoring import request


def test_a_healthy_policy_tells_nobody_anything(house: House, webhook: Webhook, mail: MailServer):
    assert house.conditions()["Ready"] == ("True", "Ready")
    assert webhook.titles == mail.titles == []
    assert house.notified() == {}


def test_a_failure_and_its_end_arrive_once_at_each_target(house: House, webhook: Webhook, mail: MailServer):
    house.run_fails()
    house.turn()
    house.run_fails()
    house.passes()
    house.run_succeeds()
    house.passes()
    house.passes()

    assert webhook.titles == mail.titles == [FAILED, RECOVERED]
    assert "Job app-db-2: nobody listens. Hint: start the server." in webhook.received[0].body
    assert "kubectl -n prod describe backuppolicy app-db" in mail.received[0].body
    assert house.notified() == {}


def test_a_notice_is_in_the_status_before_anybody_hears_of_it(house: House, webhook: Webhook):
    house.run_fails()

    asyncio.run(house.look_at_all())

    (owed,) = house.notified()["owed"]
    assert (owed["kind"], owed["targets"]) == ("Failed", ["hook", "mail"])
    assert webhook.asked == 0


@pytest.mark.parametrize("target", ["hook", "mail"])
def test_nothing_is_lost_or_doubled_while_a_target_is_down_for_a_minute(
    house: House, webhook: Webhook, mail: MailServer, target: str
):
    receivers: dict[str, Receiver] = {"hook": webhook, "mail": mail}
    down = receivers.pop(target)
    (other,) = receivers.values()
    down.down()

    house.run_fails()
    house.turn()
    house.run_succeeds()
    house.turn()
    assert other.titles == [FAILED, RECOVERED]
    for _ in range(6):
        house.passes(timedelta(seconds=10))
    assert [one["targets"] for one in house.notified()["owed"]] == [[target], [target]]
    down.up()
    for _ in range(6):
        house.passes(timedelta(seconds=30))

    assert down.titles == other.titles == [FAILED, RECOVERED]
    assert house.notified() == {}


def test_a_restart_while_a_target_is_down_loses_nothing_though_all_is_well_again(
    house: House, webhook: Webhook, mail: MailServer
):
    mail.down()
    house.run_fails()
    house.turn()
    house.run_succeeds()
    house.turn()

    house.start_operator()
    house.passes()
    house.start_operator()
    mail.up()
    house.passes()

    assert mail.titles == webhook.titles == [FAILED, RECOVERED]
    assert house.notified() == {}


def test_a_target_that_answers_with_errors_is_tried_again(house: House, webhook: Webhook, mail: MailServer):
    webhook.answer, mail.answer = 503, 451
    house.run_fails()
    house.turn()
    assert (webhook.titles, mail.titles) == ([], [])

    webhook.answer, mail.answer = 200, 250
    house.passes()

    assert webhook.titles == mail.titles == [FAILED]


def test_a_redirection_is_not_taken_for_an_acceptance(house: House, webhook: Webhook):
    webhook.answer = 302
    house.run_fails()
    house.turn()

    assert [one["targets"] for one in house.notified()["owed"]] == [["hook"]]


def test_a_crash_before_the_answer_is_written_tells_again(house: House, webhook: Webhook):
    async def told_and_killed() -> None:
        await house.look_at_all()
        await house.send()

    house.run_fails()
    asyncio.run(told_and_killed())
    house.start_operator()
    house.turn()
    house.passes()

    assert webhook.titles == [FAILED, FAILED], "at least once, and this is the one moment for a second time"
    assert house.notified().get("owed", []) == []


def test_an_api_server_that_is_away_neither_loses_nor_doubles(house: House, webhook: Webhook):
    house.run_fails()
    asyncio.run(house.look_at_all())
    house.cluster.away = True
    for _ in range(3):
        with suppress(Unreachable):
            asyncio.run(house.send())
            asyncio.run(house.write())
    house.cluster.away = False
    house.passes()

    assert webhook.titles == [FAILED]
    assert house.notified().get("owed", []) == []


def test_a_changed_secret_is_used_at_once(house: House, webhook: Webhook, mail: MailServer):
    with Webhook() as another:
        webhook.down()
        house.run_fails()
        house.turn()
        house.passes(timedelta(seconds=1))
        assert house.notified()["owed"]

        house.route("hook", another.url("new"))
        house.passes(timedelta(seconds=1))

        assert another.titles == mail.titles == [FAILED]


def test_a_secret_that_is_missing_is_waited_for(house: House, webhook: Webhook):
    (house.urls / "hook").unlink()
    house.run_fails()
    house.turn()
    assert house.notifier.results[Result.RETRIED] == 1

    house.route("hook", f'"{webhook.url()}"\n')
    house.passes(timedelta(seconds=1))

    assert webhook.titles == [FAILED]


def test_a_target_that_is_down_is_left_alone_for_longer_and_longer(house: House, webhook: Webhook):
    webhook.answer = 503
    house.run_fails()
    house.turn()
    for _ in range(60):
        house.passes(timedelta(seconds=10))

    assert 6 <= webhook.asked <= 9


def test_a_notice_that_one_target_never_takes_keeps_no_other_waiting(house: House, webhook: Webhook):
    webhook.refused_words = "failed"
    house.run_fails()
    house.turn()
    house.run_succeeds()
    for _ in range(4):
        house.passes()
    house.run_fails(Fault(reason=Reason.KEY_INVALID, message="too short"))
    house.passes()
    house.run_succeeds()
    house.passes()
    house.passes()

    assert webhook.titles == [RECOVERED, RECOVERED]


def test_after_a_day_a_notice_is_given_up_and_said_so(
    house: House, webhook: Webhook, mail: MailServer, caplog: pytest.LogCaptureFixture
):
    webhook.down()
    house.run_fails()
    house.turn()
    house.passes(timedelta(hours=23))
    assert house.notified()["owed"]

    house.passes(timedelta(hours=2))

    assert [one["kind"] for one in house.notified()["owed"]] == ["Stale"], "which is new"
    assert house.notifier.results[Result.GIVEN_UP] == 1
    assert house.events().count(GIVEN_UP) == 1
    assert "notice given up" in caplog.messages
    webhook.up()
    house.passes(timedelta(hours=1))
    assert FAILED not in webhook.titles
    assert FAILED in mail.titles


def test_an_operator_that_was_away_for_days_tries_before_it_gives_up(house: House, webhook: Webhook):
    webhook.down()
    house.run_fails()
    house.turn()

    house.now += timedelta(days=3)
    webhook.up()
    house.start_operator()
    house.turn()

    assert FAILED in webhook.titles


def test_routes_choose_by_kind_and_namespace(tmp_path: Path, webhook: Webhook, mail: MailServer):
    house = made(
        tmp_path,
        webhook,
        mail,
        {"urlKey": "hook", "events": ["Recovered"]},
        {"urlKey": "mail", "namespaces": ["staging"]},
    )

    house.run_fails()
    house.turn()
    house.run_succeeds()
    house.passes()

    assert (webhook.titles, mail.titles) == ([RECOVERED], [])


def test_without_routes_nothing_is_written(tmp_path: Path, webhook: Webhook, mail: MailServer):
    house = made(tmp_path, webhook, mail)

    house.run_fails()
    house.turn()

    assert "notified" not in house.status()


def test_routes_that_are_taken_away_leave_nothing_in_the_status(house: House, webhook: Webhook, mail: MailServer):
    webhook.down()
    mail.down()
    house.run_fails()
    house.turn()

    without = made(house.urls, webhook, mail)
    without.cluster = house.cluster
    without.start_operator()
    without.turn()

    assert "notified" not in house.status()


def test_a_policy_that_was_deleted_is_told_of_all_the_same(house: House, webhook: Webhook):
    webhook.down()
    house.run_fails()
    house.turn()
    house.remove()
    house.passes()

    webhook.up()
    house.passes()
    house.passes()

    assert webhook.titles == [FAILED]


def test_a_restore_is_told_to_its_end_though_it_is_never_touched_again(house: House, webhook: Webhook):
    webhook.down()
    refused = request("back", confirm="wrong", target={"postgres": {"strategy": "InPlace", "database": "app"}})
    house.cluster.put(RESTORES, refused)
    house.turn()
    house.turn()
    ended = house.cluster.objects[RESTORES.plural, Key(NAMESPACE, "back")]["status"]
    assert [one["kind"] for one in ended["notified"]["owed"]] == ["RestoreFailed"]

    house.start_operator()
    webhook.up()
    house.passes()
    house.passes()

    assert webhook.titles == ["prod/back: the restore failed (InvalidSpec)"]
    assert "notified" not in house.cluster.objects[RESTORES.plural, Key(NAMESPACE, "back")]["status"]


def test_a_target_that_never_answers_keeps_neither_others_nor_a_reconcile_waiting(
    tmp_path: Path, webhook: Webhook, mail: MailServer
):
    house = made(tmp_path, webhook, mail, HOOK, MAIL)
    connections: list[socket.socket] = []

    async def until_owed(targets: list[list[str]]) -> None:
        async with asyncio.timeout(30):
            while [one["targets"] for one in house.notified()["owed"]] != targets:
                await asyncio.sleep(0.01)
                await house.look_at_all()

    async def main() -> None:
        with TcpServer(connections.append) as silent:
            house.route("mail", f"json://127.0.0.1:{silent.port}/?{PATIENCE}")
            sending = asyncio.create_task(house.notifier.run())
            await house.look_at_all()
            await until(lambda: connections)
            # the webhook knows of a notice before the notifier knows of its answer
            await until_owed([["mail"]])
            assert webhook.titles == [FAILED]
            assert house.notifier.results[Result.RETRIED] == 0, "it still waits for an answer"
            sending.cancel()
            connections.pop().close()

    house.run_fails()
    asyncio.run(main())


def test_an_operator_that_stops_waits_for_the_answer_and_has_it_written(house: House, webhook: Webhook):
    async def main() -> None:
        async def reconciling() -> None:
            while True:
                await house.write()
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(one) for one in (house.notifier.run(), reconciling())]
        await house.look_at_all()
        await until(lambda: webhook.asked)
        await house.notifier.stop()
        for one in tasks:
            one.cancel()

    house.run_fails()
    asyncio.run(main())
    house.start_operator()
    house.turn()

    assert webhook.titles == [FAILED]


def test_the_object_that_notices_are_about_is_the_one_that_was_read(house: House, webhook: Webhook):
    webhook.down()
    house.run_fails()
    house.turn()
    house.remove()
    house.put(policy(uid="uid-2"))
    house.passes()

    assert house.cluster.objects[POLICIES.plural, Key(NAMESPACE, NAME)]["metadata"]["uid"] == "uid-2"
    assert not [one for one in house.notified().get("owed", []) if one["kind"] == "Failed"]
    webhook.up()
    house.passes(MINUTE)
    assert webhook.titles[0] == FAILED


def test_the_whole_operator_tells_of_what_it_finds_at_its_start(house: House, webhook: Webhook, mail: MailServer):
    house.run_fails()
    house.cluster.served = frozenset({"backuppolicies", "restorerequests"})

    async def main() -> None:
        cluster: Any = house.cluster
        engine = Engine(cluster, house.settings)
        await engine.start()
        await until(lambda: FAILED in webhook.titles and FAILED in mail.titles)
        await engine.stop()

    asyncio.run(main())

    # by the clock of this machine, which the engine has, the backup may be old as well
    assert (webhook.titles.count(FAILED), mail.titles.count(FAILED)) == (1, 1)
    assert not [one for one in house.notified().get("owed", []) if one["kind"] == "Failed"], "written before it stopped"

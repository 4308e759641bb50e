"""No URL of a target is ever in a log, an Event or a status, whatever it answers."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.notifications.notifying import (
    FAILED,
    SECRET_PATH,
    SECRETS,
    House,
)
from tests.support.receivers import MailServer, Webhook

BAD_URLS = {
    "a port on which nobody listens": f"json://me:hook-Passw0rd@127.0.0.1:9/{SECRET_PATH}",
    "a host that does not exist": f"json://me:hook-Passw0rd@nowhere.invalid/{SECRET_PATH}",
    "a server without TLS": f"jsons://me:hook-Passw0rd@127.0.0.1:{{port}}/{SECRET_PATH}",
    "an answer of 503": f"json://me:hook-Passw0rd@127.0.0.1:{{port}}/{SECRET_PATH}",
    "a word that Apprise does not know": f"bogus://me:hook-Passw0rd@127.0.0.1/{SECRET_PATH}",
    "no URL at all": SECRET_PATH,
    "half a URL": f"json://:{SECRET_PATH}@[",
    "two URLs": f"json://127.0.0.1/{SECRET_PATH} json://me:hook-Passw0rd@127.0.0.1",
    "a password that is wrong": "mailto://me:hook-Passw0rd@127.0.0.1:{mail}/?from=a@b.cd&to=e@f.gh&mode=insecure",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_no_url_is_in_a_log_an_event_or_a_status(
    house: House, webhook: Webhook, mail: MailServer, url: str, caplog: pytest.LogCaptureFixture, capfd: Any
):
    caplog.set_level(1)
    webhook.answer = 503
    house.route("hook", url.replace("{port}", str(webhook.port)).replace("{mail}", str(mail.port)))

    house.run_fails()
    house.turn()
    house.passes(timedelta(hours=25))

    said = [record.__dict__ for record in caplog.records]
    assert [one for one in said if one["message"] == "notice given up"], "it was tried, and said so"
    everything = f"{said} {caplog.text} {capfd.readouterr()} {json.dumps(list(house.cluster.objects.values()))}"
    assert not [secret for secret in SECRETS if secret in everything]
    assert {one["name"] for one in said if one["levelno"] > logging.DEBUG} <= {
        "backup_operator.controller.notifier",
        "backup_operator.controller.policies",
    }


def test_a_notice_that_arrives_leaves_no_url_in_a_log(
    house: House, webhook: Webhook, mail: MailServer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(1)
    house.run_fails()
    house.turn()

    assert webhook.titles == mail.titles == [FAILED]
    everything = f"{[record.__dict__ for record in caplog.records]} {caplog.text}"
    assert "notice sent" in caplog.text
    assert not [secret for secret in SECRETS if secret in everything]

"""A policy that is told of to a real webhook and a real mail server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.notifications.notifying import HOOK, MAIL, House, made
from tests.support.receivers import MailServer, Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as made:
        yield made


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, webhook: Webhook, mail: MailServer) -> House:
    """A policy with one good run, told to a webhook and by mail."""
    return made(tmp_path, webhook, mail, HOOK, MAIL)

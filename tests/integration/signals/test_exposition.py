"""/metrics: 500 policies within a scrape's time, while the event loop goes on and nobody waits for a slow reader."""

import asyncio
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_operator.controller.exposition import Exposition, MetricsPortTaken
from backup_operator.controller.signals import Signals
from tests.support.ports import free_port
from tests.unit.controller.test_signals import FULL

POLICIES = 500
SCRAPE_TIMEOUT_SECONDS = 10
PATIENCE_SECONDS = 60


@pytest.fixture
def port() -> Iterator[int]:
    """Where an exposition of many policies is served."""
    signals = Signals()
    for number in range(POLICIES):
        signals.policy_seen({**FULL, "metadata": {**FULL["metadata"], "name": f"policy-{number}"}})
    served = Exposition.start(signals.registry, free_port())
    yield served.port
    served.stop()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


def test_every_policy_is_told_for_half_a_scrapes_timeout_of_work(port: int):
    """Of work, not of time: how long it takes a machine that does much else says nothing of us."""
    began = time.process_time()

    text = scrape(port)

    assert text.count("\nbackup_operator_backups{") == POLICIES
    assert time.process_time() - began < SCRAPE_TIMEOUT_SECONDS / 2


def test_the_event_loop_goes_on_during_a_scrape(port: int):
    async def turns_during_a_scrape() -> int:
        with ThreadPoolExecutor(1) as pool:
            scraping = asyncio.get_running_loop().run_in_executor(pool, scrape, port)
            turns = 0
            while not scraping.done():
                await asyncio.sleep(0)
                turns += 1
            await scraping
        return turns

    assert asyncio.run(turns_during_a_scrape()) > 20


def test_a_client_that_says_nothing_keeps_nobody_waiting(port: int):
    with socket.create_connection(("127.0.0.1", port)):
        assert "backup_operator_info" in scrape(port)


def test_a_port_that_is_taken_is_named(port: int):
    with pytest.raises(MetricsPortTaken, match=f"METRICS_PORT {port} cannot be listened on"):
        Exposition.start(Signals().registry, port)

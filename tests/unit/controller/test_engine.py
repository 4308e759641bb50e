"""The operator's start: without its CRDs it ends in words, and an API server that is away is waited for."""

import asyncio

import pytest

from backup_operator.controller import engine
from backup_operator.controller.engine import CrdsMissing, Engine
from backup_operator.controller.settings import Settings
from tests.unit.controller.fake_cluster import FakeCluster


def made(cluster: FakeCluster) -> Engine:
    return Engine(cluster, Settings.from_environment({"BACKUP_IMAGE": "worker:1"}))  # type: ignore[arg-type]  # a fake


def test_missing_crds_end_the_operator_in_words():
    cluster = FakeCluster()
    cluster.served = frozenset({"backuppolicies"})

    with pytest.raises(CrdsMissing, match=r"restorerequests.*crds.install=true"):
        asyncio.run(made(cluster).check_crds())


def test_an_api_server_that_is_away_is_waited_for():
    async def main() -> None:
        cluster = FakeCluster()
        cluster.served = frozenset({"backuppolicies", "restorerequests"})
        cluster.away = True
        checking = asyncio.create_task(made(cluster).check_crds())
        await asyncio.sleep(0)
        assert not checking.done()
        cluster.away = False
        async with asyncio.timeout(2 * engine.PAUSE_AFTER_ERROR.total_seconds()):
            await checking

    asyncio.run(main())

"""What is told of each request to the API server, for the metrics."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from backup_operator.controller.cluster import (
    JOBS,
    PODS,
    POLICIES,
    Answered,
    Cluster,
    ClusterError,
    Key,
    Refused,
    Unreachable,
)

KEY = Key("prod", "app-db")
POLICY = {"metadata": {"namespace": "prod", "name": "app-db"}}


@dataclass
class Api:
    """The client's two methods that `Cluster` uses, with an answer for every request; None is no answer."""

    status: int | None = 200

    async def param_serialize(self, *arguments: Any, **_: Any) -> tuple[Any, ...]:
        return arguments

    async def call_api(self, *_: Any, **__: Any) -> "Api":
        if self.status is None:
            raise OSError("nobody answers")
        return self

    async def read(self) -> bytes:
        return b'{"items": []}'


async def _every_verb(cluster: Cluster) -> None:
    await cluster.get(POLICIES, KEY)
    await cluster.list(PODS)
    await cluster.list(JOBS, "prod")
    await cluster.apply(POLICIES, POLICY)
    await cluster.apply_status(POLICIES, POLICY)
    await cluster.create(JOBS, POLICY)
    await cluster.replace(JOBS, POLICY)
    await cluster.delete(JOBS, KEY, uid="1")
    await cluster.kinds_served("batch/v1")


def test_each_request_is_told_by_verb_and_resource():
    told: list[Answered] = []

    asyncio.run(_every_verb(Cluster(Api(), told.append)))

    assert [(one.verb, one.resource) for one in told] == [
        ("get", "backuppolicies"),
        ("list", "pods"),
        ("list", "jobs"),
        ("patch", "backuppolicies"),
        ("patch", "backuppolicies/status"),
        ("create", "jobs"),
        ("update", "jobs"),
        ("delete", "jobs"),
        ("get", ""),
    ]
    assert {one.code for one in told} == {200}


@pytest.mark.parametrize(
    ("status", "error", "code"), [(403, Refused, 403), (None, Unreachable, 0)], ids=["refused", "no answer"]
)
def test_a_request_that_fails_is_told_too(status: int | None, error: type[ClusterError], code: int):
    told: list[Answered] = []

    with pytest.raises(error):
        asyncio.run(Cluster(Api(status), told.append).get(POLICIES, KEY))

    assert told == [Answered("get", "backuppolicies", code)]

"""Texts that nobody wrote down: models and server agree on them; a CronJob takes every schedule that we take."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from backup_operator.rules.admission import SpecInvalid, judge_policy, read_policy_spec
from tests.integration.api.conftest import Server
from tests.unit.api.cases import POLICIES, POSTGRES, edited

ACCEPTED = sorted(
    {(case.spec["schedule"], case.spec.get("timeZone", "Etc/UTC")) for case in POLICIES if not case.words}
)
SAMPLES = 200


def refusal_of_a_cronjob(server: Server, schedule: str, time_zone: str) -> str:
    container = {"name": "worker", "image": "worker"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"schedule": schedule, "timeZone": time_zone, "jobTemplate": {"spec": {"template": pod}}}
    manifest = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"generateName": "case-"}, "spec": spec}
    return server.ask("POST", f"/apis/batch/v1/namespaces/{server.namespace}/cronjobs", manifest, dryRun="All").refusal


def is_accepted(spec: dict[str, Any]) -> bool:
    raw = {"metadata": {"namespace": "prod", "name": "app-db"}, "spec": spec}
    return judge_policy(raw, neighbours=())[1].accepted


def is_read(spec: dict[str, Any]) -> bool:
    """Whether the models take it; whether its range runs backwards or its day never comes is judged later."""
    try:
        read_policy_spec(spec)
    except SpecInvalid:
        return False
    return True


def random_schedule(chance: random.Random) -> str:
    """Five fields that are right more often than not."""
    fields = []
    for lowest, highest in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)):
        low, high = sorted(chance.choices(range(lowest, highest + 2), k=2))
        texts = ["*", "?", f"{low}", f"{low:02}", f"{low}-{high}", f"*/{low}", f"{high}-{low}", f"{low},{high}/{low}"]
        fields.append(chance.choice(["*", *texts]))
    return " ".join(fields)


@pytest.mark.parametrize(("schedule", "time_zone"), ACCEPTED)
def test_a_cronjob_takes_the_schedules_of_the_table(server: Server, schedule: str, time_zone: str):
    assert refusal_of_a_cronjob(server, schedule, time_zone) == ""


def test_a_cronjob_takes_every_schedule_that_the_operator_takes(server: Server):
    chance = random.Random(3)
    schedules = [random_schedule(chance) for _ in range(SAMPLES)]

    taken = [schedule for schedule in schedules if is_accepted(edited(POSTGRES, {"schedule": schedule}))]
    refusals = {schedule: refusal_of_a_cronjob(server, schedule, "Etc/UTC") for schedule in taken}

    assert len(taken) > SAMPLES // 10
    assert {schedule: words for schedule, words in refusals.items() if words} == {}


def random_text(alphabet: list[str]) -> Callable[[random.Random], str]:
    return lambda chance: "".join(chance.choices(alphabet, k=chance.randint(0, 6)))


@pytest.mark.parametrize(
    ("field", "write"),
    [
        ("schedule", random_schedule),
        ("schedule", random_text(["@every ", "@daily", "1h", "0m", "30s", " ", "*", "0 ", "\n", "\t"])),
        ("objectives.rpo", random_text(list("0123456789wdhms .-\n"))),
        ("storage.path", random_text(list("aB1._-/é \n"))),
        ("storage.claimName", random_text(list("abA1.-_\n"))),
        ("timeZone", random_text(["UTC", "Local", "/", "+", "A", "0", "_", "local", ".", " "])),
        ("encryption.passphraseSecretRef.key", random_text(list("aB1._-/ \n"))),
    ],
    ids=["cron", "every", "span", "path", "name", "zone", "key"],
)
def test_models_and_server_agree(server: Server, field: str, write: Callable[[random.Random], str]):
    chance = random.Random(4)
    collection = server.collection("BackupPolicy")
    specs = [edited(POSTGRES, {field: write(chance)}) for _ in range(SAMPLES)]

    disagreed = [
        spec
        for spec in specs
        if is_read(spec)
        == bool(server.ask("POST", collection, server.manifest("BackupPolicy", spec), dryRun="All").refusal)
    ]

    assert disagreed == []
    assert len({is_read(spec) for spec in specs}) == 2, "some are taken and some are not"

"""What the chart tells the operator."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.controller.cluster import Key
from backup_operator.controller.settings import Settings, SettingsInvalid


def test_the_environment_is_read():
    settings = Settings.from_environment(
        {
            "BACKUP_IMAGE": "worker:1",
            "WORKER_RESOURCES": '{"limits": {"memory": "1Gi"}}',
            "WORKER_IMAGE_PULL_SECRETS": "a, b",
            "WATCH_NAMESPACES": "one,two",
            "POD_NAME": "pod-1",
        }
    )

    assert settings.worker.resources == {"limits": {"memory": "1Gi"}}
    assert settings.worker.image_pull_secrets == ("a", "b")
    assert settings.namespaces == ("one", "two")
    assert (settings.identity, settings.lease) == ("pod-1", Key("one", "backup-operator"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BACKUP_IMAGE", ""),
        ("WORKER_RESOURCES", "{"),
        ("WORKER_RESOURCES", "[1]"),
        ("WORKERS", "0"),
        ("RESYNC_SECONDS", "x"),
        ("CLOCK_OFFSET_SECONDS", "1.5"),
        ("CLOCK_OFFSET_SECONDS", "1e3"),
        ("WORKER_LOG_FORMAT", "xml"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(variable: str, value: str):
    with pytest.raises(SettingsInvalid, match=variable):
        Settings.from_environment({"BACKUP_IMAGE": "worker:1", variable: value})


@pytest.mark.parametrize("text", ["", "{}", "null"])
def test_without_resources_workers_have_none(text: str):
    settings = Settings.from_environment({"BACKUP_IMAGE": "worker:1", "WORKER_RESOURCES": text})

    assert settings.worker.resources == {}


@pytest.mark.parametrize(("text", "ahead"), [("", 0), ("0", 0), ("3456000", 3456000), ("-86400", -86400)])
def test_a_moved_clock_is_that_of_the_operator_and_of_its_workers(text: str, ahead: int):
    settings = Settings.from_environment({"BACKUP_IMAGE": "worker:1", "CLOCK_OFFSET_SECONDS": text})
    now = datetime(2026, 11, 24, tzinfo=UTC)

    assert settings.moved(lambda: now)() == now + timedelta(seconds=ahead)
    assert settings.worker.clock_offset == timedelta(seconds=ahead)
    assert settings.worker.environment == ({"BACKUP_CLOCK_OFFSET_SECONDS": text} if ahead else {})


def test_workers_log_as_the_chart_says():
    settings = Settings.from_environment({"BACKUP_IMAGE": "worker:1", "WORKER_LOG_FORMAT": "human"})

    assert settings.worker.environment == {"BACKUP_LOG_FORMAT": "human"}

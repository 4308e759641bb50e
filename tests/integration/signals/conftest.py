"""The chart's alerting rules as Prometheus reads them."""

from typing import Any

import pytest

from tests.integration.controller.charting import rendered_chart


@pytest.fixture(scope="session")
def monitoring() -> list[dict[str, Any]]:
    """The chart with every kind of monitoring turned on."""
    kinds = ("serviceMonitor", "podMonitor", "prometheusRule")
    on = [f"--set=monitoring.{kind}.enabled=true" for kind in kinds]
    return rendered_chart("--namespace", "backup-operator", *on)


@pytest.fixture(scope="session")
def rules(monitoring: list[dict[str, Any]]) -> dict[str, Any]:
    """The groups of alerting rules."""
    (rule,) = [one for one in monitoring if one["kind"] == "PrometheusRule"]
    groups: dict[str, Any] = rule["spec"]
    return groups

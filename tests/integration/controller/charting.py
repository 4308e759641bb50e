"""The chart as Helm renders it. Used by the tests of this directory."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.shell import LocalShell

CHART = Path(__file__).resolve().parents[3] / "charts" / "backup-operator"
KUBERNETES = "1.35.0"


def helm(*arguments: str) -> str:
    """What helm prints. Raises: ProgramFailed."""
    return LocalShell().run("helm", *arguments).decode()


def rendered_chart(*arguments: str) -> list[dict[str, Any]]:
    """Every object of the chart, with these arguments of `helm template`. Raises: ProgramFailed."""
    text = helm("template", "backup-operator", str(CHART), "--kube-version", KUBERNETES, *arguments)
    return [one for one in yaml.safe_load_all(text) if one]

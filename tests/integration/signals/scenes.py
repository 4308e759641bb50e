"""What an alert is about, as series: a scene is what Prometheus scraped in each minute. Used by `test_alerts`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.shell import LocalShell

Value = float | Callable[[int], float]
"""A figure, or what it is in a given minute; Prometheus' own clock starts at 0."""
Series = Mapping[str, Value]
"""By name and labels, without the operator's prefix."""
_PREFIX = "backup_operator_"
_POLICY = '{namespace="prod",policy="app-db"}'


def of_policy(**figures: Value) -> dict[str, Value]:
    """Figures of one policy."""
    return {name + _POLICY: value for name, value in figures.items()}


def condition(kind: str, status: str, reason: str) -> dict[str, Value]:
    """A condition of that policy."""
    return {f'condition{{namespace="prod",policy="app-db",condition="{kind}",status="{status}",reason="{reason}"}}': 1}


@dataclass
class Scene:
    """Minutes of scrapes, one phase after the other."""

    _minutes: int = 0
    _tokens: dict[str, list[str]] = field(default_factory=dict)

    def phase(self, minutes: int, series: Series, *, pod: str = "a") -> "Scene":
        """So many minutes in which a pod tells these series and no others."""
        told = {_named(name, pod): value for name, value in series.items()}
        for name in told:
            self._tokens.setdefault(name, ["_"] * self._minutes)
        for name, tokens in self._tokens.items():
            tokens.extend(self._told(told[name], minutes) if name in told else _missing(minutes))
        self._minutes += minutes
        return self

    def _told(self, value: Value, minutes: int) -> list[str]:
        span = range(self._minutes, self._minutes + minutes)
        return [f"{value(minute) if callable(value) else value:.0f}" for minute in span]

    def gap(self, minutes: int) -> "Scene":
        """So many minutes in which no pod answers."""
        return self.phase(minutes, {})

    def input(self) -> list[dict[str, str]]:
        """As promtool reads it."""
        return [{"series": name, "values": " ".join(tokens)} for name, tokens in self._tokens.items()]


def _missing(minutes: int) -> list[str]:
    """What Prometheus writes when a series is missing from a scrape, or the whole scrape fails."""
    return ["stale"] + ["_"] * (minutes - 1)


def _named(name: str, pod: str) -> str:
    bare, _, labels = name.partition("{")
    rest = f",{labels}" if labels else "}"
    return f'{_PREFIX}{bare}{{pod="{pod}"{rest}'


@dataclass(frozen=True)
class Judge:
    """promtool with the chart's rules."""

    rules: Mapping[str, Any]
    directory: Path

    def firing(self, alert: str, scene: Scene, expected: Mapping[int, bool]) -> None:
        """The alert fires in these minutes, and in those it does not. Raises: ProgramFailed."""
        policy = "" if alert == "BackupOperatorDown" else 'namespace="prod",policy="app-db",'
        severity = self._severity(alert)
        labels = f'ALERTS{{alertname="{alert}",alertstate="firing",{policy}severity="{severity}"}}'
        checks = [
            {
                "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": labels, "value": 1}] if fires else [],
            }
            for minute, fires in expected.items()
        ]
        self._run({"promql_expr_test": checks}, scene)

    def words(self, alert: str, scene: Scene, minute: int, words: Mapping[str, str]) -> None:
        """The alert fires then, with these labels beside its own and these annotations. Raises: ProgramFailed."""
        labels = {"namespace": "prod", "policy": "app-db", "severity": self._severity(alert)}
        expected = [{"exp_labels": labels, "exp_annotations": dict(words)}]
        self._run({"alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": expected}]}, scene)

    def _severity(self, alert: str) -> str:
        (rule,) = [one for group in self.rules["groups"] for one in group["rules"] if one["alert"] == alert]
        return str(rule["labels"]["severity"])

    def _run(self, tests: Mapping[str, Any], scene: Scene) -> None:
        (self.directory / "rules.yaml").write_text(yaml.safe_dump(dict(self.rules)))
        test = {"interval": "1m", "input_series": scene.input(), **tests}
        path = self.directory / "test.yaml"
        path.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}))
        LocalShell().run("promtool", "test", "rules", str(path))

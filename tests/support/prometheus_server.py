"""A real Prometheus that scrapes one address of this machine. Used by the tests of the dashboard and the alerts."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.support.polling import wait_until
from tests.support.ports import free_port


@dataclass(frozen=True)
class PrometheusServer:
    """Its HTTP API. Raises from every method: AssertionError with Prometheus' own words when it says no."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression that is evaluated now."""
        found: list[dict[str, Any]] = self._get("query", {"query": expression})["result"]
        return found

    def label_values(self, series: str, label: str) -> set[str]:
        """As Grafana's variables ask for them."""
        return set(self._get(f"label/{label}/values", {"match[]": series}))

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and its active alerts."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def _get(self, what: str, query: Mapping[str, str]) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{what} {dict(query)}: {exc.read().decode(errors='replace')}") from exc

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def scraping(port: int, rules: Mapping[str, Any], directory: Path) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes that port every three seconds, as a chart's monitor would, and judges the rules."""
    (directory / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "backup-operator", "pod": "operator"}}
    config = {
        "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "operator", "honor_labels": True, "static_configs": [target]}],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    server = PrometheusServer(free_port())
    argv = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{server.port}",
        "--log.level=warn",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        wait_until(lambda: server.is_ready, bool, for_what="Prometheus")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=90)
        print((directory / "prometheus.log").read_text())

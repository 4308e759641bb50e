"""Restore orders as the operator writes them, run by the worker in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from backup_operator.contract.restore import RestoreReport, decode_restore
from tests.integration.worker.conftest import Bench

UID = "5b0c8b9e-6a53-4d7c-9f0a-2f1f6f4c1d11"


@dataclass(frozen=True)
class Ordered:
    """How a worker answered a restore order."""

    code: int
    report: RestoreReport
    said: str = field(repr=False)


def restore_order(place: Bench, **changes: Any) -> dict[str, Any]:
    """A request to bring the newest backup of a bench back to its source's server, into a new database."""
    kind = "postgres" if "postgres" in place.order else "redis"
    order = {
        "kind": "Restore",
        "request": {"namespace": "ns", "name": "back", "uid": UID, "asked_by": "jane@example.com"},
        "store": place.order["store"],
        "passphrases": [place.order["passphrase"]],
        "selection": {"latest": True},
        kind: {"url": place.order[kind]["url"]},
        "deadline": "PT2M",
    }
    return order | changes


def start_order(place: Bench, order: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The worker with that order, in a process of its own."""
    (place.directory / "order.json").write_text(json.dumps(order))
    (place.directory / "report.json").unlink(missing_ok=True)
    argv = [sys.executable, "-m", "backup_operator.worker.cli", "run"]
    argv += ["--order", str(place.directory / "order.json"), "--report", str(place.directory / "report.json")]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(place: Bench, process: subprocess.Popen[bytes]) -> Ordered:
    """How the worker ended, and what it reported."""
    with process:
        _, said = process.communicate(timeout=120)
    report = decode_restore((place.directory / "report.json").read_bytes())
    return Ordered(process.returncode, report, said.decode())


def run_order(place: Bench, **changes: Any) -> Ordered:
    """A whole restore by order."""
    return ended(place, start_order(place, restore_order(place, **changes)))

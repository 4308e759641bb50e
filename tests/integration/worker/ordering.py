"""Restore orders as the operator writes them, run by the worker in a process of its own."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from backup_operator.contract.order import BackupOrder
from backup_operator.contract.restore import RestoreOrder, RestoreReport, decode_restore
from backup_operator.worker.backup import back_up
from backup_operator.worker.restore import restore
from backup_operator.worker.workplace import Workplace
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
        _, said = process.communicate(timeout=300)
    report = decode_restore((place.directory / "report.json").read_bytes())
    return Ordered(process.returncode, report, said.decode())


def run_order(place: Bench, **changes: Any) -> Ordered:
    """A whole restore by order."""
    return ended(place, start_order(place, restore_order(place, **changes)))


def in_process(place: Bench, at: datetime | None = None, **changes: Any) -> RestoreReport:
    """The same in this process, for what needs no process of its own; `at` is the time of day that it believes in."""
    order = RestoreOrder.model_validate(restore_order(place, **changes))
    with tempfile.TemporaryDirectory(dir=place.directory) as scratch:
        return restore(order, _workplace(scratch, at))


def back_up_at(place: Bench, at: datetime, **changes: Any) -> str:
    """A backup that began at that time. Returns: the run."""
    order = BackupOrder.model_validate(place.order | changes)
    with tempfile.TemporaryDirectory(dir=place.directory) as scratch:
        report = back_up(order, _workplace(scratch, at))
    assert report.fault is None, report.fault
    return report.run


def secret_file(place: Bench, name: str, content: str) -> dict[str, str]:
    """A mounted secret with that content, as orders name it."""
    (place.directory / name).write_text(content)
    return {"path": str(place.directory / name), "described": f"key {name} of Secret ns/app"}


def tree(place: Bench) -> dict[str, tuple[bytes, int]]:
    """Every file of the volume: content, and when it was written last."""
    volume = place.directory / "volume"
    files = [path for path in volume.rglob("*") if path.is_file()]
    return {str(path.relative_to(volume)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def _workplace(scratch: str, at: datetime | None) -> Workplace:
    return Workplace(scratch=Path(scratch)) if at is None else Workplace(scratch=Path(scratch), now=lambda: at)

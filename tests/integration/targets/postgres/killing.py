"""Room `tests.integration.targets.postgres`: a worker that is killed at a chosen moment of its talk with the server.

The worker runs in a process group of its own, as in a container, and reaches the server through a relay that counts
what it sends and kills the whole group at a byte, or just before or behind a statement.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.integration.worker.conftest import Bench
from tests.integration.worker.ordering import restore_order

Moment = Callable[[int, bytes], int | None]
"""Gets the bytes sent before and the next ones; answers how many of these the server still gets, or None to go on."""
_ENDS_WITHIN_SECONDS = 300


def at_byte(number: int) -> Moment:
    """When so many bytes have been sent."""
    return lambda sent, chunk: number - sent if sent + len(chunk) >= number else None


def before(statement: bytes, *, after: bytes = b"") -> Moment:
    """When the next bytes hold this statement, of which the server gets nothing; `after` must have been sent first."""
    return _at(statement, after, lambda _: 0)


def behind(statement: bytes, *, after: bytes = b"") -> Moment:
    """When the server has got this statement."""
    return _at(statement, after, len)


def _at(statement: bytes, after: bytes, passed: Callable[[bytes], int]) -> Moment:
    seen = [not after]

    def moment(_: int, chunk: bytes) -> int | None:
        found = seen[0] and statement in chunk
        seen[0] = seen[0] or after in chunk
        return passed(chunk) if found else None

    return moment


def never(_sent: int, _chunk: bytes) -> int | None:
    """Not at all."""
    return None


@dataclass
class Worker:
    """A worker with a restore order; `run` starts it and waits for its end, by its own or by our hand."""

    place: Bench
    port: int
    """Where the server listens."""
    moment: Moment = never
    log_line: str = ""
    """Killed as soon as its log says this; empty: never for that."""
    said: str = ""
    sent_bytes: int = 0
    exit_code: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, url: str, **changes: Any) -> Self:
        """Do the order, whose target's URL is this one with the relay's port in it."""
        directory = self.place.directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            (directory / "target").write_text(url.replace(f":{self.port}/", f":{listener.getsockname()[1]}/"))
            order = restore_order(self.place, **changes)
            order["request"] |= {"uid": str(uuid.uuid4())}
            order["postgres"]["url"] = {"path": str(directory / "target"), "described": "key URL of Secret ns/target"}
            serving = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            serving.start()
            self._work(_written(directory / "killed.json", order))
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
        return self

    def _work(self, order: Path) -> None:
        report = order.with_suffix(".report")
        argv = [sys.executable, "-m", "backup_operator.worker.cli", "run", "--order", str(order)]
        with subprocess.Popen(
            [*argv, "--report", str(report)], stderr=subprocess.PIPE, start_new_session=True
        ) as self._process:
            timer = threading.Timer(_ENDS_WITHIN_SECONDS, self._kill)
            timer.start()
            assert self._process.stderr is not None
            for line in self._process.stderr:
                self.said += line.decode()
                if self.log_line and self.log_line in self.said:
                    self._kill()
            self.exit_code = self._process.wait()
            timer.cancel()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while chunk := _received(client):
            with self._lock:
                passed = self.moment(self.sent_bytes, chunk)
                self.sent_bytes += len(chunk)
            if not _passed(server, chunk if passed is None else chunk[: max(0, passed)]):
                break
            if passed is not None:
                self._kill()
                break
        for end in (server, client):
            _shut(end)


def _written(path: Path, order: dict[str, Any]) -> Path:
    path.write_text(json.dumps(order))
    return path


def _copy(source: socket.socket, destination: socket.socket) -> None:
    while chunk := _received(source):
        if not _passed(destination, chunk):
            break
    _shut(destination)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _passed(destination: socket.socket, chunk: bytes) -> bool:
    try:
        destination.sendall(chunk)
    except OSError:
        return False
    return True


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:
        return

"""The operator as a process, and a road to the API server that can be closed. Used by the tests of this directory."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.support.polling import wait_until
from tests.support.ports import free_port

_CHUNK = 65536


class OperatorProcess:
    """`kopf run` as the chart starts it, with its Lease in `home`; it serves that namespace alone, or all of them."""

    def __init__(
        self, home: str, directory: Path, *, name: str = "operator", kubeconfig: str = "", everywhere: bool = False
    ) -> None:
        self._scope = "--all-namespaces" if everywhere else f"--namespace={home}"
        self._log = directory / f"{name}.log"
        self._port = free_port()
        self._environment = os.environ | {
            "BACKUP_IMAGE": "registry.invalid/backup-operator-worker:none",
            "POD_NAME": name,
            "LEASE_SECONDS": "4",
            "RESYNC_SECONDS": "3600",
            "WATCH_NAMESPACES": "" if everywhere else home,
            "LEASE_NAMESPACE": home,
            "LEASE_NAME": home if everywhere else "backup-operator",
            "KUBECONFIG": kubeconfig or os.environ["KUBECONFIG"],
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it; returns when it answers its probe."""
        self.launch(**environment)
        wait_until(lambda: self.health, lambda status: status == 200, for_what="the operator's probe")

    def launch(self, **environment: str) -> None:
        """Start it and do not wait."""
        command = Path(sys.executable).parent / "kopf"
        argv = [str(command), "run", "--module=backup_operator.controller.main", self._scope]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, "--log-format=json", f"--liveness=http://127.0.0.1:{self._port}/healthz"],
                env=self._environment | environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL: no goodbye, as when a node is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as kubelet does."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        self._process.wait(timeout=90)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def health(self) -> int:
        """What the liveness probe answers; 0 while nobody does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/healthz", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0

    def log(self) -> str:
        """Everything it said."""
        return self._log.read_text()


class Road:
    """A port of this machine that leads to the API server of KUBECONFIG, and can be closed and opened."""

    def __init__(self, directory: Path) -> None:
        self._config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        cluster = self._config["clusters"][0]["cluster"]
        address = urlsplit(cluster["server"])
        assert address.hostname is not None
        self._server = (address.hostname, address.port or 443)
        self._port = free_port()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        cluster["server"] = f"https://127.0.0.1:{self._port}"
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._config))

    def open(self) -> None:
        """Lead to the API server."""
        self._listener = socket.create_server(("127.0.0.1", self._port), reuse_port=False)
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Cut every connection and refuse new ones."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _cut(one)
        self._open.clear()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            self._open |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    except OSError:
        pass
    finally:
        _cut(target)


def _cut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
    finally:
        one.close()

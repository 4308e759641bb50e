"""Room `controller`: serves /metrics in threads of its own; started and stopped by `controller.main`."""

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server


class MetricsPortTaken(Exception):
    """The port cannot be listened on; the text names it."""


class Exposition:
    """A web server that answers each scrape from memory, while the event loop goes on."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread

    @classmethod
    def start(cls, registry: CollectorRegistry, port: int) -> "Exposition":
        """Listen on every address of this machine. Raises: MetricsPortTaken."""
        try:
            return cls(*start_http_server(port, registry=registry))
        except OSError as exc:
            raise MetricsPortTaken(f"METRICS_PORT {port} cannot be listened on: {exc.strerror or exc}") from exc

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Take no more scrapes."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""Room `tests.support`: an HTTP server on this machine that answers as a test wants it, or does not."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG = 0
"""In place of a status: take the request and answer nothing until the server is stopped."""
TRICKLE = 1
"""In place of a status: answer a byte every tenth of a second, without an end."""


class HttpServer(ThreadingHTTPServer):
    """Answers each GET with the next of its answers, the last one again and again."""

    daemon_threads = True

    def __init__(self, answers: Sequence[int | str]) -> None:
        """An answer is a status, or a text: the Location of a redirect."""
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers = list(answers)
        self.asked: list[str] = []
        self.agents: list[str] = []
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"

    def next_answer(self) -> int | str:
        """Used up unless it is the last."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Answering(BaseHTTPRequestHandler):
    server: HttpServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.agents.append(self.headers["User-Agent"])
        answer = self.server.next_answer()
        if answer == HANG:
            self.server.is_over.wait()
        elif answer == TRICKLE:
            self._trickle()
        else:
            self._answer(answer)

    def _answer(self, answer: int | str) -> None:
        self.send_response(302 if isinstance(answer, str) else answer)
        if isinstance(answer, str):
            self.send_header("Location", answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _trickle(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 ")
            while not self.server.is_over.wait(0.1):
                self.wfile.write(b"x")
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def http_server(*answers: int | str) -> Iterator[HttpServer]:
    """A server that runs meanwhile."""
    with HttpServer(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()

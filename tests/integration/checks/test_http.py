"""Health endpoints that answer, redirect, come late, or are nothing of the kind."""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backup_operator.contract.restore import CheckOrder
from backup_operator.worker.checks.http import Patience, run_http_checks
from tests.support.certificates import make_certificates
from tests.support.ports import free_port

ONCE = Patience(within_seconds=0)


class _Application(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: Mapping[str, tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers = answers
        self.asked: list[str] = []
        self.failures = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    server: _Application

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        status, location = self.server.answers.get(self.path, (404, ""))
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def _application(answers: Mapping[str, tuple[int, str]], tls: ssl.SSLContext | None = None) -> Iterator[_Application]:
    with _Application(answers) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _ask(url: str, status: int = 200, patience: Patience = ONCE):
    (found,) = run_http_checks([CheckOrder(name="health", http_url=url, http_status=status)], patience)
    return found.passed, found.found


@pytest.fixture
def application() -> Iterator[_Application]:
    answers = {
        "/health": (200, ""),
        "/gone": (410, ""),
        "/old?a=b": (301, "/health"),
        "/round": (302, "/round"),
        "/elsewhere": (302, "http://localhost:1/health"),
    }
    with _application(answers) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "wanted", "passed", "told"),
    [
        ("/health", 200, True, "status 200"),
        ("/gone", 200, False, "status 410"),
        ("/gone", 410, True, "status 410"),
        ("/old?a=b", 200, True, "status 200"),
        ("/old?a=b", 301, True, "status 301"),
        ("/round", 200, False, "status 302"),
        ("/elsewhere", 200, False, "status 302"),
    ],
)
def test_the_status_is_compared_behind_redirects_of_the_same_host(application, path, wanted, passed, told):
    assert _ask(application.url + path, wanted) == (passed, told)


def test_an_application_that_needs_a_moment_is_asked_again(application):
    application.failures = 3
    waited: list[float] = []

    found = _ask(application.url + "/health", patience=Patience(60, 2, wait=waited.append))

    assert found == (True, "status 200")
    assert waited == [2, 2, 2]


def test_an_application_that_stays_ill_is_given_up(application):
    application.failures = 1000
    time_passed = [0.0]

    def wait(seconds: float) -> None:
        time_passed[0] += seconds

    found = _ask(application.url + "/health", patience=Patience(60, 2, clock=lambda: time_passed[0], wait=wait))

    assert found == (False, "status 503")
    assert len(application.asked) == 31


def test_nobody_there_is_told():
    assert _ask(f"http://127.0.0.1:{free_port()}/") == (False, "connection refused")


def test_a_name_that_does_not_resolve_is_told():
    assert _ask("http://no-such-host.invalid/") == (False, "a host name that does not resolve")


def test_what_is_not_http_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = _ask(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()

    assert found == (False, "an answer that is not HTTP (BadStatusLine)")


@pytest.mark.parametrize("url", ["ftp://app/", "http://user:secret@app/", "http:///path", "app/health"])
def test_what_is_no_plain_url_is_not_asked_and_not_repeated(url):
    assert _ask(url) == (False, "the URL is none of http or https without a user in it")


def test_a_certificate_of_nobody_is_not_trusted(tmp_path):
    pair = make_certificates(tmp_path).server
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    with _application({"/": (200, "")}, context) as server:
        passed, told = _ask(server.url.replace("http:", "https:") + "/")

    assert not passed
    assert told.startswith("a certificate that is not trusted: ")


def test_a_trusted_certificate_is_taken(tmp_path, monkeypatch):
    certificates = make_certificates(tmp_path)
    pair = certificates.server
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with _application({"/": (200, "")}, context) as server:
        assert _ask(server.url.replace("http:", "https:") + "/") == (True, "status 200")

"""Room `worker`: asks a URL with a GET; called by `worker.checks.http` and `worker.heartbeat`.

The standard library's client, whose proxies are not asked. Nothing that is said of a failure holds the URL, whose path
or query may be a secret.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from backup_operator import __version__

_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_WHOLE_ANSWER = 3
"""So many times the longest silence an answer may take: one that comes byte by byte is none."""

FAILURES = (OSError, http.client.HTTPException, ValueError)
"""What `status_of` raises when there is no answer."""


class UrlRefused(ValueError):
    """A URL that is not asked; the words do not hold it."""


def status_of(url: str, *, wanted: Container[int], silence_seconds: float) -> int:
    """The status, of the last answer where redirects are followed; one that is wanted is not followed.

    https is verified with the system's authorities; redirects stay on their host. Raises: what FAILURES names.
    """
    for _ in range(_REDIRECTS + 1):
        status, location = _get(urlsplit(url), silence_seconds)
        if status in wanted or status not in _REDIRECTED or not location:
            return status
        onward = urljoin(url, location)
        if not _may_follow(urlsplit(url), urlsplit(onward)):
            return status
        url = onward
    return status


def failure_in_words(exc: Exception, *, silence_seconds: float) -> str:
    """Why there was no answer."""
    match exc:
        case ssl.SSLError():
            complaint = getattr(exc, "verify_message", "")
            return f"a certificate that is not trusted: {complaint}" if complaint else "no TLS connection"
        case http.client.HTTPException():
            return f"an answer that is not HTTP ({type(exc).__name__})"
        case OSError():
            return _words_of_the_system(exc, silence_seconds)
        case UrlRefused():
            return str(exc)
    return "a URL that cannot be read"


def _words_of_the_system(exc: OSError, silence_seconds: float) -> str:
    match exc:
        case socket.gaierror():
            return "a host name that does not resolve"
        case TimeoutError():
            return f"no answer within {silence_seconds:.0f} s"
        case ConnectionRefusedError():
            return "connection refused"
    return exc.strerror or type(exc).__name__


def _may_follow(here: SplitResult, there: SplitResult) -> bool:
    """Whether the redirect stays on its host, and does not leave TLS."""
    schemes = ("https",) if here.scheme == "https" else ("http", "https")
    return there.scheme in schemes and there.hostname == here.hostname


def _get(place: SplitResult, silence_seconds: float) -> tuple[int, str | None]:
    """Status and Location of the answer; its body is not read."""
    if place.scheme not in _PORTS or not place.hostname or place.username or place.password:
        raise UrlRefused("the URL is none of http or https without a user in it")
    connection = _connection(place, place.hostname, silence_seconds)
    try:
        path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        with _ended_after(connection, _WHOLE_ANSWER * silence_seconds):
            connection.request("GET", path, headers={"User-Agent": f"backup-operator/{__version__}", "Accept": "*/*"})
            response = connection.getresponse()
        return response.status, response.getheader("Location")
    finally:
        connection.close()


@contextmanager
def _ended_after(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Within it a TimeoutError is raised when the time is over; the socket's own timeout only ends silence."""
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        if connection.sock is not None:
            with suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not is_over.is_set():
            raise
    finally:
        timer.cancel()
    if is_over.is_set():  # what came until then may even look like an answer
        raise TimeoutError


def _connection(place: SplitResult, host: str, silence_seconds: float) -> http.client.HTTPConnection:
    port = place.port or _PORTS[place.scheme]
    if place.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=silence_seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=silence_seconds, context=context)

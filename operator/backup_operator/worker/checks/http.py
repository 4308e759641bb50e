"""Room `worker.checks`: questions to the application that uses what was restored; called by `worker.restore`.

A GET of the standard library, whose proxies are not asked. An application may need a moment to find its database
again, so that a check is tried until it passes or its time is over.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from backup_operator import __version__
from backup_operator.contract.restore import CheckFound, CheckOrder
from backup_operator.worker.checks.judge import found

_SILENCE_SECONDS = 10.0
_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Patience:
    """How long one check is tried again, and how time passes."""

    within_seconds: float = 60.0
    between_seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


def run_http_checks(checks: Sequence[CheckOrder], patience: Patience | None = None) -> tuple[CheckFound, ...]:
    """What each finds in the end. https is verified with the system's authorities; redirects stay on their host."""
    return tuple(_run(check, patience or Patience()) for check in checks)


def _run(check: CheckOrder, patience: Patience) -> CheckFound:
    end = patience.clock() + patience.within_seconds
    while True:
        asked = _ask_once(check)
        if asked.passed or patience.clock() >= end:
            return asked
        patience.wait(patience.between_seconds)


def _ask_once(check: CheckOrder) -> CheckFound:
    try:
        status = _status(check.http_url, wanted=check.http_status)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return found(check, _words(exc), passed=False)
    return found(check, f"status {status}", passed=status == check.http_status)


def _status(url: str, *, wanted: int) -> int:
    """The status, of the last answer where redirects are followed; one that is wanted is not followed."""
    for _ in range(_REDIRECTS + 1):
        status, location = _get(urlsplit(url))
        if status == wanted or status not in _REDIRECTED or not location:
            return status
        onward = urljoin(url, location)
        if not _may_follow(urlsplit(url), urlsplit(onward)):
            return status
        url = onward
    return status


def _may_follow(here: SplitResult, there: SplitResult) -> bool:
    """Whether the redirect stays on its host, and does not leave TLS."""
    schemes = ("https",) if here.scheme == "https" else ("http", "https")
    return there.scheme in schemes and there.hostname == here.hostname


def _get(place: SplitResult) -> tuple[int, str | None]:
    """Status and Location of the answer; its body is not read. Raises: OSError, HTTPException, ValueError."""
    if place.scheme not in _PORTS or not place.hostname or place.username or place.password:
        raise ValueError("the URL is none of http or https without a user in it")
    connection = _connection(place, place.hostname)
    try:
        path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        connection.request("GET", path, headers={"User-Agent": f"backup-operator/{__version__}", "Accept": "*/*"})
        response = connection.getresponse()
        return response.status, response.getheader("Location")
    finally:
        connection.close()


def _connection(place: SplitResult, host: str) -> http.client.HTTPConnection:
    port = place.port or _PORTS[place.scheme]
    if place.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_SILENCE_SECONDS)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=_SILENCE_SECONDS, context=context)


def _words(exc: Exception) -> str:
    """Why there was no answer; without the URL, whose query may hold what is not for everybody."""
    if isinstance(exc, ssl.SSLError):
        complaint = getattr(exc, "verify_message", "")
        return f"a certificate that is not trusted: {complaint}" if complaint else "no TLS connection"
    if isinstance(exc, http.client.HTTPException):
        return f"an answer that is not HTTP ({type(exc).__name__})"
    if isinstance(exc, OSError):
        return _words_of_the_system(exc)
    return str(exc)


def _words_of_the_system(exc: OSError) -> str:
    match exc:
        case socket.gaierror():
            return "a host name that does not resolve"
        case TimeoutError():
            return f"no answer within {_SILENCE_SECONDS:.0f} s"
        case ConnectionRefusedError():
            return "connection refused"
    return exc.strerror or type(exc).__name__

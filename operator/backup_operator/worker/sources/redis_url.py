"""Room `worker.sources`: reads the connection URL of a Redis server; called by redis.

`redis://[user[:password]@]host[:port][/N][?option=…]`, `rediss://` for TLS; user name and password percent-encoded.
Source: https://www.iana.org/assignments/uri-schemes/prov/redis
"""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError

DEFAULT_PORT = 6379
_UNCHECKED = ("none", "cert_none", "0", "false")
_ENCODE = (
    "Write it as redis://USER:PASSWORD@HOST:6379/0, with special characters of user name and password percent-encoded: "
    "python3 -c 'import getpass, urllib.parse as u; print(u.quote(getpass.getpass(), safe=\"\"))'"
)


@dataclass(frozen=True)
class RedisUrl:
    """Where a Redis server is, and as whom to enter it."""

    host: str
    port: int
    uses_tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int | None = None
    """The N of `/N`; None means every database."""
    checks_certificate: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Host and port as a person writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_redis_url(text: str, described: str) -> RedisUrl:
    """The URL that the Secret holds. Raises: SourceError (UrlInvalid) in words that repeat nothing of it."""
    refuse = _Refusal(described)
    if any(letter.isspace() or not letter.isprintable() for letter in text.strip()):
        raise refuse("holds a space or another character that a URL cannot hold")
    parts = _split(text.strip(), refuse)
    options = _options(parts.query, refuse)
    return RedisUrl(
        host=_host(parts, refuse),
        port=_port(parts, refuse),
        uses_tls=parts.scheme == "rediss",
        username=unquote(parts.username) or None if parts.username is not None else None,
        password=_password(parts),
        database=_database(parts.path, options.pop("db", None), refuse),
        checks_certificate=options.pop("ssl_cert_reqs", "required").lower() not in _UNCHECKED,
        warnings=_unused(options, described),
    )


class _Refusal:
    """Makes the error for a URL that cannot be read."""

    def __init__(self, described: str) -> None:
        self._described = described

    def __call__(self, what: str) -> SourceError:
        return SourceError(Reason.URL_INVALID, f"the Redis URL ({self._described}) {what}", hint=_ENCODE)


def _split(text: str, refuse: _Refusal) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise refuse("cannot be read: its host is malformed") from exc
    if parts.scheme not in ("redis", "rediss") or "//" not in text:
        raise refuse("does not begin with redis:// or rediss://")
    if parts.fragment or text.endswith("#"):
        raise refuse("holds a # that is not percent-encoded (%23)")
    if parts.netloc.count("@") > 1:
        raise refuse("holds an @ in its user name or password that is not percent-encoded (%40)")
    return parts


def _host(parts: SplitResult, refuse: _Refusal) -> str:
    try:
        host = parts.hostname
    except ValueError as exc:
        raise refuse("has a host that cannot be read") from exc
    if not host:
        raise refuse("names no host")
    return unquote(host)


def _port(parts: SplitResult, refuse: _Refusal) -> int:
    try:
        port = parts.port
    except ValueError as exc:
        # no `from exc`'s words in the message: what stands at the port's place may be half of a password
        raise refuse("has a port that is no number from 1 to 65535") from exc
    if port == 0:
        raise refuse("has a port that is no number from 1 to 65535")
    return DEFAULT_PORT if port is None else port


def _password(parts: SplitResult) -> str | None:
    """The password; an empty one is sent where only a user is named, which users with `nopass` take."""
    if parts.password:
        return unquote(parts.password)
    return "" if parts.username else None


def _database(path: str, option: str | None, refuse: _Refusal) -> int | None:
    text = path.strip("/") or option or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise refuse("ends in something that is no database number (/0, /1, …)")
    return int(text)


def _options(query: str, refuse: _Refusal) -> dict[str, str]:
    """The options behind the `?`; what is no option's name may be the rest of a password, and is not repeated."""
    pairs = [pair for pair in query.split("&") if pair]
    if not all(re.match(r"[A-Za-z][A-Za-z0-9_.-]*=", pair) for pair in pairs):
        raise refuse("holds a ? that is not percent-encoded (%3F), or an option that is not written NAME=VALUE")
    return dict(parse_qsl(query, keep_blank_values=True))


def _unused(options: dict[str, str], described: str) -> tuple[str, ...]:
    names = ", ".join(sorted(options))
    return (f"the Redis URL ({described}) has options that a backup does not use: {names}",) if names else ()

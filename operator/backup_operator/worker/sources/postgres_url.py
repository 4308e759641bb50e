"""Room `worker.sources`: reads PostgreSQL connection URLs; called by `sources.postgres`.

We read the URL ourselves rather than hand it to libpq, so that an error says in words which character must be written
how, and so that the password is kept apart from all that goes into a command line.

Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError

_SCHEMES = ("postgresql://", "postgres://")
_DEFAULT_PORT = 5432
_ESCAPES = {"@": "%40", "/": "%2F", "%": "%25", " ": "%20", "[": "%5B", "]": "%5D"}
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"

_ONE_PORT_PER_HOST = "Write one port for all hosts, or as many ports as hosts: ?host=a,b&port=5432,5433."

_PASSED_ON = frozenset(
    {
        "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslsni", "sslnegotiation", "sslcertmode",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "require_auth", "options",
        "connect_timeout", "application_name", "keepalives", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "hostaddr", "target_session_attrs", "load_balance_hosts", "requiressl",
        "krbsrvname", "min_protocol_version", "max_protocol_version",
    }
)  # fmt: skip
"""Options that libpq knows and that are passed on as they are."""

_VALUES = {
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "connect_timeout": "[0-9]+",
    "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
}
"""What libpq takes for some options, as patterns: it tells a wrong value like a server that cannot be reached."""

_OURS = frozenset({"gssencmode", "fallback_application_name", "client_encoding", "sslcompression", "replication"})
"""libpq options that do no harm and that we set ourselves: left out without a word."""

_OF_OTHERS = frozenset(
    {
        "schema", "pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "sslaccept", "sslidentity",
        "statement_cache_size", "prepared_statements", "prepare_threshold", "pool_mode", "supa", "workaround",
        "uselibpqcompat", "ssl", "max_conns", "pool_size",
    }
)  # fmt: skip
"""Options of Prisma, node-postgres, asyncpg and others, found in real environment files: left out with a warning."""


@dataclass(frozen=True)
class PostgresUrl:
    """A URL's parts, percent-decoded; hosts in the order in which they are tried."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    database: str
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The first host."""
        return self.hosts[0][0]

    @property
    def port(self) -> int:
        """The first host's port."""
        return self.hosts[0][1]

    @property
    def described(self) -> str:
        """`host:port/database` for messages; without user and password."""
        places = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{places}/{self.database}"


def parse_url(text: str, described: str) -> PostgresUrl:
    """The parts of the URL; `described` names where it came from.

    Raises: SourceError UrlInvalid, whose texts hold nothing of the login.
    """
    reader = _Reader(described)
    rest = reader.without_scheme(text)
    login, places, path, query = reader.split(rest)
    user, _, password = login.partition(":")
    options, warnings = reader.options(query)
    named = {name: options.pop(name, "") for name in ("user", "password", "dbname", "host", "port")}
    found_user = named["user"] or reader.decode(user, "the user name")
    if not found_user:
        raise reader.invalid("names no user", hint=f"Write the URL as {_EXAMPLE}.")
    found_password = named["password"] or reader.decode(password, "the password")
    if any(character in found_password for character in "\n\r\0"):
        raise reader.invalid("holds a line break in its password, which PostgreSQL's password file cannot hold")
    return PostgresUrl(
        hosts=reader.hosts(named["host"] or places, named["port"]),
        user=found_user,
        password=found_password,
        database=named["dbname"] or reader.decode(path, "the database name") or found_user,
        options=options,
        warnings=warnings,
    )


@dataclass(frozen=True)
class _Reader:
    described: str

    def invalid(self, what: str, *, detail: str = "", hint: str = "") -> SourceError:
        return SourceError(
            Reason.URL_INVALID,
            f"The URL in {self.described} {what}.",
            detail=detail,
            hint=hint or f"Write it as {_EXAMPLE}.",
        )

    def without_scheme(self, text: str) -> str:
        if re.search(r"[\x00-\x1f\x7f]", text):
            raise self.invalid("holds a line break or another control character")
        for scheme in _SCHEMES:
            if text.lower().startswith(scheme):
                return text[len(scheme) :]
        found = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*):", text)
        if found and found[1].lower().startswith(("postgres", "jdbc")):
            raise self.invalid(
                f"starts with {found[1]}:, which only one driver knows",
                hint=f"Write postgresql:// in its place: {_EXAMPLE}.",
            )
        raise self.invalid("does not start with postgresql:// or postgres://")

    def split(self, rest: str) -> tuple[str, str, str, str]:
        """Login, hosts, path and query, cut where libpq cuts; refuses a password that libpq would cut elsewhere."""
        self._refuse_slash_in_password(rest)
        login, at, after = rest.partition("@")
        if not at or "/" in login:
            login, after = "", rest
        end = re.search(r"[/?]", after)
        position = end.start() if end else len(after)
        places, tail = after[:position], after[position:]
        path, _, query = tail.partition("?")
        if "@" in places or ("@" in path and "/" in path[1:]):
            raise self._raw("@")
        return login, places, path[1:], query

    def _refuse_slash_in_password(self, rest: str) -> None:
        before_slash, slash, after = rest.partition("/")
        if not slash or "@" in before_slash or "@" not in after.partition("?")[0]:
            return
        places = before_slash.rpartition(":")
        if places[1] and not places[2].isdigit() and "]" not in places[2]:
            raise self._raw("/")

    def _raw(self, character: str) -> SourceError:
        return self.invalid(
            f"holds {character} as it is in its user name or password",
            hint=f"Write {character} as {_ESCAPES[character]} there (percent-encoded).",
        )

    def decode(self, text: str, part: str) -> str:
        if re.search(r"%(?![0-9A-Fa-f]{2})", text):
            raise self.invalid(f"holds % as it is in {part}", hint="Write % as %25 there (percent-encoded).")
        if " " in text:
            raise self.invalid(f"holds a space in {part}", hint="Write the space as %20 there (percent-encoded).")
        try:
            decoded = unquote_to_bytes(text).decode()
        except UnicodeDecodeError as exc:
            raise self.invalid(f"holds percent codes in {part} that are not UTF-8") from exc
        if "\0" in decoded:
            raise self.invalid(f"holds %00 in {part}")
        return decoded

    def hosts(self, places: str, ports: str) -> tuple[tuple[str, int], ...]:
        listed = [self._host(place) for place in places.split(",")]
        if not all(host for host, _ in listed):
            raise self.invalid("names no host", hint=f"Write the URL as {_EXAMPLE}.")
        overriding = [self._port(port) for port in ports.split(",")] if ports else []
        if len(overriding) == 1:
            overriding *= len(listed)
        if overriding:
            if len(overriding) != len(listed):
                raise self.invalid(f"names {len(listed)} hosts and {len(overriding)} ports", hint=_ONE_PORT_PER_HOST)
            listed = [(host, port) for (host, _), port in zip(listed, overriding, strict=True)]
        return tuple((host, port if port is not None else _DEFAULT_PORT) for host, port in listed)

    def _host(self, place: str) -> tuple[str, int | None]:
        bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%[\w.~-]+)?)\](?::(.*))?", place)
        if bracketed:
            return bracketed[1], self._port(bracketed[2] or "")
        host, _, port = place.partition(":")
        if ":" in port:
            raise self.invalid(
                "holds an IPv6 address without brackets, or a : too many",
                hint="Write an IPv6 address as [::1]:5432, and : in a user name as %3A.",
            )
        return self.decode(host, "the host"), self._port(port)

    def _port(self, text: str) -> int | None:
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
            raise self.invalid(
                "has a port that is not a number from 1 to 65535",
                hint="If the password holds /, ?, # or @, write it percent-encoded: %2F, %3F, %23, %40.",
            )
        return int(text)

    def _value(self, name: str, text: str) -> str:
        value = self.decode(text, f"the option {name}")
        allowed = _VALUES.get(name)
        if allowed is not None and not re.fullmatch(allowed, value):
            words = "a whole number" if allowed.startswith("[") else allowed.replace("|", ", ")
            raise self.invalid(f"gives the option {name} a value that PostgreSQL does not take", hint=f"Write {words}.")
        return value

    def options(self, query: str) -> tuple[dict[str, str], tuple[str, ...]]:
        options: dict[str, str] = {}
        warnings: list[str] = []
        for pair in filter(None, query.split("&")):
            name, equals, value = pair.partition("=")
            name = self.decode(name, "an option's name")
            if not equals:
                raise self.invalid(f"has the option {name} without a value", hint=f"Write it as ?{name}=VALUE.")
            if name in _OF_OTHERS and not (name == "ssl" and value == "true"):
                warnings.append(f"{self.described} has the option {name}, which PostgreSQL does not know; left out.")
            elif name == "ssl":
                options["sslmode"] = "require"
            elif name in _PASSED_ON | {"user", "password", "dbname", "host", "port"}:
                options[name] = self._value(name, value)
            elif name not in _OURS:
                raise self.invalid(
                    f"has the option {name!r}, which libpq does not know or which cannot be used here",
                    hint="Take it out of the URL.",
                )
        return options, tuple(warnings)

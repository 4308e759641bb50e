"""Room `worker.sources`: connects to PostgreSQL, in this process and for pg_dump; called by `sources.postgres*`.

The password is in one file of mode 0600 in the scratch directory, which libpq reads (`passfile`); all else is a
connection string.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from backup_operator.contract.order import PostgresTls
from backup_operator.vocabulary.choices import TlsMode
from backup_operator.worker.secrets import secret_path
from backup_operator.worker.sources.postgres_faults import Place, connection_fault
from backup_operator.worker.sources.postgres_tls import certificate_complaint
from backup_operator.worker.sources.postgres_url import PostgresUrl

_CONNECT_TIMEOUT_SECONDS = 15
_SSL_MODES = {
    TlsMode.DISABLE: "disable",
    TlsMode.PREFER: "prefer",
    TlsMode.REQUIRE: "require",
    TlsMode.VERIFY_CA: "verify-ca",
    TlsMode.VERIFY_FULL: "verify-full",
}
_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_SINCE_MAJOR = {
    "load_balance_hosts": 16,
    "require_auth": 16,
    "sslcertmode": 16,
    "sslnegotiation": 17,
    "min_protocol_version": 18,
    "max_protocol_version": 18,
}
"""libpq's options by the major that brought them: an older pg_dump refuses them."""
_KEEPALIVES = {"keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}


@dataclass(frozen=True)
class Login:
    """How to connect: libpq's parameters, without the password."""

    parameters: Mapping[str, str]
    password_file: Path
    secret: str
    """How a person calls the secret with the URL."""

    @property
    def place(self) -> Place:
        """What messages name."""
        return Place(
            host=self.parameters["host"].split(",")[0],
            port=int(self.parameters["port"].split(",")[0]),
            database=self.parameters["dbname"],
            user=self.parameters["user"],
            secret=self.secret,
        )

    def conninfo(self, client_major: int = 99) -> str:
        """A connection string that may stand in a command line: it holds no password."""
        known = {name: value for name, value in self.parameters.items() if _SINCE_MAJOR.get(name, 0) <= client_major}
        return make_conninfo("", **{**known, "passfile": str(self.password_file)})

    def pinned(self, connection: psycopg.Connection) -> "Login":
        """The same login, to the one of several hosts that this connection reached."""
        reached = {"host": connection.info.host, "port": str(connection.info.port)}
        if "hostaddr" in self.parameters:
            reached["hostaddr"] = connection.info.hostaddr
        return Login({**self.parameters, **reached}, self.password_file, self.secret)

    def connect(self) -> psycopg.Connection:
        """A connection in autocommit mode. Raises: SourceError with the reason why not."""
        try:
            return psycopg.connect(self.conninfo(), autocommit=True, client_encoding="UTF8")
        except psycopg.Error as exc:
            raise connection_fault(exc, self.place, self._certificate_complaint(str(exc))) from exc

    def _certificate_complaint(self, text: str) -> str:
        if "certificate verify failed" not in text or "sslrootcert" not in self.parameters:
            return ""
        return certificate_complaint(self.place.host, self.place.port, Path(self.parameters["sslrootcert"]))


def make_login(url: PostgresUrl, tls: PostgresTls, scratch: Path, *, application: str, secret: str) -> Login:
    """The login for this URL; writes the password file. Raises: SecretMissing for the CA."""
    parameters = {
        "connect_timeout": str(_CONNECT_TIMEOUT_SECONDS),
        **_KEEPALIVES,
        **url.options,
        **_tls_parameters(url.options, tls),
        "host": ",".join(host for host, _ in url.hosts),
        "port": ",".join(str(port) for _, port in url.hosts),
        "user": url.user,
        "dbname": url.database,
        "application_name": application,
        "gssencmode": "disable",
    }
    return Login(parameters, _write_password_file(scratch, url.password), secret)


def _tls_parameters(options: Mapping[str, str], tls: PostgresTls) -> dict[str, str]:
    """What the order says about TLS, above what the URL says."""
    found: dict[str, str] = {}
    if tls.mode is not None:
        found["sslmode"] = _SSL_MODES[tls.mode]
    if tls.ca is not None:
        found["sslrootcert"] = str(secret_path(tls.ca))
        if tls.mode is None and options.get("sslmode", "prefer") in ("allow", "prefer", "require"):
            # who names an authority wants the server checked against it
            found["sslmode"] = "verify-full"
    if _means_system_authorities({**options, **found}) and _SYSTEM_AUTHORITIES.is_file():
        found["sslrootcert"] = str(_SYSTEM_AUTHORITIES)
        found["sslmode"] = found.get("sslmode", options.get("sslmode", "verify-full"))
    return found


def _means_system_authorities(options: Mapping[str, str]) -> bool:
    """Whether the server is checked against the authorities that everybody trusts."""
    named = options.get("sslrootcert")
    return named == "system" or (named is None and options.get("sslmode") in ("verify-ca", "verify-full"))


def _write_password_file(scratch: Path, password: str) -> Path:
    """A password file for every host and database of this run; an old one is replaced."""
    path = scratch / "pgpass"
    path.unlink(missing_ok=True)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    line = f"*:*:*:*:{escaped}\n" if password else ""
    path.touch(mode=0o600)
    path.write_text(line, encoding="utf-8")
    return path

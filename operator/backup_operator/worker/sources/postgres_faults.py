"""Room `worker.sources`: turns what libpq, the server and pg_dump say into reasons; called by `sources.postgres*`.

One table, in order, for the texts of failed connections and for the stderr of pg_dump: the first row that fits wins.
SQLSTATEs go first where psycopg has them, since servers may speak other languages.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html and libpq's fe-connect.c
"""

import re
from dataclasses import dataclass

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError, WorkerError
from backup_operator.worker.process import Finished

_DETAIL_LIMIT = 500
_PASSWORD_FILE = re.compile(r"\s*password retrieved from file \"[^\"]*\"")
"""libpq names the file that we have made for it, which is gone when a person reads that."""


@dataclass(frozen=True)
class Place:
    """What the messages name: where the connection goes, as whom, and which secret holds the URL."""

    host: str
    port: int
    database: str
    user: str
    secret: str

    @property
    def server(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_supabase_direct(self) -> bool:
        """Whether the host is Supabase's direct one, which has an IPv6 address only."""
        return re.fullmatch(r"db\.[a-z0-9]+\.supabase\.(co|com|in|red)", self.host.lower()) is not None


@dataclass(frozen=True)
class _Row:
    reason: Reason
    message: str
    hint: str
    text: str = ""
    """Regular expression that is searched for, case-insensitively."""
    states: tuple[str, ...] = ()
    """SQLSTATEs."""


_SET_URL = "Correct the URL in {secret}."

_TABLE: tuple[_Row, ...] = (
    _Row(
        Reason.POOLER_TRANSACTION_MODE,
        "{server} is a pooler that does not keep a session; pg_dump needs one.",
        "Use the pooler's session mode (Supabase: port 5432 of the pooler host) or the server itself. " + _SET_URL,
        r"transaction blocks not allowed in statement pooling|prepared statement .* does not exist",
    ),
    _Row(
        Reason.NAME_NOT_RESOLVED,
        "The host name {host} is unknown.",
        "Look it up from inside the cluster: kubectl run -it --rm --restart=Never --image=busybox lookup -- "
        "nslookup {host}",
        r"could not translate host name|failed to resolve host|name or service not known|"
        r"temporary failure in name resolution|nodename nor servname",
    ),
    _Row(
        Reason.NETWORK_UNREACHABLE,
        "There is no route to {server}.",
        "Look at the network policies and firewalls between the cluster and {host}.",
        r"network is unreachable|no route to host|cannot assign requested address|address family not supported",
    ),
    _Row(
        Reason.TLS_FAILED,
        "{server} has a certificate that is no longer, or not yet, valid.",
        "Renew the server's certificate; look at it with: openssl s_client -starttls postgres -connect {server}",
        r"certificate has expired|certificate is not yet valid",
    ),
    _Row(
        Reason.TLS_FAILED,
        "{server} has a certificate for another host name.",
        "Use the host name that the certificate holds, or tls.mode VerifyCA.",
        r"does not match host name|hostname mismatch|ip address mismatch",
    ),
    _Row(
        Reason.TLS_FAILED,
        "{server} has a certificate of an authority that is not trusted.",
        "Put the CA's certificate into a Secret and name it in spec.source.postgres.tls.caSecretRef.",
        r"certificate verify failed|self.signed certificate|unable to get (local )?issuer|unknown ca",
    ),
    _Row(
        Reason.TLS_FAILED,
        "{server} does not speak TLS, which the URL or tls.mode asks for.",
        "Switch TLS on at the server, or say tls.mode Disable where the network is trusted.",
        r"server does not support ssl",
    ),
    _Row(
        Reason.TLS_FAILED,
        "{server} takes connections with TLS only, or none from here.",
        "Set tls.mode to Require or VerifyFull, or allow this host in the server's pg_hba.conf.",
        r"\A(?![\s\S]*(ssl on|ssl encryption))[\s\S]*no pg_hba\.conf entry .*(no encryption|ssl off)|"
        r"connection is insecure|ssl (connection )?is required|ssl required",
    ),
    _Row(
        Reason.TLS_FAILED,
        "The CA certificate to check {server} with cannot be read.",
        "Put it into a Secret and name it in spec.source.postgres.tls.caSecretRef; take sslrootcert out of the URL.",
        r"root certificate file|could not read root certificate|could not load system root",
    ),
    _Row(
        Reason.TLS_FAILED,
        "TLS with {server} could not be agreed.",
        "Look at the server's TLS with: openssl s_client -starttls postgres -connect {server}",
        r"ssl error: (?!.*unexpected eof)|tlsv1 alert|"
        r"requires a valid client certificate|certificate present, but not|could not load|sslmode value|"
        r"weak sslmode|channel binding",
    ),
    _Row(
        Reason.DATABASE_MISSING,
        "The server at {server} has no database {database!r}.",
        "Create it, or correct the database name in the URL in {secret}.",
        r'database ".*" does not exist|no such database',
        ("3D000",),
    ),
    _Row(
        Reason.PERMISSION_DENIED,
        "The role {user!r} may not connect to the database {database!r}.",
        'Type in psql: GRANT CONNECT ON DATABASE "{database}" TO "{user}";',
        r"permission denied for database|user does not have connect privilege",
    ),
    _Row(
        Reason.AUTHENTICATION_FAILED,
        "{server} does not know the project or user {user!r}.",
        "The pooler's user is postgres.PROJECT_REF and its host that of the project's region: copy both from the "
        "dashboard (Connect, Session pooler). " + _SET_URL,
        r"tenant or user not found|tenant/user .* not found",
    ),
    _Row(
        Reason.TOO_MANY_CONNECTIONS,
        "{server} has no free connection slot.",
        "Close connections that are not needed, or raise max_connections or the role's connection limit.",
        r"too many clients already|remaining connection slots|too many connections|max client connections reached|"
        r"maxclientsinsessionmode|no more connections allowed|out of connection",
        ("53300",),
    ),
    _Row(
        Reason.SERVER_NOT_READY,
        "{server} is starting up, shutting down or recovering.",
        "Wait until the server takes connections; the next try may succeed.",
        r"database system is (starting up|shutting down|in recovery)|not yet accepting connections|"
        r"not accepting connections|recovery has not yet reached",
        ("57P03",),
    ),
    _Row(
        Reason.AUTHENTICATION_FAILED,
        "{server} refused the user {user!r} or the password.",
        "Correct user and password in the URL in {secret}; special characters are written percent-encoded.",
        r"password authentication failed|no password supplied|authentication failed|role \".*\" does not exist|"
        r"wrong password|no such user|is not permitted to log in|no pg_hba\.conf entry|pg_hba\.conf rejects|"
        r"authentication method|sasl|scram",
        ("28P01", "28000"),
    ),
    _Row(
        Reason.VERSION_MISMATCH,
        "The server at {server} is newer than the client.",
        "Install a newer release of the operator, whose image has the client of that version.",
        r"aborting because of server version mismatch",
    ),
    _Row(
        Reason.LOCK_TIMEOUT,
        "A table stayed locked by others for longer than the run waits.",
        "End the transaction that holds the lock, or choose a quieter time for spec.schedule.",
        r"canceling statement due to lock timeout|canceling statement due to statement timeout[\s\S]*LOCK TABLE",
        ("55P03",),
    ),
    _Row(
        Reason.PERMISSION_DENIED,
        "Rows of a table are hidden from the role {user!r} by row security.",
        'Type in psql: ALTER ROLE "{user}" BYPASSRLS; or name the table in tables.excludeData.',
        r"affected by row-level security",
    ),
    _Row(
        Reason.PERMISSION_DENIED,
        "The role {user!r} may not read something that the backup needs.",
        'Type in psql: GRANT pg_read_all_data TO "{user}"; (from PostgreSQL 14), or leave it out with schemas.exclude '
        "or tables.exclude.",
        r"permission denied|must be (owner|superuser)",
        ("42501",),
    ),
    _Row(
        Reason.URL_INVALID,
        "{server} does not take what `options` in the URL says.",
        "Look at what follows options= in {secret}: settings of the server, written -c name=value, percent-encoded.",
        r"fatal:\s+(invalid command-line argument|unrecognized configuration parameter|invalid value for parameter|"
        r"parameter .* cannot be (set|changed)|permission denied to set parameter|unsupported startup parameter)",
    ),
    _Row(
        Reason.URL_INVALID,
        "The URL leads to a socket that is not there.",
        "A server of another pod is reached by its host name: write it into the URL in {secret}, in place of a "
        "directory or of nothing.",
        r'on socket "[^"]*" failed: no such file or directory',
    ),
    _Row(
        Reason.CONNECTION_REFUSED,
        "{server} refused the connection.",
        "Look whether the server runs and listens there, and that host and port in {secret} are right.",
        r"connection refused",
    ),
    _Row(
        Reason.CONNECTION_LOST,
        "The server ended the connection in the middle of the work.",
        "A time limit was reached (statement_timeout, idle_in_transaction_session_timeout or transaction_timeout); "
        "raise it for this role with ALTER ROLE.",
        r"canceling statement due to statement timeout|idle.(in.transaction|session).*timeout|transaction timeout",
        ("25P03", "25P04", "57P05"),
    ),
    _Row(
        Reason.CONNECTION_LOST,
        "The standby ended the dump since it held up replication.",
        "Set hot_standby_feedback on, or raise max_standby_streaming_delay, or back up the primary.",
        r"conflict with recovery|snapshot too old",
    ),
    _Row(
        Reason.CONNECTION_TIMED_OUT,
        "{server} did not answer in time.",
        "Look at firewalls and network policies between the cluster and {host}: packets are dropped, not refused.",
        r"timeout expired|timed out|connectiontimeout",
    ),
    _Row(
        Reason.CONNECTION_LOST,
        "The connection to {server} broke.",
        "Look at the server's log; the next try may succeed.",
        r"server closed the connection|terminating connection|connection to server was lost|"
        r"could not (receive|send) data|connection reset|ssl connection has been closed|unexpected eof|"
        r"connection has been closed|no connection to the server|lost synchronization|consuming input failed|"
        r"ssl syscall error|the connection is lost|broken pipe|invalid snapshot identifier",
        ("57P01", "57P02", "08006", "08003", "08000"),
    ),
)


def connection_fault(error: psycopg.Error, place: Place, more: str = "") -> SourceError:
    """Why a connection, or a query over it, failed; `more` is what else is known, in OpenSSL's words."""
    text = f"{error} {more}".strip()
    row = _row(text, error.sqlstate or "")
    if row is None:
        return SourceError(
            Reason.CONNECTION_REFUSED,
            f"The server at {place.server} refused the connection or the query.",
            detail=_shortened(text),
            hint=_SET_URL.format(secret=place.secret),
        )
    return _fault(row, text, place)


def dump_fault(finished: Finished, place: Place) -> WorkerError:
    """Why pg_dump or pg_dumpall ended with an error, from its stderr."""
    row = _row(finished.stderr, "")
    if row is not None:
        return _fault(row, finished.stderr, place)
    ended = f"signal {-finished.exit_code}" if finished.exit_code < 0 else f"exit code {finished.exit_code}"
    return DumpIncomplete(
        f"{finished.program} ended with {ended}.",
        detail=_shortened(finished.stderr) or "It said nothing.",
        hint="Look at the worker's log and the server's log at that time.",
    )


def denied_object(text: str) -> str:
    """What a permission error names (`table app.users`), or nothing."""
    found = re.search(r"permission denied for (\w[\w ]*) (\S+)", text) or re.search(r"policy for (table) (\S+)", text)
    return f"{found[1]} {found[2]}" if found else ""


def _row(text: str, state: str) -> _Row | None:
    by_state = next((row for row in _TABLE if state and state in row.states and not _is_special(text, row)), None)
    return by_state or next((row for row in _TABLE if row.text and re.search(row.text, text, re.IGNORECASE)), None)


def _is_special(text: str, row: _Row) -> bool:
    """Whether the text says more than the SQLSTATE: 42501 is also row security and a refused database."""
    earlier = _TABLE[: _TABLE.index(row)]
    return any(each.reason is row.reason and re.search(each.text, text, re.IGNORECASE) for each in earlier)


def _fault(row: _Row, text: str, place: Place) -> SourceError:
    names = {
        "server": place.server,
        "host": place.host,
        "database": place.database,
        "user": place.user,
        "secret": place.secret,
    }
    message, hint = row.message.format(**names), row.hint.format(**names)
    if row.reason is Reason.PERMISSION_DENIED and (denied := denied_object(text)):
        message = f"{message.removesuffix('.')}: {denied}."
    if place.is_supabase_direct and row.reason in (Reason.NETWORK_UNREACHABLE, Reason.NAME_NOT_RESOLVED):
        hint = (
            "Supabase's direct host has an IPv6 address only. Use the session pooler, port 5432: copy its URL from the "
            f"dashboard (Connect, Session pooler) into {place.secret}."
        )
    return SourceError(row.reason, message, detail=_shortened(text), hint=hint)


def _shortened(text: str) -> str:
    """The last lines of the text, at most 500 characters, on one line."""
    line = re.sub(r"\s*\n\s*", " | ", _PASSWORD_FILE.sub("", text).strip())
    return line if len(line) <= _DETAIL_LIMIT else "…" + line[-_DETAIL_LIMIT:]

"""Room `worker.sources`: turns what goes wrong at a Redis server into our errors; called by redis and redis_sync.

Every message names the place, never the password; the hint is the next command to type.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from backup_operator.contract.order import SecretFile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.sources.redis_wire import CONNECT_SECONDS, ErrorReply, NotRedis, ServerClosed

LEAST_COMMANDS = "+ping +info +replconf +sync"
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_IN_A_POD = "Look from inside the cluster: kubectl run -it --rm --restart=Never --image=busybox look --"
_EXPIRED, _NOT_YET_VALID = 10, 9
_NAME_MISMATCHES = (62, 64)
"""Verification results of OpenSSL. Source: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/"""
_NAME_A_CERTIFICATE = (
    "Name a client certificate that the server's CA has signed, and its key, in source.redis.tls.certSecretRef and "
    "keySecretRef."
)
_MANAGED = (
    "Managed servers often refuse SYNC or rename it: ask the provider for an RDB export. "
    "On an own server: look for rename-command SYNC in redis.conf."
)
_SIGNS: dict[str, tuple[Reason, str, str]] = {
    "denied ": (Reason.AUTHENTICATION_FAILED, "is in protected mode: it answers local clients only", "CONFIG GET bind"),
    "loading ": (Reason.SERVER_LOADING, "is still loading its data set", "INFO persistence"),
    "busy ": (Reason.SERVER_NOT_READY, "is busy running a script", "SCRIPT KILL"),
    "nomasterlink ": (Reason.SERVER_NOT_READY, "is a replica without a link to its master", "INFO replication"),
    "masterdown ": (Reason.SERVER_NOT_READY, "is a replica without a link to its master", "INFO replication"),
    "misconf ": (Reason.SNAPSHOT_FAILED, "could not make its snapshot", "INFO persistence"),
    "max number of clients": (Reason.TOO_MANY_CONNECTIONS, "has no free connection", "CONFIG GET maxclients"),
    "bgsave": (Reason.SNAPSHOT_FAILED, "could not make its snapshot", "INFO persistence"),
    "unknown command": (Reason.SYNC_FORBIDDEN, "does not offer a command that SYNC needs", ""),
    "sync": (Reason.SYNC_FORBIDDEN, "refuses SYNC", ""),
}
"""By the words of an error reply: the reason, what the server does, and the command to look further with."""


@contextmanager
def told_apart(url: RedisUrl, secret: SecretFile, doing: str) -> Iterator[None]:
    """Turns every fault of the connection inside into a SourceError; `doing` says in which step, as in `during …`."""
    faults = Faults(url, secret, doing)
    try:
        yield
    except ErrorReply as exc:
        raise faults.of_reply(exc) from exc
    except NotRedis as exc:
        raise faults.of_answer(exc) from exc
    except ssl.SSLEOFError as exc:
        raise faults.of_connection(ServerClosed("the server closed the TLS connection")) from exc
    except ssl.SSLError as exc:
        raise faults.of_tls(exc) from exc
    except OSError as exc:
        raise faults.of_connection(exc) from exc


class Faults:
    """Names the faults of one connection."""

    def __init__(self, url: RedisUrl, secret: SecretFile, doing: str) -> None:
        self._url = url
        self._secret = secret
        self._doing = doing

    def of_connection(self, exc: OSError) -> SourceError:
        """The error for a connection that could not be made or broke."""
        place, host = self._url.place, self._url.host
        if isinstance(exc, socket.gaierror):
            return self._fault(
                Reason.NAME_NOT_RESOLVED, f"the host name {host} is unknown", exc, f"{_IN_A_POD} nslookup {host}"
            )
        if isinstance(exc, ServerClosed | ConnectionResetError | BrokenPipeError):
            return self._fault(
                Reason.CONNECTION_LOST,
                f"{place} closed the connection during {self._doing}",
                exc,
                self._look_at_the_log(),
            )
        if isinstance(exc, ConnectionRefusedError):
            return self._fault(Reason.CONNECTION_REFUSED, f"{place} refuses connections", exc, self._ping())
        if isinstance(exc, TimeoutError):
            return self._fault(
                Reason.CONNECTION_TIMED_OUT, f"{place} did not answer in time during {self._doing}", exc, self._ping()
            )
        if exc.errno in _UNREACHABLE:
            knock = f"{_IN_A_POD} nc -zv {host} {self._url.port}"
            return self._fault(Reason.NETWORK_UNREACHABLE, f"there is no way to {place}", exc, knock)
        return self._fault(
            Reason.CONNECTION_LOST, f"the connection to {place} broke during {self._doing}", exc, self._ping()
        )

    def of_host_name(self) -> SourceError:
        """The error for a host name that no DNS server can know."""
        host = self._url.host
        return SourceError(
            Reason.NAME_NOT_RESOLVED, f"{host} is no host name", hint=f"Correct the host in {self._secret.described}."
        )

    def of_tls(self, exc: ssl.SSLError) -> SourceError:
        """The error for TLS that could not be agreed."""
        look = f"openssl s_client -connect {self._url.place} </dev/null"
        if isinstance(exc, ssl.SSLCertVerificationError):
            return SourceError(
                Reason.TLS_FAILED,
                self._of_certificate(exc),
                detail=exc.verify_message,
                hint=self._certificate_hint(exc),
            )
        if "CERTIFICATE_REQUIRED" in str(exc) or "HANDSHAKE_FAILURE" in str(exc):
            asks = f"{self._url.place} asks for a client certificate, or a cipher, that it did not get"
            return self._fault(Reason.TLS_FAILED, asks, exc, _NAME_A_CERTIFICATE)
        if "UNKNOWN_CA" in str(exc) or "ALERT_BAD_CERTIFICATE" in str(exc):
            refuses = f"{self._url.place} does not accept our client certificate"
            return self._fault(Reason.TLS_FAILED, refuses, exc, _NAME_A_CERTIFICATE)
        return self._fault(Reason.TLS_FAILED, f"TLS with {self._url.place} failed", exc, look)

    def speaks_no_tls(self) -> SourceError:
        """The error for `rediss://` to a server that speaks plain Redis."""
        return SourceError(
            Reason.TLS_FAILED,
            f"{self._url.place} speaks no TLS on this port, and the URL begins with rediss://",
            hint=f"Write redis:// into {self._secret.described}, or the port that the server's tls-port names.",
        )

    def wants_tls(self) -> SourceError:
        """The error for `redis://` to a server that speaks TLS."""
        return SourceError(
            Reason.TLS_FAILED,
            f"{self._url.place} wants TLS, and the URL begins with redis://",
            hint=f"Write rediss:// into {self._secret.described}.",
        )

    def of_answer(self, exc: NotRedis) -> SourceError:
        """The error for an answer that is not in Redis's protocol."""
        return SourceError(
            Reason.CONNECTION_LOST,
            f"what answers at {self._url.place} is no Redis server, or its answer was cut",
            detail=str(exc),
            hint=self._ping(),
        )

    def of_reply(self, reply: ErrorReply) -> SourceError:
        """The error for an error reply of the server; its words are the detail."""
        reason, message, hint = self._judge(reply)
        return SourceError(reason, message, detail=f"The server says: {reply}", hint=hint)

    def _judge(self, reply: ErrorReply) -> tuple[Reason, str, str]:
        """Reason, message and hint."""
        words = str(reply).lower()
        if reply.code == "NOPERM":
            return self._of_permission()
        for sign, (reason, what, look) in _SIGNS.items():
            if words.startswith(sign) if sign.endswith(" ") else sign in words:
                return reason, f"{self._url.place} {what}", f"{self._cli()} {look}" if look else _MANAGED
        if reply.code in ("WRONGPASS", "NOAUTH") or "auth" in words or "invalid password" in words:
            return Reason.AUTHENTICATION_FAILED, self._of_password(reply), self._password_hint()
        return Reason.CONNECTION_LOST, f"{self._url.place} answered with an error to {self._doing}", self._ping()

    def _of_permission(self) -> tuple[Reason, str, str]:
        user = self._url.username or "default"
        reason = Reason.SYNC_FORBIDDEN if "SYNC" in self._doing else Reason.PERMISSION_DENIED
        return (
            reason,
            f"the user {user} lacks a permission at {self._url.place} for {self._doing}",
            f"redis-cli ACL SETUSER {user} {LEAST_COMMANDS}",
        )

    def _of_password(self, reply: ErrorReply) -> str:
        place = self._url.place
        if reply.code == "NOAUTH":
            return f"{place} asks for a password, and the URL holds none"
        if "without any password" in str(reply) or "no password is set" in str(reply):
            return f"the URL holds a password, and {place} has none for the user {self._url.username or 'default'}"
        return f"{place} refuses the password of the user {self._url.username or 'default'}"

    def _of_certificate(self, exc: ssl.SSLCertVerificationError) -> str:
        place = self._url.place
        if exc.verify_code in (_EXPIRED, _NOT_YET_VALID):
            return f"the certificate of {place} has expired or is not valid yet"
        if exc.verify_code in _NAME_MISMATCHES:
            return f"the certificate of {place} is not for the name {self._url.host}"
        return f"the certificate of {place} is not signed by a CA that is trusted here"

    def _certificate_hint(self, exc: ssl.SSLCertVerificationError) -> str:
        show = f"openssl s_client -connect {self._url.place} </dev/null | openssl x509 -noout "
        if exc.verify_code in (_EXPIRED, _NOT_YET_VALID):
            return show + "-dates"
        if exc.verify_code in _NAME_MISMATCHES:
            return show + "-ext subjectAltName"
        return "Put the CA's certificate into a Secret and name it in source.redis.tls.caSecretRef."

    def _password_hint(self) -> str:
        return (
            f"Look at {self._secret.described}; special characters of a password are percent-encoded in a URL. "
            f"Try it: {self._cli()} --askpass PING"
        )

    def _cli(self) -> str:
        tls = " --tls" if self._url.uses_tls else ""
        user = f" --user {self._url.username}" if self._url.username else ""
        return f"redis-cli -h {self._url.host} -p {self._url.port}{tls}{user}"

    def _ping(self) -> str:
        return f"{self._cli()} PING (waits {CONNECT_SECONDS:.0f} s at most here)"

    def _look_at_the_log(self) -> str:
        return f"{self._cli()} INFO persistence, and the server's log"

    def _fault(self, reason: Reason, message: str, exc: OSError, hint: str) -> SourceError:
        return SourceError(reason, message, detail=exc.strerror or str(exc), hint=hint)

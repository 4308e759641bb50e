"""Room `worker.sources`: enters a Redis server and reads what it says of itself; called by redis."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from backup_operator.contract.order import SecretFile
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.redis_faults import Faults, told_apart
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis, RedisWire, ServerClosed, connect


@dataclass(frozen=True)
class RedisDoor:
    """How to enter one server: its URL, the Secret that the URL is from, and TLS where the URL asks for it."""

    url: RedisUrl
    secret: SecretFile
    context: ssl.SSLContext | None

    def enter(self) -> RedisWire:
        """An authenticated connection that answered a PING. Raises: SourceError."""
        wire = self._connect()
        try:
            self._greet(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    def read_info(self, wire: RedisWire) -> Mapping[str, str]:
        """The fields of INFO. Raises: SourceError."""
        with told_apart(self.url, self.secret, "INFO"):
            lines = wire.command("INFO").decode(errors="replace").splitlines()
        fields = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
        return {name: value for name, _, value in fields}

    def database_exists(self, wire: RedisWire) -> bool:
        """Whether the server has the URL's database number; taken for granted where the user may not ask."""
        try:
            wire.command("SELECT", str(self.url.database))
        except ErrorReply as exc:
            return "out of range" not in str(exc) and "invalid DB index" not in str(exc)
        return True

    def _connect(self) -> RedisWire:
        with told_apart(self.url, self.secret, "the start"):
            try:
                return connect(self.url, self.context)
            except (ssl.SSLError, TimeoutError, ConnectionResetError) as exc:
                if self.context is not None and not _is_about_certificates(exc) and _speaks_plain_redis(self.url):
                    raise self._faults().speaks_no_tls() from exc
                raise
            except ValueError as exc:
                # a label that is empty or longer than 63 letters, in the words of Python's idna and ssl
                raise self._faults().of_host_name() from exc

    def _greet(self, wire: RedisWire) -> None:
        with told_apart(self.url, self.secret, "AUTH and PING"):
            try:
                self._authenticate(wire)
                wire.command("PING")
            except (NotRedis, ServerClosed, ConnectionResetError, BrokenPipeError) as exc:
                if self.context is None and _speaks_tls(self.url):
                    raise self._faults().wants_tls() from exc
                raise

    def _authenticate(self, wire: RedisWire) -> None:
        name, password = self.url.username, self.url.password
        if password is None:
            return
        try:
            _send_password(wire, *((name, password) if name else (password,)))
        except ErrorReply as exc:
            # before Redis 6 there is one user without a name, and AUTH takes the password alone
            if not (name and "wrong number of arguments" in str(exc)):
                raise
            _send_password(wire, password)

    def _faults(self) -> Faults:
        return Faults(self.url, self.secret, "the start")


def read_info_of(door: RedisDoor) -> Mapping[str, str]:
    """INFO, read over a connection of its own. Raises: SourceError."""
    with door.enter() as wire:
        return door.read_info(wire)


def snapshot_has_failed(door: RedisDoor) -> bool:
    """Whether the server says that its last snapshot failed; false too where it cannot be asked."""
    try:
        return read_info_of(door).get("rdb_last_bgsave_status") == "err"
    except SourceError:
        return False


def _send_password(wire: RedisWire, *words: str) -> None:
    """AUTH; an error reply to it loses what it repeats of the command, which servers that lack AUTH do."""
    try:
        wire.command("AUTH", *words)
    except ErrorReply as exc:
        rest = str(exc).removeprefix(exc.code).partition(", with args")[0]
        raise ErrorReply(exc.code + (rest.replace(words[-1], "…") if words[-1] else rest)) from None


def _is_about_certificates(exc: OSError) -> bool:
    return isinstance(exc, ssl.SSLCertVerificationError) or "ALERT" in str(exc)


def _speaks_plain_redis(url: RedisUrl) -> bool:
    try:
        with connect(url, None) as wire:
            wire.command("PING")
    except ErrorReply:
        return True
    except (OSError, NotRedis):
        return False
    return True


def _speaks_tls(url: RedisUrl) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only whether it answers in TLS: nothing is sent
    try:
        connect(url, context).close()
    except ssl.SSLError as exc:
        return "ALERT" in str(exc)
    except OSError:
        return False
    return True

"""Room `worker.sources`: one connection to a Redis server, commands and replies; called by redis and redis_sync.

Six commands and a raw stream are all that a backup needs, so this is the protocol itself (RESP2): the `redis` library
takes 38 MiB of memory to import, more than half of what the worker may use, and hides the socket that SYNC needs.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import socket
import ssl
from types import TracebackType
from typing import Self

from backup_operator.worker.sources.redis_url import RedisUrl

CONNECT_SECONDS = 10.0
REPLY_SECONDS = 30.0
_RECEIVE_BYTES = 1 << 18
_LONGEST_LINE_BYTES = 64 * 1024


class ErrorReply(Exception):
    """The server answered with an error; its words begin with a code such as `NOAUTH`."""

    @property
    def code(self) -> str:
        """The first word, for example `NOPERM`, or `ERR`."""
        return str(self).partition(" ")[0]


class NotRedis(Exception):
    """What answers does not speak Redis's protocol; `found` is how its answer begins."""

    def __init__(self, found: bytes) -> None:
        super().__init__(f"the answer begins with {found[:16]!r}")
        self.found = found


class ServerClosed(ConnectionError):
    """The server closed the connection."""


class RedisWire:
    """A connection, a context manager. Every method raises OSError, ssl.SSLError or ServerClosed when it breaks."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""

    def command(self, *words: str) -> bytes:
        """The reply to a command, without its envelope. Raises: ErrorReply, NotRedis."""
        self.send(*words)
        return self.reply()

    def send(self, *words: str) -> None:
        """Send a command without waiting for its reply."""
        encoded = [word.encode() for word in words]
        lines = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        try:
            self._socket.sendall(b"".join(lines))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.reply()  # raises what the server said before it closed: an error reply, or a TLS alert
            raise

    def reply(self) -> bytes:
        """The next reply: a line or a bulk string. Raises: ErrorReply, NotRedis."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise ErrorReply(rest.decode(errors="replace"))
        if kind in (b"+", b":"):
            return rest
        if kind == b"$" and rest.isdigit() and len(rest) < 10:
            return self._exactly(int(rest) + 2)[:-2]
        raise NotRedis(line)

    def line(self) -> bytes:
        """The next line without its end; empty for a lone newline. Raises: NotRedis when none ends."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_LINE_BYTES or self._buffer[:2] == b"\x15\x03":
                raise NotRedis(self._buffer)
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def some(self, at_most: int = _RECEIVE_BYTES) -> bytes:
        """The next bytes of the raw stream, at least one."""
        if self._buffer:
            there, self._buffer = self._buffer[:at_most], self._buffer[at_most:]
            return there
        return self._receive(at_most)

    def wait_at_most(self, seconds: float) -> None:
        """From now on a silence longer than this raises TimeoutError."""
        self._socket.settimeout(seconds)

    def hand_over(self) -> tuple[socket.socket, bytes]:
        """The socket, and what was received of it and not read: for a restore's pipeline, which goes on with both."""
        received, self._buffer = self._buffer, b""
        return self._socket, received

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _receive(self, at_most: int = _RECEIVE_BYTES) -> bytes:
        received = self._socket.recv(min(at_most, _RECEIVE_BYTES))
        if not received:
            raise ServerClosed("the server closed the connection")
        return received


def connect(url: RedisUrl, context: ssl.SSLContext | None) -> RedisWire:
    """A connection to the URL's host, with TLS where a context is given. Raises: OSError, ssl.SSLError."""
    plain = socket.create_connection((url.host, url.port), CONNECT_SECONDS)
    try:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected = plain if context is None else context.wrap_socket(plain, server_hostname=url.host)
    except BaseException:
        plain.close()
        raise
    connected.settimeout(REPLY_SECONDS)
    return RedisWire(connected)

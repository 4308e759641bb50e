"""Room `worker.targets`: commands pipelined into a Redis server, replies watched for errors; called by redis*.

Two ways through one socket: `stream` sends what is RESP already, as fast as the server takes it, and stops at the first
error; `ask` returns the replies. One thread does both directions: a TLS connection cannot be shared by two.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ and /develop/using-commands/pipelining/
"""

import re
import secrets
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis, ServerClosed

Piece = bytes | memoryview
Reply = bytes | int | None | ErrorReply | list["Reply"]
"""A reply as RESP2 knows it; an error inside an array is a value, like any other."""

SILENCE_SECONDS = 120.0
"""How long the server may neither take nor send a byte while something is under way."""
_SEND_BYTES = 1 << 18
_RECEIVE_BYTES = 1 << 18
_SIMPLE_LINES = re.compile(rb"(?:[+:][^\r\n]*\r\n)*")
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def encoded(*words: str | bytes | int) -> bytes:
    """A command as RESP."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)))


class Pipeline:
    """A connection, a context manager. Every method raises OSError, ssl.SSLError or ServerClosed when it breaks."""

    def __init__(
        self, connected: socket.socket, received: bytes = b"", *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._socket = connected
        self._socket.settimeout(0)
        self._received = bytearray(received)
        self._silence_seconds = silence_seconds
        self._poll = select.poll()

    def stream(self, pieces: Iterable[Piece], told: Callable[[int], None] = lambda _: None) -> None:
        """Send the pieces, and wait until the server has answered all of them; `told` gets each piece's size, sent.

        Raises: ErrorReply, the first that the server sends; nothing more is sent then.
        """
        errors = _FirstError(bytes(self._received))
        self._received.clear()
        for piece in pieces:
            self._send(piece, errors.look_at)
            told(len(piece))
        marker = secrets.token_hex(20).encode()
        self._send(encoded("PING", marker), errors.look_at)
        while not errors.tail.endswith(b"$40\r\n%b\r\n" % marker):
            errors.look_at(self._receive())

    def ask(self, pieces: Iterable[Piece], replies: int) -> list[Reply]:
        """Send the pieces and return that many replies; errors among them are returned, not raised."""
        for piece in pieces:
            self._send(piece, self._received.extend)
        reader = _ReplyReader(self._received, self._receive)
        return reader.read_many(replies)

    def call(self, *words: str | bytes | int) -> Reply:
        """The reply to one command. Raises: ErrorReply."""
        reply = self.ask([encoded(*words)], 1)[0]
        if isinstance(reply, ErrorReply):
            raise reply
        return reply

    def end(self, within_seconds: float = 10.0) -> None:
        """Say that nothing more comes, and wait until the server has done with what it got; for counting afterwards."""
        try:
            self._socket.settimeout(within_seconds)
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_RECEIVE_BYTES):
                pass
        except OSError:
            return  # it is gone already, and so is what it did not take
        finally:
            self.close()

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, piece: Piece, take: Callable[[bytes], object]) -> None:
        """Send the whole piece, taking what arrives meanwhile, so that neither side's buffers fill up."""
        view = memoryview(piece)
        while view:
            try:
                view = view[self._socket.send(view[:_SEND_BYTES]) :]
            except _WOULD_BLOCK:
                self._wait(select.POLLIN | select.POLLOUT)
            except (BrokenPipeError, ConnectionResetError):
                self._take_last_words(take)
                raise
            self._take_what_is_there(take)

    def _take_what_is_there(self, take: Callable[[bytes], object]) -> None:
        try:
            received = self._socket.recv(_RECEIVE_BYTES)
        except _WOULD_BLOCK:
            return
        if not received:
            raise ServerClosed("the server closed the connection")
        take(received)

    def _take_last_words(self, take: Callable[[bytes], object]) -> None:
        """What the server said before it closed: an error reply tells more than a broken pipe."""
        try:
            while received := self._socket.recv(_RECEIVE_BYTES):
                take(received)
        except OSError:
            return

    def _receive(self) -> bytes:
        while True:
            try:
                received = self._socket.recv(_RECEIVE_BYTES)
            except _WOULD_BLOCK:
                self._wait(select.POLLIN)
                continue
            if not received:
                raise ServerClosed("the server closed the connection")
            return received

    def _wait(self, events: int) -> None:
        self._poll.register(self._socket, events)
        if not self._poll.poll(self._silence_seconds * 1000):
            raise TimeoutError(f"the server was silent for {self._silence_seconds:.0f} s")


class _FirstError:
    """Looks for an error among replies that are not needed themselves.

    No reply to a command of an append-only file holds a line that begins with `-` in any other way: they are statuses,
    numbers, stream ids and library names.
    """

    _TAIL_BYTES = 64

    def __init__(self, before: bytes) -> None:
        self.tail = b"\n"
        self._error = b""
        if before:
            self.look_at(before)

    def look_at(self, received: bytes) -> None:
        """Take the next bytes. Raises: ErrorReply."""
        whole = self.tail + received
        start = 0 if self._error else whole.find(b"\n-", max(0, len(self.tail) - 1))
        if start >= 0:
            self._raise_when_whole(whole[start + 1 :] if not self._error else received)
        self.tail = whole[-self._TAIL_BYTES :]

    def _raise_when_whole(self, more: bytes) -> None:
        self._error += more
        line, end, _ = self._error.partition(b"\r\n")
        if end:
            raise ErrorReply(line[1:].decode(errors="replace"))


class _ReplyReader:
    """Reads replies out of a buffer that grows by `receive`, and takes them off it."""

    def __init__(self, buffer: bytearray, receive: Callable[[], bytes]) -> None:
        self._buffer = buffer
        self._receive = receive

    def read_many(self, count: int) -> list[Reply]:
        """The next replies; statuses and numbers, of which a merge gets millions, are taken many at a time."""
        replies: list[Reply] = []
        while len(replies) < count:
            lines = self._simple_lines(count - len(replies))
            if lines:
                replies += [int(line[1:]) if line[:1] == b":" else line[1:] for line in lines]
            else:
                replies.append(self.read())
        return replies

    def _simple_lines(self, at_most: int) -> list[bytes]:
        run = _SIMPLE_LINES.match(self._buffer)
        *lines, rest = (run.group() if run else b"").split(b"\r\n", at_most)
        if run:
            del self._buffer[: run.end() - len(rest)]
        return lines

    def read(self) -> Reply:
        """The next reply. Raises: NotRedis."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ErrorReply(rest.decode(errors="replace"))
        if kind not in (b":", b"$", b"*"):
            raise NotRedis(line)
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        return self._bulk(number) if kind == b"$" else self.read_many(number)

    def _line(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\r\n", start)) < 0:
            start = max(0, len(self._buffer) - 1)
            self._buffer += self._receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _bulk(self, size: int) -> bytes:
        while len(self._buffer) < size + 2:
            self._buffer += self._receive()
        text = bytes(self._buffer[:size])
        del self._buffer[: size + 2]
        return text

"""Room `tests.integration.redis`: a TCP server that plays a Redis server in trouble."""

import socket
from collections.abc import Callable

from tests.support.tcp_server import TcpServer

INFO = (
    b"redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nloading:0\r\nused_memory:1000\r\n"
    b"db0:keys=1,expires=0\r\n"
)
_Answer = bytes | Callable[[socket.socket], None] | None


class FakeRedis(TcpServer):
    """Answers PING, INFO, REPLCONF as a healthy server does; `answers` overrides, by the command's name.

    An answer is the raw bytes to send; None closes the connection; a function is given the connection.
    """

    def __init__(self, **answers: _Answer) -> None:
        self._answers: dict[str, _Answer] = {
            "PING": b"+PONG\r\n",
            "INFO": bulk(INFO),
            "REPLCONF": b"+OK\r\n",
            **answers,
        }
        super().__init__(self._talk)
        self.url = f"redis://127.0.0.1:{self.port}"

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while (line := lines.readline()).startswith(b"*"):
                count = int(line[1:])
                words = [self._word(lines) for _ in range(count)]
                answer = self._answers.get(words[0], b"-ERR unknown command '%s'\r\n" % words[0].encode())
                if answer is None:
                    return
                if not isinstance(answer, bytes):
                    answer(connection)
                    return
                connection.sendall(answer)

    @staticmethod
    def _word(lines) -> str:
        length = int(lines.readline()[1:])
        return str(lines.read(length + 2)[:-2], "utf-8")


def bulk(content: bytes) -> bytes:
    """A bulk string reply."""
    return b"$%d\r\n%s\r\n" % (len(content), content)


def sent_and_closed(*pieces: bytes) -> Callable[[socket.socket], None]:
    """An answer in pieces, after which the connection is closed."""

    def send(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)

    return send

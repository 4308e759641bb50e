"""Room `tests.support`: a TCP server on 127.0.0.1, each connection in a thread; fakes and relays are made of it."""

import socket
import threading
from collections.abc import Callable
from typing import Self


class TcpServer:
    """Accepts connections while it is entered, and hands each to `serve`, which closes it."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the thread; a close alone would leave it waiting on a number that the next socket gets
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()


class CuttingRelay(TcpServer):
    """Passes bytes on; a connection whose client has sent `cut_after_bytes` is closed, after `at_the_cut` is called."""

    def __init__(self, port: int, cut_after_bytes: int, at_the_cut: Callable[[], None] = lambda: None) -> None:
        super().__init__(self._relay)
        self._target = ("127.0.0.1", port)
        self._left = cut_after_bytes
        self._at_the_cut = at_the_cut
        self.url = f"redis://127.0.0.1:{self.port}"

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        sent = 0
        while chunk := _received(client):
            sent += len(chunk)
            if not _passed(server, chunk):
                break
            if sent >= self._left:
                self._at_the_cut()
                break
        # the server reads what it was sent to its end; a reset would throw away what it has not read yet
        _shut(server, socket.SHUT_WR)
        _shut(client)


def _copy(source: socket.socket, destination: socket.socket) -> None:
    while chunk := _received(source):
        if not _passed(destination, chunk):
            return
    _shut(destination)


def _passed(destination: socket.socket, chunk: bytes) -> bool:
    try:
        destination.sendall(chunk)
    except OSError:
        return False
    return True


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _shut(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        end.shutdown(how)
    except OSError:
        return

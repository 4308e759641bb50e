"""Room `tests.integration.targets.redis`: a TCP relay to a server that breaks one connection after so many bytes."""

import socket
import threading
from collections.abc import Callable
from typing import Self


class CuttingRelay:
    """Passes bytes on; a connection whose client has sent `cut_after_bytes` is closed, after `at_the_cut` is called."""

    def __init__(self, port: int, cut_after_bytes: int, at_the_cut: Callable[[], None] = lambda: None) -> None:
        self._target = ("127.0.0.1", port)
        self._left = cut_after_bytes
        self._at_the_cut = at_the_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._serving.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
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

"""The answer to the decisive statement is lost on the way: the server is looked at again, and what is said is true."""

import socket
import threading

import pytest

from tests.integration.targets.postgres.conftest import PLAIN, Side, assert_equal
from tests.integration.targets.postgres.killing import behind


class Mute:
    """Passes on to a server, until one connection has sent COMMIT behind a rename: its answer never comes back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._decisive = behind(b"COMMIT", after=b" rename to ")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lost = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # wakes the thread, which a close alone would leave accepting
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            muted = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, muted), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, muted), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        while chunk := _received(client):
            if not self.lost.is_set() and self._decisive(0, chunk) is not None:
                muted.set()
                self.lost.set()
            server.sendall(chunk)
        server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, muted: threading.Event) -> None:
        while chunk := _received(server):
            if muted.is_set():
                # only now, when it has committed: a client that is cut off before cancels what it cannot wait for
                client.shutdown(socket.SHUT_RDWR)
                return
            try:
                client.sendall(chunk)
            except OSError:
                return


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


@pytest.mark.parametrize("strategy", ["NewDatabase", "SwapDatabase"])
def test_a_lost_answer_to_commit_is_no_failure(server15, everything, restorer, strategy):
    source = everything(server15)
    backup = source.dump(PLAIN)
    server15.execute(f"create database {source.database}_copy template {source.database}")
    server15.execute("delete from users", source.database)
    made = f"{source.database}_new" if strategy == "NewDatabase" else source.database
    confirm = "" if strategy == "NewDatabase" else source.database

    with Mute(server15.port) as relay:
        url = server15.url(source.database).replace(f":{server15.port}/", f":{relay.port}/")
        done = restorer.restore(url, [backup], strategy=strategy, database=made, confirm=confirm)

    assert relay.lost.is_set()
    assert any("The answer to COMMIT was lost" in note for note in done.applied.notes)
    assert_equal(Side(server15, f"{source.database}_copy"), Side(server15, made))
    assert server15.rows(f"select 1 from pg_database where datname ~ '^{made}_restoring'") == []

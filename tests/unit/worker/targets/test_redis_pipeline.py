"""Replies of a pipeline, wherever they are cut."""

import socket
import threading

import pytest

from backup_operator.worker.sources.redis_wire import ErrorReply, NotRedis, ServerClosed
from backup_operator.worker.targets.redis_pipeline import Pipeline, encoded


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Pipeline(ours, silence_seconds=10), theirs


def answer_in_pieces(theirs: socket.socket, reply: bytes) -> threading.Thread:
    """Sends the reply byte by byte, and the marker's echo once it was asked for."""

    def answer() -> None:
        try:
            for number in range(len(reply)):
                theirs.sendall(reply[number : number + 1])
        except OSError:  # the test has ended at the first error already
            return
        received = b""
        while not (received.endswith(b"\r\n") and b"PING" in received):
            try:
                received += theirs.recv(65536)
            except OSError:  # the test has ended: it was not to be asked
                return
        theirs.sendall(received[received.rindex(b"$40\r\n") :])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


def test_a_stream_ends_with_the_reply_to_its_last_command(ends):
    pipeline, theirs = ends
    sizes: list[int] = []
    thread = answer_in_pieces(theirs, b"+OK\r\n:-1\r\n$3\r\n1-1\r\n*1\r\n$3\r\n2-2\r\n")

    commands = [encoded("SET", "a", "b"), encoded("XADD", "s", "1-1", "a", "b")]

    pipeline.stream(commands, sizes.append)

    thread.join()
    assert sizes == [len(command) for command in commands]


@pytest.mark.parametrize("before", [b"", b"+OK\r\n", b":-1\r\n"])
def test_the_first_error_of_a_stream_is_raised_wherever_it_is_cut(ends, before):
    pipeline, theirs = ends
    answer_in_pieces(theirs, before + b"-OOM command not allowed\r\n-ERR another\r\n")

    with pytest.raises(ErrorReply, match=r"^OOM command not allowed$"):
        pipeline.stream([encoded("SET", "a", "b")])


def test_an_error_that_came_before_the_stream_is_not_lost():
    ours, theirs = socket.socketpair()
    with theirs, Pipeline(ours, b"-READONLY no\r\n") as pipeline, pytest.raises(ErrorReply, match="READONLY no"):
        pipeline.stream([])


def test_a_connection_that_closes_in_a_stream_is_an_error(ends):
    pipeline, theirs = ends
    theirs.sendall(b"+OK\r\n")
    theirs.shutdown(socket.SHUT_WR)

    with pytest.raises(ServerClosed):
        pipeline.stream([encoded("SET", "a", "b")])


def test_a_server_that_says_nothing_is_given_up():
    ours, theirs = socket.socketpair()
    with theirs, Pipeline(ours, silence_seconds=0.01) as pipeline, pytest.raises(TimeoutError):
        pipeline.stream([encoded("SET", "a", "b")])


def test_replies_of_every_kind_are_read(ends):
    pipeline, theirs = ends
    theirs.sendall(b"+OK\r\n:12\r\n$-1\r\n$2\r\n\r\n\r\n*-1\r\n*3\r\n:1\r\n$0\r\n\r\n-ERR no\r\n*0\r\n")

    *plain, nested, nothing = pipeline.ask([b""], 7)

    assert plain == [b"OK", 12, None, b"\r\n", None]
    assert isinstance(nested, list)
    assert nested[:2] == [1, b""]
    assert str(nested[2]) == "ERR no"
    assert nothing == []


def test_an_error_reply_to_a_call_is_raised(ends):
    pipeline, theirs = ends
    theirs.sendall(b"-NOPERM no\r\n")

    with pytest.raises(ErrorReply, match="NOPERM no"):
        pipeline.call("SET", "a", b"\xff")


def test_what_is_no_reply_is_refused(ends):
    pipeline, theirs = ends
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n")

    with pytest.raises(NotRedis):
        pipeline.call("PING")

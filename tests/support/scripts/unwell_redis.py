"""Plays Redis servers in trouble, one a port; runs in a pod of the end-to-end tests, with nothing but Python."""

import socketserver
import threading

INFO = (
    b"redis_version:7.0.15\r\nredis_mode:%s\r\nrole:master\r\nloading:0\r\nused_memory:1000\r\ndb0:keys=1,expires=0\r\n"
)
WELL = {b"PING": b"+PONG\r\n", b"REPLCONF": b"+OK\r\n"}


def bulk(content: bytes) -> bytes:
    """A bulk string reply."""
    return b"$%d\r\n%s\r\n" % (len(content), content)


def sync(answer: bytes) -> dict[bytes, bytes]:
    """A server that is well until it is asked for a snapshot."""
    return {**WELL, b"INFO": bulk(INFO % b"standalone"), b"SYNC": answer}


TROUBLES: dict[int, dict[bytes, bytes]] = {
    7001: sync(b"-LOADING Redis is loading the dataset in memory\r\n"),
    7002: sync(b"-MISCONF Redis is configured to save RDB snapshots\r\n"),
    7003: sync(b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"),
    7004: sync(b"-NOPERM this user has no permissions to run the 'sync' command\r\n"),
    7005: {**WELL, b"INFO": bulk(INFO % b"cluster")},
    7006: sync(b"$100\r\nREDIS0011" + b"x" * 91),
    7007: sync(b"$27\r\nREDIS9999\xfa\x05hello\x05world\xff" + b"\x00" * 5),
}
SILENT_PORT = 7008


class Unwell(socketserver.StreamRequestHandler):
    """Answers each command as its port has it."""

    def handle(self) -> None:
        """Until the client goes away."""
        _, port = self.request.getsockname()
        troubles = TROUBLES.get(port, {})
        while (line := self.rfile.readline()).startswith(b"*"):
            words = [self.word() for _ in range(int(line[1:]))]
            self.wfile.write(troubles.get(words[0].upper(), b"-ERR unknown command\r\n"))
        while self.rfile.read(1):
            pass

    def word(self) -> bytes:
        """The next one of a command."""
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


class Server(socketserver.ThreadingTCPServer):
    """Takes a port and many clients."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    servers = [Server(("0.0.0.0", port), Unwell) for port in (*TROUBLES, SILENT_PORT)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

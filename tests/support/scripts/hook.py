"""A webhook that prints what it is sent, a line each; runs in a pod of the end-to-end tests. Argument: its port."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_GET(self) -> None:
        """A heartbeat."""
        self._take()

    def do_POST(self) -> None:
        """A notice."""
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(self.command, self.path, body.decode().replace("\n", " "), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing more."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Hook).serve_forever()

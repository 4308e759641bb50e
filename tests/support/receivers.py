"""Room `tests.support`: a webhook and a mail server on 127.0.0.1 that can be down; what notices are sent to."""

import base64
import json
import socketserver
import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Self

from tests.support.ports import free_port

PATIENCE = "rto=60&cto=60"
"""Apprise waits 4 s for an answer, which a machine that does much else may need to run our thread."""


@dataclass(frozen=True)
class Received:
    """A notice as it arrived."""

    title: str
    body: str


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, handler: type[socketserver.BaseRequestHandler], receiver: "Receiver") -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", port), handler)


class Receiver:
    """Listens while it is up, on the same port each time; `answer` is what it says to a notice."""

    handler: ClassVar[type[socketserver.BaseRequestHandler]]
    accepts: ClassVar[int]

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.asked = 0
        """How often somebody came with a notice, whether it was taken or not."""
        self.answer = self.accepts
        self.refused_words = ""
        """A notice that holds these words is not taken."""
        self._server: _Server | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen."""
        self._server = _Server(self.port, self.handler, self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def titles(self) -> list[str]:
        """The subjects of what was taken, in order."""
        return [one.title for one in self.received]

    def take(self, notice: Received) -> int:
        """The answer to a notice."""
        self.asked += 1
        if self.refused_words and self.refused_words in notice.title:
            return 400
        if self.answer == self.accepts:
            self.received.append(notice)
        return self.answer


class _Post(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        said: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.receiver.take(Received(said["title"], said["message"])))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing on stderr."""


class Webhook(Receiver):
    """Takes what `json://` posts."""

    handler = _Post
    accepts = 200

    def url(self, path: str = "hook", user: str = "") -> str:
        """The Apprise URL, with a secret path."""
        return f"json://{f'{user}@' if user else ''}127.0.0.1:{self.port}/{path}?{PATIENCE}"


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self._say("220 mail.test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            if verb == "QUIT":
                return self._say("221 bye")
            self._say(self._answer(verb, line))
        return None

    def _answer(self, verb: str, line: str) -> str:
        mail = self.server.receiver
        assert isinstance(mail, MailServer)
        match verb:
            case "EHLO":
                return "250-mail.test\r\n250 AUTH PLAIN"
            case "AUTH":
                login = base64.b64decode(line.split(" ")[2]).split(b"\0")[1:]
                return "235 welcome" if login == [mail.user.encode(), mail.password.encode()] else "535 no"
            case "DATA":
                self._say("354 go on")
                return f"{mail.take(self._mail())} done"
            case _:
                return "250 fine"

    def _mail(self) -> Received:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        found = message_from_bytes(b"".join(lines), policy=policy.default)
        text = found.get_body(("plain", "html"))
        return Received(str(found["Subject"]), text.get_content() if text else "")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class MailServer(Receiver):
    """Takes mails of one user."""

    handler = _Session
    accepts = 250

    def __init__(self, user: str = "operator", password: str = "mail-Passw0rd") -> None:
        super().__init__()
        self.user, self.password = user, password

    def url(self) -> str:
        """The Apprise URL, with the password."""
        login = f"{self.user}:{self.password}"
        people = "from=backups@example.com&to=oncall@example.com"
        return f"mailto://{login}@127.0.0.1:{self.port}/?{people}&mode=insecure&format=text&{PATIENCE}"

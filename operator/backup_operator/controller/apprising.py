"""Room `controller`: the one place that reads notification URLs and speaks to their targets; used by `notifier`.

Apprise does the talking. It logs URLs, and so does urllib3 below it: both are silenced for good before the first URL
is read, and of what Apprise says about a failure only words of our own come out. Apprise is imported with the first
notice: it takes 20 MB and most of a second, and most installations have no routes.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backup_operator.rules.notice_words import Letter

if TYPE_CHECKING:
    from apprise import Apprise

_APPRISE = "apprise"
_TALKATIVE = ("urllib3", "requests", "requests_oauthlib", "oauthlib", "charset_normalizer")
_SAYS_NOTHING = logging.CRITICAL + 10

_WHY: tuple[tuple[str, str], ...] = (
    (r"certificate verify failed|CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    (r"Failed to resolve|Name or service not known|No address associated|Temporary failure in name", "no such host"),
    (r"Connection refused", "connection refused"),
    (r"[Tt]imed out|Read timeout|status.*TIMEOUT", "no answer in time"),
    (r"Network is unreachable|No route to host", "no route to the host"),
    (r"Connection (reset|aborted)|RemoteDisconnected|Connection unexpectedly closed", "the connection was cut"),
    (r"[Aa]uthentication|\(535,", "the login was refused"),
)
_HTTP_STATUS = re.compile(r"error=([1-5][0-9]{2})\b")
_SMTP_STATUS = re.compile(r"\(([45][0-9]{2}), b")


_PAUSE_SECONDS = 1.0
"""Between two notices to one target, at most: Apprise leaves 5.5 s to most, and nothing is lost if one refuses."""


class NotSent(Exception):
    """A target has not accepted a notice; the text says why and holds nothing of the URL."""


@dataclass
class Talker:
    """Sends letters to the targets of a directory, which is a mounted Secret: one file a target, with its URL."""

    directory: Path
    _senders: "dict[str, tuple[str, Apprise]]" = field(default_factory=dict)
    """By target, with the URL it was made of: a service that wants a pause between messages gets it from one object."""

    def url_of(self, target: str) -> str:
        """The URL as the Secret has it now; empty while it has none."""
        try:
            text = (self.directory / target).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1].strip() if quoted else text

    def send(self, target: str, url: str, letter: Letter) -> None:
        """Send it and wait for the answer, which may take a minute. Raises: NotSent."""
        result = self._sender(target, url).notify(
            title=letter.title,
            body=letter.body,
            notify_type=letter.mood.value,
            body_format="text",
            log_level=logging.DEBUG,
        )
        if not result:
            raise NotSent(_why([entry.message for entry in result.logs()]))

    def _sender(self, target: str, url: str) -> "Apprise":
        known, sender = self._senders.get(target, ("", None))
        if sender is None or known != url:
            sender = _made(url)
            self._senders[target] = (url, sender)
        return sender


def _made(url: str) -> "Apprise":
    if not url:
        raise NotSent("the Secret has no such key, or it is empty")
    if len(url.split()) > 1:
        raise NotSent("it holds more than one URL; give each a key and a route of its own")
    silence()
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="Backup Operator",
        app_desc="Backup Operator",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        # a POST that is answered with 302 becomes a GET, and its 200 says nothing about the notice
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    sender = Apprise(asset=asset)
    if not sender.add(url):
        raise NotSent("Apprise knows no such URL; see https://appriseit.com/services for how they are written")
    for service in sender:
        service.request_rate_per_sec = min(service.request_rate_per_sec, _PAUSE_SECONDS)
    return sender


def silence() -> None:
    """No word of the libraries below reaches a log, whatever level was asked for."""
    for name in (_APPRISE, *_TALKATIVE):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(_SAYS_NOTHING)
        logger.handlers = [logging.NullHandler()]
    # the result of a call is made of what this logger lets through: it goes there, and nowhere else
    logging.getLogger(_APPRISE).setLevel(logging.DEBUG)


def _why(said: list[str]) -> str:
    """The cause in words of ours; what was said itself may hold the URL."""
    text = "\n".join(said)
    answers: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
        (_HTTP_STATUS, lambda code: f"it answered with HTTP status {code}"),
        (_SMTP_STATUS, lambda code: f"it answered with SMTP code {code}"),
    )
    for pattern, words in answers:
        if found := pattern.search(text):
            return words(found.group(1))
    return next((words for pattern, words in _WHY if re.search(pattern, text)), "it did not accept the notice")

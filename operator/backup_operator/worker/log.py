"""Room `worker`: the log of a run, one line an event; set up by `worker.cli`, used by every engine part.

A line is `time level event key=value …`, or with BACKUP_LOG_FORMAT=json an object with the members `time`, `level`,
`event` and one for each field: a constant event, fields for the rest, never a secret. A backup tells five events, the
third and the fourth once for each artifact:

    source looked at    the server's version and other facts, whether the connection is encrypted
    run begun           run, store
    dump stored         file, bytes of the dump, stored_bytes, seconds
    artifact verified   file, bytes, rows or keys, seconds: read back from the volume, decrypted, and found whole
    backup complete     run, bytes, rows or keys, seconds: its entry is written, from here on it counts

Between them `progress` every few seconds, and `retention` for each run that it deletes. A run that fails ends with
`run failed`: reason, message, detail, hint, retry. A restore tells `step`, `check`, `counted` and `restore ended`.
"""

import json
import logging
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

PROGRESS = "progress"
"""The message of records that say how far a step is."""
LOG_FORMAT = "BACKUP_LOG_FORMAT"
"""The environment's variable: `human` (default) or `json`."""
_PLAIN_VALUE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+%,~")


class FieldFormatter(logging.Formatter):
    """Formats a record and its `fields` as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline at its end; a trace follows on lines of its own."""
        words = [_time_of(record), record.levelname, record.getMessage()]
        words += [f"{name}={_quoted(str(value))}" for name, value in _known_fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Formats a record and its `fields` as one JSON object on one line; a trace is the member `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, without a newline at its end."""
        head = {"time": _time_of(record), "level": record.levelname, "event": record.getMessage()}
        trace = {"trace": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps({**_known_fields(record), **trace, **head}, default=str)


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Shows how far a step is in one line that changes in place, and all else as lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a line of progress stays open until the next record."""
        words = self.format(record)
        if record.getMessage() == PROGRESS:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{words[:width]}")
        else:
            self.stream.write(f"\r\x1b[K{words}\n")
        self.flush()


def say(text: str) -> None:
    """Write an answer to stdout, below no half-finished line of progress."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
    sys.stdout.write(text)
    sys.stdout.flush()


def set_up_logging(environment: Mapping[str, str]) -> None:
    """Send INFO and above to stderr, in the format that is asked for. The libraries' own INFO lines are left out."""
    asked = environment.get(LOG_FORMAT, "")
    as_json = asked == "json"
    in_place = sys.stderr.isatty() and not as_json
    handler = TerminalHandler(sys.stderr) if in_place else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else FieldFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("backup_operator").setLevel(logging.INFO)
    if asked not in ("", "human", "json"):
        logging.getLogger(__name__).warning(f"{LOG_FORMAT} is neither human nor json", extra=fields(found=asked))


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra` of a logging call."""
    return {"fields": values}


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _known_fields(record: logging.LogRecord) -> dict[str, object]:
    known: dict[str, object] = getattr(record, "fields", {})
    return {name: value for name, value in known.items() if value not in ("", None)}


def _quoted(value: str) -> str:
    if value and set(value) <= _PLAIN_VALUE:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

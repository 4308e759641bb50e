"""Room `worker`: the log of a run, one line an event; set up by `worker.cli`, used by every engine part.

A line is `time level message key=value …`: a constant message, fields for the rest, never a secret.
"""

import logging
import shutil
import sys
from datetime import UTC, datetime
from typing import TextIO

PROGRESS = "progress"
"""The message of records that say how far a step is."""
_PLAIN_VALUE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+%,~")


class FieldFormatter(logging.Formatter):
    """Formats a record and its `fields` as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline at its end; a trace follows on lines of its own."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields: dict[str, object] = getattr(record, "fields", {})
        words = [time, record.levelname, record.getMessage()]
        words += [f"{name}={_quoted(str(value))}" for name, value in fields.items() if value not in ("", None)]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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


def set_up_logging() -> None:
    """Send INFO and above to stderr. The libraries' own INFO lines are left out."""
    handler = TerminalHandler(sys.stderr) if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("backup_operator").setLevel(logging.INFO)


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra` of a logging call."""
    return {"fields": values}


def _quoted(value: str) -> str:
    if value and set(value) <= _PLAIN_VALUE:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

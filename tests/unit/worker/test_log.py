"""The log: one line an event; on a terminal, progress is one line that changes in place."""

import io
import logging

from backup_operator.worker.log import FieldFormatter, TerminalHandler


def _record(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("backup_operator", logging.INFO, __file__, 1, message, (), None)
    record.created = 0
    record.fields = fields
    return record


def test_a_terminal_shows_progress_in_one_line_and_all_else_below_one_another():
    screen = io.StringIO()
    handler = TerminalHandler(screen)
    handler.setFormatter(FieldFormatter())

    for record in (_record("step", name="verify"), _record("progress", done="10%"), _record("progress", done="90%")):
        handler.emit(record)
    handler.emit(_record("opened", bytes=3))

    clear, time = "\r\x1b[K", "1970-01-01T00:00:00Z INFO"
    assert screen.getvalue() == (
        f"{clear}{time} step name=verify\n"
        f"{clear}{time} progress done=10%"
        f"{clear}{time} progress done=90%"
        f"{clear}{time} opened bytes=3\n"
    )

"""The log: one line an event; on a terminal, progress is one line that changes in place."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.log import FieldFormatter, JsonFormatter, TerminalHandler, set_up_logging


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


def test_json_is_one_object_a_line_with_numbers_as_numbers():
    record = _record("run failed", reason=Reason.STORAGE_FULL, bytes=12, none=None, empty="", path=Path("/b"), ok=False)

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00Z",
        "level": "INFO",
        "event": "run failed",
        "reason": "StorageFull",
        "bytes": 12,
        "path": "/b",
        "ok": False,
    }


def test_no_field_of_json_takes_the_place_of_time_level_and_event():
    told = json.loads(JsonFormatter().format(_record("run begun", time="x", level="y", event="z", run="\udcff\n")))

    assert (told["time"], told["level"], told["event"]) == ("1970-01-01T00:00:00Z", "INFO", "run begun")
    assert told["run"] == "\udcff\n"


def test_a_trace_is_a_member_of_json():
    record = _record("the worker failed")
    try:
        raise ValueError("odd")
    except ValueError:
        record.exc_info = sys.exc_info()

    trace = json.loads(JsonFormatter().format(record))["trace"]

    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: odd")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "INFO run begun run=a\n"),
        ({"BACKUP_LOG_FORMAT": "human"}, "INFO run begun run=a\n"),
        ({"BACKUP_LOG_FORMAT": "json"}, '"event": "run begun"}\n'),
        ({"BACKUP_LOG_FORMAT": "xml"}, "INFO run begun run=a\n"),
    ],
    ids=["unsaid", "human", "json", "unknown"],
)
def test_the_environment_says_in_which_format_is_logged(capsys, asked, said):
    before = logging.getLogger().handlers[:]
    try:
        set_up_logging(asked)
        logging.getLogger("backup_operator.x").info("run begun", extra={"fields": {"run": "a"}})
    finally:
        logging.getLogger().handlers[:] = before

    told = capsys.readouterr().err
    assert told.endswith(said)
    assert ("neither human nor json found=xml" in told) == (asked == {"BACKUP_LOG_FORMAT": "xml"})

"""What the log tells of a long step."""

import logging
from datetime import timedelta

from backup_operator.worker.log import FieldFormatter
from backup_operator.worker.progress import Progress


class _Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _lines(caplog) -> list[str]:
    return [FieldFormatter().format(record).split(" ", 1)[1] for record in caplog.records]


def test_progress_is_told_once_an_interval_with_bytes_rate_and_seconds(caplog):
    clock = _Clock()
    progress = Progress("dump", interval=timedelta(seconds=10), clock=clock)

    with caplog.at_level(logging.INFO):
        for _ in range(25):
            clock.seconds += 1
            progress.advance(2_000_000)

    assert _lines(caplog) == [
        "INFO progress step=dump bytes=20000000 rate=2.0MB/s seconds=10",
        "INFO progress step=dump bytes=40000000 rate=2.0MB/s seconds=20",
    ]
    assert progress.total_bytes == 50_000_000
    assert progress.elapsed_seconds() == 25


def test_rows_are_estimated_from_the_lines_of_a_dump(caplog):
    clock = _Clock()
    progress = Progress("dump", interval=timedelta(seconds=10), clock=clock)
    chunk = b"1\ttwo\tthree\n" * 1000

    def chunks():
        for _ in range(40):
            clock.seconds += 0.5
            yield chunk

    with caplog.at_level(logging.INFO):
        passed = sum(len(one) for one in progress.watch_lines(chunks()))

    assert passed == 40 * len(chunk)
    assert "rows=~19000 " in _lines(caplog)[0]
    assert len(_lines(caplog)) == 2


def test_values_with_spaces_quotes_and_newlines_stay_on_one_line():
    record = logging.LogRecord("x", logging.INFO, "", 0, "run failed", (), None)
    record.fields = {"why": 'no "x"\nhere', "empty": "", "count": 0}

    line = FieldFormatter().format(record)

    assert line.endswith('INFO run failed why="no \\"x\\"\\nhere" count=0')

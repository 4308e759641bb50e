"""Room `worker.checks`: compares what was found with what a check expects, in words; called by `checks.*`."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from backup_operator.contract.restore import CheckFound, CheckOrder

Value = str | int | float | Decimal | bool | date | None
"""What a server answers; a datetime is a date too."""

_FOUND_CHARACTERS = 200
_BOOLEANS = {"t": "true", "f": "false"}
"""How PostgreSQL writes them, and how everybody else does."""


def expected(check: CheckOrder) -> str:
    """What the check expects, in words."""
    if check.http_url:
        return f"status {check.http_status}"
    if check.equals is not None:
        return repr(check.equals)
    if check.newest_within is not None:
        return f"a time at most {_span(check.newest_within)} before the backup"
    return f"at least {check.minimum if check.minimum is not None else 1}"


def judged(check: CheckOrder, value: Value, backed_up_at: datetime | None, zone: tzinfo = UTC) -> CheckFound:
    """Whether the value holds. A time without a zone is taken in `zone`, a date as the end of its day."""
    if check.equals is not None:
        return found(check, _text(value), passed=value is not None and _same(_text(value), check.equals))
    if check.newest_within is not None:
        return _judged_time(check, value, backed_up_at, zone)
    number = _number(value)
    if number is None:
        return found(check, f"{_text(value)}, which is no number" if value is not None else "NULL", passed=False)
    return found(check, _text(value), passed=number >= (check.minimum if check.minimum is not None else 1))


def found(check: CheckOrder, words: str, *, passed: bool) -> CheckFound:
    """What a check found, in one short line."""
    line = " ".join(words.split())
    cut = line if len(line) <= _FOUND_CHARACTERS else line[: _FOUND_CHARACTERS - 1] + "…"
    return CheckFound(name=check.name, expected=expected(check), found=cut, passed=passed)


def _judged_time(check: CheckOrder, value: Value, backed_up_at: datetime | None, zone: tzinfo) -> CheckFound:
    if not isinstance(value, date):
        words = "NULL" if value is None else f"{_text(value)}, which is no time"
        return found(check, words, passed=False)
    if backed_up_at is None:
        return found(check, f"{value}, and it is not recorded when the backup was made", passed=False)
    age = timedelta(seconds=int((backed_up_at - _moment(value, zone)).total_seconds()))
    words = f"{value}, {_span(age)} before the backup" if age > timedelta() else f"{value}"
    return found(check, words, passed=age <= (check.newest_within or timedelta()))


def _moment(value: date, zone: tzinfo) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    return datetime.combine(value, time.max, zone)


def _same(text: str, wanted: str) -> bool:
    if text == wanted or _BOOLEANS.get(text, text) == wanted.lower():
        return True
    one, other = _number(text), _number(wanted)
    return one is not None and one == other


def _number(value: Value) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and not isinstance(value, date) else None


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "NULL" if value is None else str(value)


def _span(span: timedelta) -> str:
    """The span in its largest two units: `1d 2h`."""
    seconds = max(0, int(span.total_seconds()))
    units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")]
    parts = []
    for size, unit in units:
        count, seconds = divmod(seconds, size)
        parts += [f"{count}{unit}"] if count else []
    return " ".join(parts[:2]) or "0s"

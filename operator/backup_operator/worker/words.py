"""Room `worker`: sizes and times as a tired person reads them; used by `worker.restore_plan` and `worker.by_hand`."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


_PLAIN_YAML = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_OTHER_YAML = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def numbered(count: int, word: str) -> str:
    """`1 key`, `1,200 keys`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def as_yaml(text: str) -> str:
    """The text as YAML takes it for a string: quoted where it would be read as something else."""
    if _PLAIN_YAML.fullmatch(text) and text.lower() not in _OTHER_YAML:
        return text
    return "'" + text.replace("'", "''") + "'"


def size_in_words(size_bytes: int) -> str:
    """`1.2 GiB`."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def span_in_words(span: timedelta) -> str:
    """`3 hours 12 minutes`: the two largest units, rounded down; `less than a second` for the shortest."""
    left = int(span.total_seconds())
    words: list[str] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
        if len(words) == 2 or (words and not left):
            break
    return " ".join(words) or "less than a second"


def time_in_words(at: datetime) -> str:
    """`2023-12-01 02:00:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

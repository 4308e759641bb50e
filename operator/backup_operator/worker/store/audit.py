"""Room `worker.store`: the trail of what was done to a store, `audit.jsonl`; appended to by backup, restore, deletion.

Every line carries the SHA-256 of the line before it, so that a changed or removed line in the middle is found. Lines
cut off at the end cannot be found by the file alone; the entries still tell of their runs.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from backup_operator.rules.naming import AUDIT_NAME
from backup_operator.worker.store.directory import FILE_MODE, Store, write_all

_FIRST = "0" * 64
_TAIL_STEP_BYTES = 64 << 10
_NEWEST_BYTES = 1 << 20


@dataclass(frozen=True)
class AuditReading:
    """The whole lines of a trail, and what is wrong with it, in words; `faults` is empty for a sound one."""

    events: tuple[Mapping[str, JsonValue], ...]
    faults: tuple[str, ...]


def append(store: Store, event: Mapping[str, JsonValue]) -> str:
    """Add a line, on the volume when this returns.

    Who appends holds a lock on the file itself, so that a restore need not wait for the store's, which a backup may
    hold for hours.

    Returns: a warning where the line before was torn (a crash in the middle of a write), else "".
    Raises: StoreError.
    """
    with store.faults(f"writing {AUDIT_NAME}"):
        store.before_step(f"append to {AUDIT_NAME}")
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(AUDIT_NAME, flags, FILE_MODE, dir_fd=store.fileno())
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last, torn = _last_line(descriptor)
            write_all(descriptor, (b"\n" if torn else b"") + _line(event, last))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    store.sync_directory()
    return f"the last line of {AUDIT_NAME} was torn; it was kept and the trail goes on after it" if torn else ""


def verify_audit(store: Store) -> AuditReading:
    """Read the whole trail and check its chain. Raises: StoreError."""
    try:
        size_bytes = store.size_of(AUDIT_NAME) or 0
        content = store.read_file(AUDIT_NAME, size_bytes)
    except FileNotFoundError:
        return AuditReading((), ())
    return _check(content)


def newest_events(store: Store) -> tuple[Mapping[str, JsonValue], ...]:
    """The newest few thousand lines, newest first, their chain not checked. Raises: StoreError."""
    try:
        with store.open_file(AUDIT_NAME) as file, store.faults(f"reading {AUDIT_NAME}"):
            size_bytes = os.fstat(file.fileno()).st_size
            content = os.pread(file.fileno(), _NEWEST_BYTES, max(0, size_bytes - _NEWEST_BYTES))
    except FileNotFoundError:
        return ()
    # the first line of a part is a part of a line, and no JSON object
    return tuple(event for line in reversed(content.split(b"\n")) if (event := _event(line)) is not None)


def _check(content: bytes) -> AuditReading:
    events: list[Mapping[str, JsonValue]] = []
    faults: list[str] = []
    previous = _FIRST
    lines = content.split(b"\n")
    if lines.pop():
        faults.append(f"line {len(lines) + 1} is torn: it has no end")
    for number, line in enumerate(lines, start=1):
        event = _event(line)
        if event is None:
            faults.append(f"line {number} is torn: it is no JSON object")
        elif event.get("previous") != previous:
            faults.append(f"line {number} does not follow line {number - 1}: one of them was changed or removed")
        if event is not None:
            events.append(event)
        previous = _digest(line)
    return AuditReading(tuple(events), tuple(faults))


def _line(event: Mapping[str, JsonValue], last: bytes | None) -> bytes:
    previous = _FIRST if last is None else _digest(last)
    return json.dumps({**event, "previous": previous}).encode("ascii") + b"\n"


def _event(line: bytes) -> Mapping[str, JsonValue] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _last_line(descriptor: int) -> tuple[bytes | None, bool]:
    """The last line without its end, or None where there is none; and whether the end is missing."""
    end = os.fstat(descriptor).st_size
    start, tail = end, b""
    while start > 0 and tail.count(b"\n", 0, len(tail) - 1) == 0:
        start = max(0, start - _TAIL_STEP_BYTES)
        tail = os.pread(descriptor, end - start, start)
    if not tail:
        return None, False
    torn = not tail.endswith(b"\n")
    return tail.removesuffix(b"\n").rpartition(b"\n")[2], torn


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()

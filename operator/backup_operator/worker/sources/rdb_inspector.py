"""Room `worker.sources`: says whether an RDB is whole and readable, and what it holds; called by redis.

Three readers in one pass: the seal (header, end, CRC-64), our own walk that counts keys, and `redis-check-rdb`, which
builds every value as redis-server would and drops it again.
"""

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError, VerificationFailed
from backup_operator.worker.process import Finished, Program
from backup_operator.worker.sources.base import Contents, Inspector, KeyCount
from backup_operator.worker.sources.rdb_encoding import BrokenRdb
from backup_operator.worker.sources.rdb_reader import RdbReader, UnknownRecord
from backup_operator.worker.sources.rdb_seal import CHECKSUM_BYTES, EOF_OPCODE, RdbSeal

_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
_LINES_KEPT: Final = 40
_END_SECONDS: Final = 600
"""How long redis-check-rdb may take for what is left in its pipe after the last byte."""
_LEAVING_SECONDS: Final = 10
_KEYS_READ = re.compile(r"\[info\] (\d+) keys read")
_ALREADY_EXPIRED = re.compile(r"\[info\] (\d+) already expired")
_VERSION = re.compile(r"(?:v=| )(\d+\.\d+\.\d+)")
_BUILT_IN_SINCE: Final = {"vectorset": (8, 0)}
_NEWER_IMAGE = "Take a backup image whose redis-server is at least as new as the server, and of its kind."


class RdbCheck:
    """A running `redis-check-rdb` that is fed an RDB on its standard input."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._has_ended = False
        self._reading = threading.Thread(target=self._keep_last_lines, daemon=True)
        self._reading.start()

    def update(self, chunk: bytes) -> None:
        """Feed the next bytes; a program that has ended already is asked for its words in `finish`."""
        if self._has_ended:
            return
        try:
            self._program.feed(chunk)
        except BrokenPipeError:
            self._has_ended = True

    def finish(self) -> tuple[Finished, str]:
        """How the program ended, and its last lines. Raises: SourceError when it hangs."""
        self._program.end_of_input()
        self._reading.join(_END_SECONDS)
        if self._reading.is_alive():
            raise SourceError(Reason.INTERNAL_ERROR, f"redis-check-rdb did not end within {_END_SECONDS} s")
        return self._program.wait(), "\n".join(self._lines)

    def let_go(self) -> None:
        """End the program's input and wait for its last words, so that nobody reads from a pipe that is closed."""
        self._program.end_of_input()
        self._reading.join(_LEAVING_SECONDS)

    def _keep_last_lines(self) -> None:
        rest = b""
        for chunk in self._program.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            self._lines.extend(line.decode(errors="replace") for line in lines)
        self._lines.append(rest.decode(errors="replace"))


@contextmanager
def rdb_check(redis_check_rdb: str) -> Iterator[RdbCheck]:
    """A running redis-check-rdb. Raises: SourceError when the program is not there."""
    try:
        program = Program([redis_check_rdb, "/dev/stdin"], environment=_ENVIRONMENT, feeds_stdin=True)
    except OSError as exc:
        raise SourceError(
            Reason.INTERNAL_ERROR, f"{redis_check_rdb} cannot be started", detail=exc.strerror or ""
        ) from exc
    with program:
        check = RdbCheck(program)
        try:
            yield check
        finally:
            check.let_go()


def reader_version(redis_check_rdb: str) -> str:
    """The version of the image's redis-check-rdb, which is that of its redis-server. Raises: SourceError."""
    try:
        with Program([redis_check_rdb, "--version"], environment=_ENVIRONMENT) as program:
            words = b"".join(program.chunks()).decode(errors="replace")
            program.wait(_END_SECONDS)
    except OSError as exc:
        raise SourceError(
            Reason.INTERNAL_ERROR, f"{redis_check_rdb} cannot be started", detail=exc.strerror or ""
        ) from exc
    found = _VERSION.search(words)
    return found[1] if found else "unknown"


def require_readable_version(version: int, redis_check_rdb: str) -> None:
    """Look whether the image's redis-server reads this RDB version, before anything is dumped. Raises: SourceError."""
    with rdb_check(redis_check_rdb) as check:
        check.update(b"REDIS%04d" % version + bytes([EOF_OPCODE]) + bytes(CHECKSUM_BYTES))
        finished, lines = check.finish()
    if not finished.succeeded:
        raise _unreadable(version, reader_version(redis_check_rdb), lines)


class RdbInspector:
    """Reads one RDB from start to end."""

    def __init__(self, check: RdbCheck, checked_by: str) -> None:
        self._check = check
        self._checked_by = checked_by
        self._seal = RdbSeal()
        self._reader = RdbReader()
        self._broken = ""
        self._unknown = ""

    @property
    def counted(self) -> int:
        """Keys so far."""
        return sum(self._reader.structure.keys.values())

    def update(self, chunk: bytes) -> None:
        """Take the next bytes. Raises: DumpIncomplete or SourceError when they do not begin like an RDB."""
        self._seal.update(chunk)
        self._check.update(chunk)
        if self._broken or self._unknown:
            return
        try:
            self._reader.feed(chunk)
        except BrokenRdb as exc:
            self._broken = str(exc)
        except UnknownRecord as exc:
            self._unknown = str(exc)

    def finish(self) -> Contents:
        """What the RDB holds. Raises: DumpIncomplete when it is not whole; SourceError, VerificationFailed."""
        has_checksum = self._seal.verify()
        self._require_whole()
        finished, lines = self._check.finish()
        self._require_no_modules()
        if finished.exit_code < 0:
            raise SourceError(Reason.INTERNAL_ERROR, f"redis-check-rdb was ended by signal {-finished.exit_code}")
        if not finished.succeeded:
            raise _unreadable(self._seal.version, self._checked_by, lines)
        self._compare_counts(lines)
        return self._contents(lines, has_checksum=has_checksum)

    def _require_whole(self) -> None:
        if self._broken:
            raise DumpIncomplete("the dump is not a well-formed RDB", detail=self._broken)
        if not self._unknown and not self._reader.structure.whole:
            raise DumpIncomplete("the RDB ends before its end mark")

    def _require_no_modules(self) -> None:
        if modules := sorted(self._reader.structure.modules - _built_in(self._checked_by)):
            raise SourceError(
                Reason.MODULE_DATA_UNSUPPORTED,
                f"the RDB holds data of modules that the image's redis-server does not have: {', '.join(modules)}",
                detail=f"The image has redis-server {self._checked_by} without further modules.",
                hint="Take a backup image that loads these modules, or move their keys to another server.",
            )

    def _compare_counts(self, lines: str) -> None:
        found = _KEYS_READ.search(lines)
        if self._unknown or (found and int(found[1]) == self.counted):
            return
        raise VerificationFailed(
            "two readers count different keys in the same RDB",
            detail=f"redis-check-rdb says {found[1] if found else 'nothing'}, our own reader says {self.counted}.",
        )

    def _contents(self, lines: str, *, has_checksum: bool) -> Contents:
        structure = self._reader.structure
        expired = _ALREADY_EXPIRED.search(lines)
        details: dict[str, object] = {
            "rdbVersion": self._seal.version,
            "checksum": "CRC64" if has_checksum else "none",
            "checkedBy": f"redis-check-rdb {self._checked_by}",
            "functionLibraries": structure.functions,
            "alreadyExpired": int(expired[1]) if expired else 0,
        }
        if self._unknown:
            found = _KEYS_READ.search(lines)
            details |= {"uncounted": self._unknown, "allKeys": int(found[1]) if found else None}
            return Contents(details=details)
        keys = {number: KeyCount(count, structure.expiring[number]) for number, count in structure.keys.items()}
        return Contents(keys_per_database=keys, details=details)


@contextmanager
def rdb_inspector(redis_check_rdb: str) -> Iterator[Inspector]:
    """An inspector for one RDB; leaving it ends the program. Raises: SourceError when the program is not there."""
    checked_by = reader_version(redis_check_rdb)
    with rdb_check(redis_check_rdb) as check:
        yield RdbInspector(check, checked_by)


def _built_in(reader: str) -> set[str]:
    """Value types of the modules that are part of a redis-server of this version."""
    numbers = tuple(int(number) for number in reader.split(".") if number.isdigit())
    return {name for name, since in _BUILT_IN_SINCE.items() if numbers >= since}


def _unreadable(version: int | None, reader: str, lines: str) -> SourceError:
    return SourceError(
        Reason.MODULE_DATA_UNSUPPORTED,
        f"the image's redis-server {reader} cannot read this RDB (its version is {version})",
        detail=_error_in(lines),
        hint=_NEWER_IMAGE,
    )


def _error_in(lines: str) -> str:
    """What redis-check-rdb says is wrong: the line after its mark."""
    _, _, after = lines.partition("--- RDB ERROR DETECTED ---")
    return after.strip().partition("\n")[0]

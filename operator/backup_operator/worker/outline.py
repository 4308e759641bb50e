"""Room `worker`: what a plain dump holds but its rows, kept while it is verified; called by `worker.opening`.

A plan needs the statements of a dump and none of its rows. Keeping them from the pass that proves the file saves
reading all of it once more.
"""

from backup_operator.worker.errors import DumpIncomplete
from backup_operator.worker.targets.postgres_statements import (
    CopyBegin,
    Part,
    PsqlCommand,
    Statement,
    StatementReader,
)

LIMIT_BYTES = 8 << 20
"""Some 20,000 tables. Large objects or rows written as INSERT are more: such a dump is read again for its plan."""


class Outline:
    """Takes the bytes of a plain dump."""

    def __init__(self) -> None:
        self._reader = StatementReader()
        self._kept: list[bytes] = []
        self._room = LIMIT_BYTES

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; of a dump that is too large, or that cannot be read so, nothing is kept."""
        if self._room < 0:
            return
        try:
            for part in self._reader.update(chunk):
                self._keep(part)
        except DumpIncomplete:
            self._room = -1

    def finish(self) -> bytes | None:
        """The dump without its rows, which reads like it; None where it has to be read itself."""
        if self._room < 0:
            return None
        try:
            self._reader.finish()
        except DumpIncomplete:
            return None
        return b"".join(self._kept)

    def _keep(self, part: Part) -> None:
        match part:
            case Statement(text) | PsqlCommand(text):
                kept = text + b"\n"
            case CopyBegin(text, _):
                kept = text + b"\n\\.\n"
            case _:
                return
        self._room -= len(kept)
        if self._room >= 0:
            self._kept.append(kept)
        else:
            self._kept.clear()

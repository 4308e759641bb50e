"""Room `worker.sources`: takes statements out of a plain dump while it streams; called by `sources.postgres_dumps`.

Only whole statements at the top level are looked at, by their first line: never rows, strings or function bodies.
"""

import re
from collections.abc import Iterable, Iterator

from backup_operator.worker.sources.postgres_copy import PlainInspector


def without_statements(chunks: Iterable[bytes], unwanted: re.Pattern[bytes]) -> Iterator[bytes]:
    """The dump without the statements whose first line matches; all else is byte for byte as it was."""
    cutter = _Cutter(unwanted)
    for chunk in chunks:
        if kept := cutter.kept(chunk):
            yield kept
    if rest := cutter.rest:
        yield rest


class _Cutter(PlainInspector):
    def __init__(self, unwanted: re.Pattern[bytes]) -> None:
        super().__init__()
        self._unwanted = unwanted
        self._cut_from: int | None = None
        self._cuts: list[tuple[int, int]] = []

    @property
    def rest(self) -> bytes:
        """What is not decided yet."""
        return b"" if self._cut_from is not None else self._rest

    def kept(self, chunk: bytes) -> bytes:
        """What is decided by now and stays."""
        data = self._rest + chunk
        self._cuts = []
        self.update(chunk)
        cuts = self._cuts
        if self._cut_from is not None:
            cuts = [*cuts, (self._cut_from, self._position)]
            self._cut_from = 0
        pieces, position = [], 0
        for start, stop in cuts:
            pieces.append(data[position:start])
            position = stop
        pieces.append(data[position : self._position])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _enter(self, data: bytes, start: bytes) -> bool:
        if start[:2] in (b"--", b"/*") or start[:1] == b"\\" or start == b"COPY ":
            return super()._enter(data, start)
        line_end = data.find(b"\n", self._position)
        if line_end < 0:
            return False
        if self._unwanted.match(data, self._position, line_end):
            self._cut_from = self._position
        return super()._enter(data, start)

    def _token(self, data: bytes, token: bytes, end: int) -> bool:
        going_on = super()._token(data, token, end)
        if token == b";" and self._cut_from is not None:
            self._cuts.append((self._cut_from, self._position))
            self._cut_from = None
        return going_on

"""Room `worker.sources`: leaves one database of an RDB and what belongs to no database; called by redis_sync.

The header, auxiliary fields, functions and module data stay; keys of other databases go; the checksum is made anew.
"""

from collections.abc import Iterator

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import DumpIncomplete, SourceError
from backup_operator.worker.sources.rdb_encoding import BrokenRdb
from backup_operator.worker.sources.rdb_reader import RdbReader, UnknownRecord
from backup_operator.worker.sources.rdb_seal import CHECKSUM_BYTES, EOF_OPCODE, crc64


class RdbFilter:
    """Passes on the parts of a streamed RDB that belong to `database` or to none; holds a few bytes at most.

    Where nothing was left out and a record comes that the reader does not know, the rest is passed on unread when
    `others_are_empty` is said: the server told before that no other database holds keys.
    """

    def __init__(self, database: int, *, others_are_empty: bool) -> None:
        self._database = database
        self._others_are_empty = others_are_empty
        self._reader = RdbReader(self._begin_part)
        self._cuts: list[tuple[int, bool]] = []
        self._keeping = True
        self._left_out = False
        self._passing_unread = False
        self._unknown: UnknownRecord | None = None
        self._held = b""
        self._offset = 0
        self._crc = 0

    def update(self, chunk: bytes) -> Iterator[bytes]:
        """What stays of the next bytes. Raises: DumpIncomplete; SourceError for a header that is none."""
        if self._unknown:
            return
        if self._passing_unread:
            yield chunk
            return
        held = self._held + chunk
        try:
            self._reader.feed(chunk)
        except BrokenRdb as exc:
            raise DumpIncomplete("the dump is not a well-formed RDB", detail=str(exc)) from exc
        except UnknownRecord as exc:
            if self._may_pass_unread():
                self._passing_unread = True
                yield held
            else:
                self._unknown = exc
            return
        yield from self._cut(held, self._reader.consumed_bytes)

    def finish(self) -> Iterator[bytes]:
        """The end of the RDB. Raises: DumpIncomplete when its own end did not come; SourceError for an unknown record.

        The caller has verified the whole RDB's checksum before: what is unknown then is new, not broken.
        """
        if self._unknown:
            raise self._cannot_cut(self._unknown) from self._unknown
        if self._passing_unread:
            return
        if not self._reader.structure.whole:
            raise DumpIncomplete("the RDB ends before its end mark")
        end = bytes([EOF_OPCODE])
        yield end + crc64(end, self._crc).to_bytes(CHECKSUM_BYTES, "little")

    def _cannot_cut(self, unknown: UnknownRecord) -> SourceError:
        return SourceError(
            Reason.MODULE_DATA_UNSUPPORTED,
            f"database {self._database} cannot be cut out of the dump: it holds a record of an unknown kind",
            detail=f"{unknown} is newer than this worker.",
            hint="Take a newer backup image, or a URL without /N, which backs up every database.",
        )

    def _begin_part(self, offset: int, database: int | None) -> None:
        self._cuts.append((offset, database in (None, self._database)))

    def _cut(self, held: bytes, end: int) -> Iterator[bytes]:
        """The kept pieces of `held`, up to the offset `end` behind which nothing is decided yet."""
        start = self._offset
        for cut, keeps in self._cuts:
            yield from self._piece(held[self._offset - start : cut - start])
            self._offset, self._keeping = cut, keeps
        self._cuts.clear()
        yield from self._piece(held[self._offset - start : end - start])
        self._offset, self._held = end, held[end - start :]

    def _piece(self, piece: bytes) -> Iterator[bytes]:
        if not self._keeping:
            self._left_out = self._left_out or bool(piece)
        elif piece:
            self._crc = crc64(piece, self._crc)
            yield piece

    def _may_pass_unread(self) -> bool:
        leaves_out = self._left_out or not self._keeping or not all(keeps for _, keeps in self._cuts)
        return self._others_are_empty and not leaves_out

"""Room `worker.targets`: what is known of a Redis backup before it is loaded; called by redis and redis_survey."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.base import RestoredArtifact

_HEAD_BYTES: Final = 4096
_USED_MEMORY: Final = b"\x08used-mem"
_KINDS: Final = (ArtifactKind.REDIS_RDB, ArtifactKind.REDIS_AOF)
_INTEGERS: Final = {0xC0: 1, 0xC1: 2, 0xC2: 4}
"""Bytes of an integer by the byte before it. Source: https://github.com/redis/redis/blob/7.0/src/rdb.h"""


@dataclass(frozen=True)
class Backup:
    """What is known of the backup before it is loaded."""

    artifact: RestoredArtifact
    memory_bytes: int | None
    """What its data took in the source's memory."""

    @property
    def database(self) -> int | None:
        """The N of the `/N` that the source's URL had; None: every database, or no entry says."""
        found = self.artifact.server.get("database")
        return found if isinstance(found, int) else None

    def moves_to(self, url: RedisUrl) -> bool:
        """Whether the backup of one database goes into another one, because both URLs end in a number."""
        return None not in (self.database, url.database) and self.database != url.database

    def keys(self, url: RedisUrl) -> Mapping[int, int] | None:
        """Keys by the target's database number that the URL lets in; None where no entry counts them."""
        counted = self.artifact.keys_per_database
        if counted is None or url.database is None:
            return counted
        if self.moves_to(url):
            return {url.database: sum(counted.values())}
        return {number: keys for number, keys in counted.items() if number == url.database}


@dataclass(frozen=True)
class Loaded:
    """What a throw-away server says of the backup once it has loaded it."""

    keys: Mapping[int, int]
    """Keys by the backup's database."""
    expired: int
    """Keys of the backup that expired before they were loaded."""
    expected: Mapping[int, int]
    """Keys that are to be written, by the target's database."""
    data_bytes: int
    """Memory that those take."""
    libraries: tuple[str, ...] = ()
    """Names of the backup's function libraries."""
    left_out_bytes: int = 0
    """The end of an append-only file that is cut in the middle of a command."""
    seconds: float = 0.0


def redis_backup(artifacts: Sequence[RestoredArtifact]) -> Backup:
    """The one artifact that a Redis takes, looked into. Raises: TargetError; whatever opening it raises."""
    fitting = [artifact for artifact in artifacts if artifact.kind in _KINDS]
    if len(fitting) != 1:
        names = ", ".join(artifact.name for artifact in artifacts) or "nothing"
        raise TargetError(
            Reason.TARGET_UNSUITABLE,
            f"a Redis takes one RDB or append-only file, and the backup holds {names}",
            hint="Name a PostgreSQL target for a backup of PostgreSQL.",
        )
    artifact = fitting[0]
    used = memory_in(_head(artifact))
    return Backup(artifact, None if used is None else round(used * _share(artifact)))


def memory_in(head: bytes) -> int | None:
    """Bytes of memory that the server used when it wrote the RDB that begins like this; None where it does not say."""
    found = head.find(_USED_MEMORY)
    if found < 0:
        return None
    value = head[found + len(_USED_MEMORY) :]
    if value and (size := _INTEGERS.get(value[0])):
        return int.from_bytes(value[1 : 1 + size], "little")
    text = value[1 : 1 + value[0]] if value else b""
    return int(text) if text.isdigit() else None


def _head(artifact: RestoredArtifact) -> bytes:
    head = b""
    with artifact.open() as chunks:
        for chunk in chunks:
            head += chunk[:_HEAD_BYTES]
            if len(head) >= _HEAD_BYTES:
                break
    return head


def _share(artifact: RestoredArtifact) -> float:
    """Which part of the server's keys the backup holds: the figure of its memory is of all."""
    before = artifact.server.get("keysBefore")
    number = artifact.server.get("database")
    if not isinstance(number, int) or not isinstance(before, Mapping) or not sum(before.values()):
        return 1.0
    return float(before.get(str(number), 0)) / sum(before.values())

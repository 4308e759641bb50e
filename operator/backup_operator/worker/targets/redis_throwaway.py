"""Room `worker.targets`: a redis-server of our own that lives as long as one restore; called by redis.

It loads the RDB (or the append-only file of an old script), is cut down to what shall be restored, and writes it as
plain commands, which every Redis and Valkey takes. It listens on a unix socket in a directory of its own, 0700.
"""

import errno
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.process import Program
from backup_operator.worker.sources.redis_preflight import keys_by_database
from backup_operator.worker.sources.redis_wire import ErrorReply, ServerClosed
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.redis_pipeline import Pipeline, Reply, encoded
from backup_operator.worker.targets.scratch import free_bytes, within

UNTOUCHED: Final = "Nothing was written to the target."
DATABASES_WHEN_UNKNOWN: Final = 4096
"""Where no entry says which databases the backup holds; an empty one takes about 1 KiB."""
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
_SETTINGS: Final = """\
port 0
unixsocket socket
unixsocketperm 700
logfile log
save ""
appendonly {appendonly}
aof-use-rdb-preamble no
aof-load-truncated {truncated}
databases {databases}
hz 100
oom-score-adj absolute
oom-score-adj-values 500 500 500
"""
_AOF_NAME: Final = "appendonly.aof.1.base.aof"
_AOF_MARKS: Final = (b"aof-base\xc0\x01", b"aof-preamble\xc0\x01")
"""Auxiliary fields of an RDB that is the beginning of an append-only file, with the value 1."""
_POLL_SECONDS: Final = 0.01
_SILENCE_SECONDS: Final = 3600.0
_LOG_BYTES: Final = 16 * 1024
_EMPTY_KEYS: Final = re.compile(r"empty keys skipped: (\d+)")
_NEWER_SERVER: Final = "Take a backup image whose redis-server is at least as new as the server that was backed up."
_LOOK_AT_IT: Final = "Restore another backup; redis-check-rdb or redis-check-aof shows where the file breaks."
_MORE_SCRATCH: Final = (
    "Give the scratch directory more room; of a pod it is spec.job.scratchSize of another RestoreRequest."
)
_VECTOR_SETS: Final = (
    "Vector sets do this to Redis 8.0 to 8.2: name the other keys in keyPattern, and restore the vector sets by hand."
)
_COMPLAINTS: Final = (
    ("No space left", Reason.STORAGE_FULL, _MORE_SCRATCH),
    ("RDB format version", Reason.MODULE_DATA_UNSUPPORTED, _NEWER_SERVER),
    ("module", Reason.MODULE_DATA_UNSUPPORTED, "A restore over the network knows no modules; restore it by hand."),
    ("Unknown RDB encoding type", Reason.MODULE_DATA_UNSUPPORTED, _NEWER_SERVER),
    ("Unknown command", Reason.MODULE_DATA_UNSUPPORTED, _NEWER_SERVER),
    ("AOF rewrite terminated by signal", Reason.MODULE_DATA_UNSUPPORTED, _VECTOR_SETS),
)
"""Of what redis-server says when it cannot load a file: a sign, the reason, and what helps."""

_MOVE_MATCHING: Final = """
redis.call('SELECT', ARGV[1])
local cursor = '0'
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', ARGV[3], 'COUNT', 1000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do redis.call('MOVE', key, ARGV[2]) end
until cursor == '0'
redis.call('FLUSHDB')
redis.call('SWAPDB', ARGV[1], ARGV[2])
"""


class ThrowAwayServer:
    """A redis-server in a directory below `scratch`, a context manager: program and directory go when it is left."""

    def __init__(
        self, redis_server: str, scratch: Path, *, highest_database: int | None, scratch_bytes: int | None = None
    ) -> None:
        self._redis_server = redis_server
        self._scratch = scratch
        self._scratch_bytes = scratch_bytes
        self._databases = DATABASES_WHEN_UNKNOWN if highest_database is None else highest_database + 2
        self.spare_database = self._databases - 1
        self.directory = Path(tempfile.mkdtemp(prefix="restore-", dir=scratch))
        self.left_out_bytes = 0
        """The end of an append-only file that no entry describes, from the command on that is cut in the middle.

        A transaction that the command belongs to is not loaded either.
        """
        self._received_bytes = 0
        self._artifact: RestoredArtifact | None = None
        self._program: Program | None = None
        self._pipeline: Pipeline | None = None

    def load(self, artifact: RestoredArtifact) -> None:
        """Put the artifact's plaintext into the directory, start, and wait until all of it is loaded.

        Raises: TargetError; whatever reading the artifact raises.
        """
        self._artifact = artifact
        is_aof = self._receive(artifact)
        settings = _SETTINGS.format(
            appendonly="yes" if is_aof else "no",
            # a copy of a running server's file ends anywhere; of one that an entry describes we know that it is whole
            truncated="yes" if artifact.keys_per_database is None else "no",
            databases=self._databases,
        )
        (self.directory / "conf").write_text(settings)
        try:
            self._program = Program(
                _ending_with_us(self._redis_server, "conf"),
                environment=_ENVIRONMENT,
                reads_stdout=False,
                working_directory=self.directory,
            )
        except OSError as exc:
            raise TargetError(
                Reason.INTERNAL_ERROR, f"{self._redis_server} cannot be started", detail=f"{exc.strerror}. {UNTOUCHED}"
            ) from exc
        self._pipeline = self._connect(self._program)
        if is_aof:
            # the server cuts the file back to what it could load
            self.left_out_bytes = self._received_bytes - self._append_only_file.stat().st_size
        for plaintext in (self.directory / "dump.rdb", self._append_only_file):
            plaintext.unlink(missing_ok=True)

    def fields(self, section: str) -> Mapping[str, str]:
        """The fields of a section of INFO."""
        text = self._call("INFO", section)
        assert isinstance(text, bytes)
        pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines() if ":" in line)
        return {name: value for name, _, value in pairs}

    def keys(self) -> dict[int, int]:
        """Keys of every database that holds some, expired ones that are still held included."""
        return keys_by_database(self.fields("keyspace"))

    def loaded(self) -> tuple[dict[int, int], int]:
        """Keys of every database, and how many of the backup's keys are not among them because they have expired."""
        fields = self.fields("default")
        expired = int(fields.get("rdb_last_load_keys_expired", 0)) + int(fields.get("expired_keys", 0))
        # a hash whose fields have all expired is counted as an empty key, which is told in the log only
        skipped = _EMPTY_KEYS.search(self._log())
        return keys_by_database(fields), expired + (int(skipped[1]) if skipped else 0)

    def data_bytes(self) -> int:
        """The memory that the keys take."""
        memory = self.fields("memory")
        return max(0, int(memory["used_memory"]) - int(memory["used_memory_startup"]))

    def keep_database(self, database: int) -> None:
        """Drop the keys of every other database."""
        for other in set(self.keys()) - {database}:
            self._call("SELECT", other)
            self._call("FLUSHDB")

    def move_database(self, database: int, to: int) -> None:
        """Exchange the keys of two databases."""
        self._call("SWAPDB", database, to)

    def keep_matching(self, pattern: str) -> None:
        """Drop the keys that do not match the glob."""
        for database in self.keys():
            self._call("EVAL", _MOVE_MATCHING, 0, database, self.spare_database, pattern)

    def still_there(self, keys: Sequence[bytes], at_ms: int) -> int:
        """How many of these keys do not expire before that time, in milliseconds since 1970.

        They are of the database that `key_batches` goes through.
        """
        times = self._ask([encoded("PEXPIRETIME", key) for key in keys])
        return sum(time_ms == -1 or (isinstance(time_ms, int) and time_ms > at_ms) for time_ms in times)

    def key_batches(self, database: int) -> Iterator[list[bytes]]:
        """The names of the database's keys that have not expired, about a thousand at a time."""
        self._call("SELECT", database)
        cursor: object = b"0"
        while True:
            found = self._call("SCAN", cursor if isinstance(cursor, bytes) else b"0", "COUNT", 1000)
            assert isinstance(found, list)
            cursor, names = found
            assert isinstance(names, list)
            if names:
                yield [name for name in names if isinstance(name, bytes)]
            if cursor == b"0":
                return

    def write_commands(self) -> Path:
        """Everything it holds, in a file of plain commands. Raises: TargetError."""
        self._call("BGREWRITEAOF")
        while (state := self.fields("persistence")).get("aof_rewrite_in_progress") != "0" or (
            state.get("aof_rewrite_scheduled") == "1"
        ):
            self.require_room()
            time.sleep(_POLL_SECONDS)
        self.require_room()
        if state.get("aof_last_bgrewrite_status") != "ok":
            raise self._failed("could not write its keys as commands")
        manifest = (self.directory / "appendonlydir" / "appendonly.aof.manifest").read_text()
        name = next(line.split()[1] for line in manifest.splitlines() if line.endswith("type b"))
        return self.directory / "appendonlydir" / name

    def require_room(self, size_bytes: int = 0) -> None:
        """Raises: TargetError StorageFull when the scratch volume does not take so much more."""
        if self._artifact is not None and free_bytes(self._scratch, self._scratch_bytes) <= size_bytes:
            raise _no_room(self._artifact, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """End the server and remove its directory; may be called twice."""
        if self._pipeline is not None:
            self._pipeline.close()
        if self._program is not None:
            self._program.__exit__(None, None, None)
            self._program = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, artifact: RestoredArtifact) -> bool:
        """Write the plaintext to where the server looks for it; returns whether it is an append-only file."""
        path = self.directory / "plaintext"
        try:
            with artifact.open() as chunks, path.open("xb") as file:
                file.writelines(within(chunks, free_bytes(self._scratch, self._scratch_bytes)))
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _no_room(artifact, str(exc.strerror)) from exc
        with path.open("rb") as file:
            is_aof = artifact.kind is ArtifactKind.REDIS_AOF or _begins_like_an_aof(file.read(1024))
        self._received_bytes = path.stat().st_size
        if not is_aof:
            path.rename(self.directory / "dump.rdb")
            return False
        (self.directory / "appendonlydir").mkdir(mode=0o700)
        path.rename(self._append_only_file)
        manifest = self.directory / "appendonlydir" / "appendonly.aof.manifest"
        manifest.write_text(f"file {_AOF_NAME} seq 1 type b\n")
        return True

    @property
    def _append_only_file(self) -> Path:
        return self.directory / "appendonlydir" / _AOF_NAME

    def _connect(self, program: Program) -> Pipeline:
        """A connection to the server once it has loaded everything. Raises: TargetError when it ended instead."""
        while True:
            if _has_ended(program):
                raise self._failed("could not load the backup", program)
            try:
                return self._ready_connection()
            except (OSError, ErrorReply):
                time.sleep(_POLL_SECONDS)

    def _ready_connection(self) -> Pipeline:
        connected = socket.socket(socket.AF_UNIX)
        directory = os.open(self.directory, os.O_PATH)
        try:
            # by the open directory: a path of more than 107 bytes is no address
            connected.connect(f"/proc/self/fd/{directory}/socket")
            pipeline = Pipeline(connected, silence_seconds=_SILENCE_SECONDS)
            pipeline.call("PING")
        except BaseException:
            connected.close()
            raise
        finally:
            os.close(directory)
        return pipeline

    def _call(self, *words: str | bytes | int) -> object:
        reply = self._ask([encoded(*words)])[0]
        if isinstance(reply, ErrorReply):
            raise self._failed(f"answered to {words[0]!s}: {reply}") from reply
        return reply

    def _ask(self, commands: Sequence[bytes]) -> list[Reply]:
        """The replies to the commands, errors among them. Raises: TargetError when the server is gone."""
        assert self._pipeline is not None
        try:
            return self._pipeline.ask([b"".join(commands)], len(commands))
        except (ServerClosed, ConnectionError) as exc:
            raise self._failed("ended before its work was done", self._program) from exc

    def _failed(self, what: str, program: Program | None = None) -> TargetError:
        said = self._last_words()
        code = program.wait().exit_code if program is not None and _waits_to_be_reaped(program) else 0
        message = f"the throw-away redis-server {what}"
        if code == -9:
            return TargetError(
                Reason.OUT_OF_MEMORY,
                f"{message}: it was killed, most likely for its memory",
                detail=UNTOUCHED,
                hint="Give the restore's pod more memory: at least what the data takes at the source.",
            )
        return TargetError(_reason_of(said), message, detail=f"It says: {said} {UNTOUCHED}", hint=_hint_of(said))

    def _log(self) -> str:
        try:
            return (self.directory / "log").read_bytes()[-_LOG_BYTES:].decode(errors="replace")
        except OSError:
            return ""

    def _last_words(self) -> str:
        text = self._log()
        lines = [line for line in text.splitlines() if " # " in line] or text.splitlines()
        return " / ".join(line.partition(" # ")[2] or line for line in lines[-3:])


def _ending_with_us(program: str, *arguments: str) -> list[str]:
    """The command, to be killed with our process even when that is killed itself, where util-linux is there."""
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    return [*prefix, found, *arguments]


def _begins_like_an_aof(head: bytes) -> bool:
    return head[:1] in (b"*", b"#") or any(mark in head for mark in _AOF_MARKS)


def _has_ended(program: Program) -> bool:
    """Whether the program is over; it is not reaped, so that its exit code can still be asked for."""
    return os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _waits_to_be_reaped(program: Program) -> bool:
    # its socket closes a moment before it is over
    for _ in range(100):
        if _has_ended(program):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _no_room(artifact: RestoredArtifact, why: str) -> TargetError:
    return TargetError(
        Reason.STORAGE_FULL,
        "the pod's scratch space has no room for the backup",
        detail=f"{artifact.name} takes {artifact.plain_bytes} bytes, and its commands take more: {why}. {UNTOUCHED}",
        hint=_MORE_SCRATCH,
    )


def _reason_of(said: str) -> Reason:
    return next((reason for sign, reason, _ in _COMPLAINTS if sign in said), Reason.RESTORE_FAILED)


def _hint_of(said: str) -> str:
    return next((hint for sign, _, hint in _COMPLAINTS if sign in said), _LOOK_AT_IT)

"""Room `worker`: what a person types when the cluster is gone; called by `worker.cli`.

    backup-worker list   --store DIR --passphrase-file FILE
    backup-worker verify --store DIR --passphrase-file FILE [RUN …]
    backup-worker open   --store DIR --passphrase-file FILE RUN --output FILE
    backup-worker restore …                       see `worker.restore_by_hand`
    backup-worker prune …                         see `worker.prune_by_hand`

The first three only read the store. Answers go to stdout, all else to stderr; `--help` tells the exit codes.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.alarms import stopped_from_outside
from backup_operator.worker.errors import TargetError, WorkerError
from backup_operator.worker.keys import Keys, keys_for_reading
from backup_operator.worker.list_by_hand import read_shelf
from backup_operator.worker.log import fields, say
from backup_operator.worker.opening import OpenBackup, StoredArtifact, opened
from backup_operator.worker.progress import Progress
from backup_operator.worker.prune_by_hand import add_prune_options, prune_by_hand
from backup_operator.worker.restore_by_hand import (
    EXIT_CODES,
    LONGEST,
    RUN_HELP,
    HandExit,
    add_restore_options,
    passphrase_files,
    progress_interval,
    restore_by_hand,
    selection_of,
)
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.words import numbered
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)
_MANY_BYTES = 1 << 20


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add list, verify, open, restore and prune to the command line; each sets `act`."""
    verb = _verb(verbs, "list", "say what a store holds", "list --store /backups/prod/app-db --passphrase-file key")
    verb.add_argument("--json", action="store_true", help="as JSON, for a program")
    verb.set_defaults(act=_list)
    verb = _verb(verbs, "verify", "read backups to their last byte", "verify --store … --passphrase-file key latest")
    verb.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN_HELP} (default: every backup)")
    verb.add_argument("--json", action="store_true", help="one line of JSON for each, for a program")
    verb.set_defaults(act=_verify)
    example = "open --store … --passphrase-file key backup_20231201_020000 --output app.sql"
    verb = _verb(verbs, "open", "verify a backup, then write its plaintext", example)
    verb.add_argument("run", metavar="RUN", help=RUN_HELP)
    verb.add_argument("--artifact", help="file of the run to open (default: its first)")
    verb.add_argument("--output", type=Path, help="a new file (default: stdout)")
    verb.set_defaults(act=_open)
    example = "restore --store … --passphrase-file key latest --url-file url --dry-run"
    verb = _verb(verbs, "restore", "bring a backup back into a server", example)
    add_restore_options(verb)
    verb.set_defaults(act=_restore)
    example = "prune --store … --passphrase-file key --max-age 30d --keep-monthly 12"
    verb = _verb(verbs, "prune", "say which backups rules would keep and let go, and delete those", example)
    add_prune_options(verb)
    verb.set_defaults(act=_prune)


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, purpose: str, example: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=purpose,
        description=purpose,
        epilog=f"example:\n  backup-worker {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, required=True, help="directory of the store: where RECOVER.md lies")
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        required=True,
        action="append",
        help="file with the passphrase on its first line; once more for one of before a rotation",
    )
    return parser


@dataclass(frozen=True)
class _Desk:
    """An open store and its keys."""

    store: Store
    keys: Keys
    workplace: Workplace

    def progress(self, step: str, artifact: StoredArtifact) -> Progress:
        return Progress(step, interval=progress_interval(), clock=self.workplace.clock, of_bytes=artifact.plain_bytes)


def act_by_hand(arguments: argparse.Namespace, workplace: Workplace) -> HandExit:
    """Do what the person typed. Failures are told on stderr as message, detail, hint."""
    act: Callable[[argparse.Namespace, _Desk], HandExit] = arguments.act
    try:
        with stopped_from_outside(LONGEST, tried_again=False), _desk(arguments, workplace) as desk:
            return act(arguments, desk)
    except WorkerError as error:
        _tell(error)
        return HandExit.FAILED


@contextmanager
def _desk(arguments: argparse.Namespace, workplace: Workplace) -> Iterator[_Desk]:
    current, *previous = passphrase_files(arguments)
    keys = keys_for_reading(current, previous)
    for warning in keys.warnings:
        _LOG.warning(warning)
    directory: Path = arguments.store.absolute()
    with open_store(directory.parent, directory.name, described=str(directory), create=False) as store:
        yield _Desk(store, keys, workplace)


def _list(arguments: argparse.Namespace, desk: _Desk) -> HandExit:
    shelf = read_shelf(desk.store, desk.keys)
    say(shelf.json() if arguments.json else shelf.page())
    for warning in shelf.warnings():
        _LOG.warning(warning)
    return HandExit.DONE


def _verify(arguments: argparse.Namespace, desk: _Desk) -> HandExit:
    """Every named run, the others too when one is bad; the worst exit code."""
    runs = arguments.runs or [run.name for run in read_catalog(desk.store, desk.keys.entries).entries]
    if not runs:
        raise TargetError(Reason.BACKUP_NOT_FOUND, f"{desk.store.directory} holds no backup that can be opened")
    return max(_verify_run(run, desk, as_json=arguments.json) for run in runs)


def _verify_run(run: str, desk: _Desk, *, as_json: bool) -> HandExit:
    try:
        with opened(desk.store, desk.keys, selection_of(run)) as backup:
            for artifact in backup.artifacts:
                artifact.verify(desk.progress(f"verify {artifact.name}", artifact))
            told = {"name": backup.name, "good": True, **_found(backup)} if as_json else _good(backup)
    except WorkerError as error:
        bad = {"name": run, "good": False, "reason": str(error.reason), "message": error.message}
        say(json.dumps(bad) + "\n" if as_json else f"{run}: BAD: {error.message}\n")
        _tell(error)
        return HandExit.FAILED
    say((told if isinstance(told, str) else json.dumps(told)) + "\n")
    return HandExit.DONE


def _found(backup: OpenBackup) -> dict[str, object]:
    contents = [artifact.contents for artifact in backup.artifacts if artifact.contents]
    rows = [each.rows for each in contents if each.rows is not None]
    keys = [each.keys for each in contents if each.keys is not None]
    return {
        "rows": sum(rows) if rows else None,
        "keys": sum(keys) if keys else None,
        "stored_bytes": sum(artifact.proven.stored_bytes for artifact in backup.artifacts if artifact.proven),
        "recorded": backup.entry is not None,
    }


def _good(backup: OpenBackup) -> str:
    found = _found(backup)
    counts = ((found[f"{word}s"], word) for word in ("row", "key"))
    counted = next((numbered(count, word) for count, word in counts if isinstance(count, int)), "not counted")
    unrecorded = "" if found["recorded"] else ", unrecorded: nothing says what it should hold"
    return f"{backup.name}: good, {counted}, {found['stored_bytes']} bytes{unrecorded}"


def _open(arguments: argparse.Namespace, desk: _Desk) -> HandExit:
    if arguments.output is None and sys.stdout.isatty():
        raise TargetError(
            Reason.TARGET_UNSUITABLE, "a database does not go to a terminal", hint="Name a file with --output, or pipe."
        )
    with opened(desk.store, desk.keys, selection_of(arguments.run)) as backup:
        artifact = _named(backup.artifacts, arguments.artifact)
        artifact.verify(desk.progress(f"verify {artifact.name}", artifact))
        with _output(arguments.output) as output:
            _copy(artifact, output)
    where = arguments.output or "stdout"
    _LOG.info("opened", extra=fields(file=artifact.name, bytes=artifact.plain_bytes, to=where))
    return HandExit.DONE


def _restore(arguments: argparse.Namespace, desk: _Desk) -> HandExit:
    return restore_by_hand(arguments, desk.workplace)


def _prune(arguments: argparse.Namespace, desk: _Desk) -> HandExit:
    stopped = prune_by_hand(arguments, desk.store, desk.keys, desk.workplace)
    if stopped:
        _LOG.error("not all that goes was deleted; type it again", extra=fields(why=stopped))
    return HandExit.CHANGED if stopped else HandExit.DONE


def _named(artifacts: tuple[StoredArtifact, ...], name: str | None) -> StoredArtifact:
    found = next((artifact for artifact in artifacts if name in (None, artifact.name)), None)
    if found is None:
        there = ", ".join(artifact.name for artifact in artifacts)
        raise TargetError(Reason.BACKUP_NOT_FOUND, f"the run has no file {name}", detail=f"it has {there}")
    return found


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """Where the plaintext goes: stdout, or a new file that only its owner may read and that is there whole or not."""
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        hint = "Name a file that does not exist, in a directory that does."
        raise TargetError(Reason.TARGET_EXISTS, f"{path} cannot be made: {exc.strerror}", hint=hint) from exc
    try:
        with os.fdopen(descriptor, "wb", buffering=_MANY_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _copy(artifact: StoredArtifact, output: BinaryIO) -> None:
    try:
        with artifact.plaintext() as blocks:
            for block in blocks:
                output.write(block)
        output.flush()
    except BrokenPipeError as exc:
        # what is left in the buffer would be written, and refused, once more at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        raise TargetError(Reason.INTERRUPTED, "whoever reads the plaintext stopped before its end") from exc
    except OSError as exc:
        message = f"the plaintext could not be written: {exc.strerror}"
        raise TargetError(Reason.STORAGE_FULL, message, hint="See `df -h`, and name another --output.") from exc


def _tell(error: WorkerError) -> None:
    _LOG.error(error.message, extra=fields(reason=error.reason, detail=error.detail, hint=error.hint))

"""Room `worker`: which backup is meant by a name, a time, or `latest`; called by `worker.opening`.

A time or `latest` choose among verified runs of the series alone, and never fall back: where a newer one is locked by
a passphrase that we were not given, that is an error. Safety backups and files of the old scripts go by name only.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_operator.contract.restore import Selection
from backup_operator.rules.naming import (
    ENTRY_SUFFIX,
    INTENT_SUFFIX,
    TOMBSTONE_SUFFIX,
    FileRole,
    StoredForm,
    parse_artifact_name,
    parse_run_name,
    parse_stored_form,
    recognise,
    runs_of_safety_name,
    safety_name,
)
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.keys import Keys
from backup_operator.worker.store.catalog import CatalogReading, ListedRun, Refused, read_catalog, read_entry
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.faults import kubectl_beside
from backup_operator.worker.words import time_in_words

_NAMED_IN_MESSAGES = 3


@dataclass(frozen=True)
class Choice:
    """A run of this store or of its safety store, or a file that no entry tells of."""

    name: str
    """As people call it."""
    run: str = ""
    form: StoredForm | None = None
    """Of a file without an entry; `name` is the file's then."""
    notes: tuple[str, ...] = ()


def choose(store: Store, safety: Store | None, keys: Keys, selection: Selection) -> Choice:
    """What is meant. Raises: TargetError (BackupNotFound), KeyInvalid, VerificationFailed, StoreError."""
    if not selection.name:
        return _newest(store, keys, selection.before)
    name = selection.name
    if meant := runs_of_safety_name(name):
        found = next((run for run in meant if safety and safety.exists(run + ENTRY_SUFFIX)), None)
        if found is None:
            raise _not_found(f"the store holds no safety backup called {name}", store, _safety_names(safety))
        return Choice(name, found)
    if parse_run_name(name) and store.exists(name + ENTRY_SUFFIX):
        return Choice(name, name)
    form = parse_stored_form(name)
    if form is not None and store.size_of(name) is not None:
        return _file(store, name, form)
    raise _not_found(f"the store holds no backup called {name}", store, _names(store, keys))


def _file(store: Store, name: str, form: StoredForm) -> Choice:
    """A file by its own name: of a recorded run it stands for the run."""
    artifact = parse_artifact_name(name)
    run = str(artifact.run) if artifact else ""
    if run and store.exists(run + ENTRY_SUFFIX):
        return Choice(run, run)
    for suffix, what in ((INTENT_SUFFIX, "still being made"), (TOMBSTONE_SUFFIX, "being deleted")):
        if run and store.exists(run + suffix):
            raise TargetError(
                Reason.BACKUP_NOT_FOUND,
                f"{name} is no backup: its run {run} is {what}, or died over it",
                hint="Take another backup of the list.",
            )
    return Choice(name, form=form)


def _newest(store: Store, keys: Keys, before: datetime | None) -> Choice:
    if before is not None and before.tzinfo is None:
        before = before.replace(tzinfo=UTC)
    reading = read_catalog(store, keys.entries)
    found = next((run for run in reading.entries if run.verified and _is_in_time(run.started_at, before)), None)
    newer = [refusal for refusal in _refused_newest_first(reading) if _is_newer(refusal, found, before)]
    locked = next((refusal for refusal in newer if refusal.reason is Reason.KEY_INVALID), None)
    if locked is not None:
        # raises KeyInvalid, which tells the fingerprints: an older backup is not what was asked for
        read_entry(store, locked.name.removesuffix(ENTRY_SUFFIX), keys.entries)
    if found is None:
        wanted = f"verified backup begun at or before {time_in_words(before)}" if before else "verified backup"
        raise _not_found(f"the store holds no {wanted}", store, _names(store, keys))
    return Choice(found.name, found.name, notes=tuple(_passed_over(refusal) for refusal in newer))


def _is_in_time(at: datetime, before: datetime | None) -> bool:
    return before is None or at <= before


def _refused_newest_first(reading: CatalogReading) -> list[Refused]:
    refused = [refusal for refusal in (*reading.unreadable, *reading.damaged) if _second_of(refusal) is not None]
    return sorted(refused, key=lambda refusal: str(_second_of(refusal)), reverse=True)


def _is_newer(refusal: Refused, found: ListedRun | None, before: datetime | None) -> bool:
    at = _second_of(refusal)
    if at is None or not _is_in_time(at, before):
        return False
    return found is None or at > found.started_at


def _second_of(refusal: Refused) -> datetime | None:
    parsed = parse_run_name(refusal.name.removesuffix(ENTRY_SUFFIX))
    return parsed.at if parsed else None


def _passed_over(refusal: Refused) -> str:
    return f"{refusal.name} is newer, and is no backup to restore: {refusal.why}"


def _names(store: Store, keys: Keys) -> str:
    reading = read_catalog(store, keys.entries)
    files = [name for name in reading.old if parse_stored_form(name)]
    told = [_told(reading)]
    if files:
        told.append(f"files without an entry: {_some(sorted(files, reverse=True))}")
    return "; ".join(text for text in told if text)


def _told(reading: CatalogReading) -> str:
    if not reading.entries:
        return "; ".join(refusal.why for refusal in _refused_newest_first(reading)[:1])
    oldest = reading.entries[-1]
    newest, count = _some([run.name for run in reading.entries]), len(reading.entries)
    return (
        f"it holds {count} backup{'' if count == 1 else 's'}, the newest: {newest}; "
        f"the oldest is {oldest.name}, begun {time_in_words(oldest.started_at)}"
    )


def _safety_names(safety: Store | None) -> str:
    names = [] if safety is None else map(recognise, safety.names())
    runs = sorted((str(name.run) for name in names if name.role is FileRole.ENTRY), reverse=True)
    return f"safety backups there: {_some([safety_name(run) for run in runs])}" if runs else "it holds none"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_IN_MESSAGES} more" if len(names) > _NAMED_IN_MESSAGES else ""
    return ", ".join(names[:_NAMED_IN_MESSAGES]) + more


def _how_to_list(store: Store) -> str:
    """In a pod the store's path is nothing that a person could type; of a policy the status lists the newest."""
    if store.described == str(store.directory):
        return f"List them: backup-worker list --store {shlex.quote(store.described)} --passphrase-file FILE"
    get = f"{kubectl_beside(store.described)} get bp POLICY -o jsonpath="
    return f"The newest are listed by: {get}'{{range .status.backups[*]}}{{.name}} {{.time}}{{\"\\n\"}}{{end}}'"


def _not_found(message: str, store: Store, there: str) -> TargetError:
    return TargetError(
        Reason.BACKUP_NOT_FOUND,
        f"{message}; nothing was changed",
        detail=there,
        hint=_how_to_list(store),
    )

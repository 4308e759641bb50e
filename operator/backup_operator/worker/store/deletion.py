"""Room `worker.store`: removes a run, so that it can be cut anywhere; called by `worker.safety` and `worker.prune`.

    <run>.json -> <run>.json.deleting     from here on there is no such backup
    its artifacts, then the audit line, then the tombstone

All of it happens under the store's lock. A restore that reads the run holds it: then it is left, with a word why.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from backup_operator.rules.naming import (
    ENTRY_SUFFIX,
    TOMBSTONE_SUFFIX,
    FileRole,
    parse_artifact_name,
    recognise,
)
from backup_operator.worker.store import audit
from backup_operator.worker.store.catalog import ENTRY_LIMIT_BYTES
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.hold import taken_for_deletion


@dataclass(frozen=True)
class Deletion:
    """What became of a run that was to be deleted."""

    run: str
    removed: tuple[str, ...] = ()
    freed_bytes: int = 0
    kept_because: str = ""
    """Why it is still there; empty when it is gone."""


def delete_run(store: Store, run: str, event: Mapping[str, JsonValue]) -> Deletion:
    """Remove a run and tell the trail, with what `event` says of when, who and why. Needs the store's lock.

    Raises: StoreError; `finish_deletions` goes on from there.
    """
    try:
        with taken_for_deletion(store, run) as is_free:
            if not is_free:
                return Deletion(run, kept_because="a restore reads it")
            store.rename(run + ENTRY_SUFFIX, run + TOMBSTONE_SUFFIX)
            return _finish(store, run, event)
    except FileNotFoundError:
        return Deletion(run, kept_because="it has no entry")


def finish_deletions(store: Store, event: Mapping[str, JsonValue]) -> tuple[Deletion, ...]:
    """Go on where deletions were cut. Needs the store's lock. Raises: StoreError."""
    tombstones = sorted(str(name.run) for name in map(recognise, store.names()) if name.role is FileRole.TOMBSTONE)
    return tuple(_finish(store, run, {**event, "resumed": True}) for run in tombstones)


def _finish(store: Store, run: str, event: Mapping[str, JsonValue]) -> Deletion:
    removed: list[str] = []
    freed_bytes = 0
    for name in _artifacts(store, run):
        size_bytes = store.size_of(name) or 0
        if store.remove(name):
            removed.append(name)
            freed_bytes += size_bytes
    store.sync_directory()
    audit.append(store, {"event": "deletion", "run": run, "files": list(removed), "bytes": freed_bytes, **event})
    store.remove(run + TOMBSTONE_SUFFIX)
    store.sync_directory()
    return Deletion(run, tuple(removed), freed_bytes)


def _artifacts(store: Store, run: str) -> tuple[str, ...]:
    """The files that the tombstone, an entry once, lists; only those that are named after its run."""
    try:
        listed = json.loads(store.read_file(run + TOMBSTONE_SUFFIX, ENTRY_LIMIT_BYTES))["artifacts"]
        names = [str(artifact["name"]) for artifact in listed]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(name for name in names if (parsed := parse_artifact_name(name)) and str(parsed.run) == run)

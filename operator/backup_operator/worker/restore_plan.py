"""Room `worker`: what the worker itself says of a restore, before the target's lines, and the pin of it all.

Called by `worker.restore`. The pin stands for what an approval is about: the files by their SHA-256, and what the
target pins of itself. Rows, sessions, space and seconds change by themselves and are not in it.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from backup_operator.contract.restore import RestoreOrder
from backup_operator.vocabulary.choices import PostgresStrategy, SourceKind
from backup_operator.worker.errors import StoreError
from backup_operator.worker.opening import OpenBackup, StoredArtifact
from backup_operator.worker.store.audit import newest_events
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import Entry
from backup_operator.worker.targets.base import TargetPlan
from backup_operator.worker.words import numbered, size_in_words, span_in_words, time_in_words

SAFETY_BACKUP_KEPT = timedelta(days=7)
_LOAD_PER_DUMP = 2
"""Loading, with its indexes, mostly takes about twice as long as the dump took; a guess that is told as one."""


def plan_lines(backup: OpenBackup, store: Store, now: datetime, verified_seconds: float) -> tuple[str, ...]:
    """Sentences about the backup: which, how old, how large, opened with what, and how long it may take."""
    lines = [_which(backup, now), _contents(backup)]
    lines += [_file(artifact) for artifact in backup.artifacts]
    lines += [_key(backup), _expected(backup, store, verified_seconds)]
    lines += [f"{note}." for note in backup.notes]
    return tuple(line for line in lines if line)


def pin_of(plan: TargetPlan, backup: OpenBackup) -> str:
    """16 hexadecimal digits that stand for what is approved, then `:` and each part of it with six of its own."""
    files = {artifact.name: artifact.proven and artifact.proven.stored_sha256 for artifact in backup.artifacts}
    pinned = {**plan.pinned, "backup": [backup.name, files]}
    parts = ",".join(f"{name}={_digest(value, 6)}" for name, value in sorted(pinned.items()))
    return f"{_digest(pinned, 16)}:{parts}"


def is_approved(pin: str, approved: str) -> bool:
    """Whether the approval names this pin; a person may type its first 16 digits alone."""
    return approved in (pin, pin.partition(":")[0])


def changed_parts(pin: str, approved: str) -> list[str]:
    """The names of what differs between two pins; empty where the approved one has no parts to compare."""
    now, then = _parts(pin), _parts(approved)
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name)) if then else []


def _parts(pin: str) -> dict[str, str]:
    _, _, listed = pin.partition(":")
    return dict(part.split("=", 1) for part in listed.split(",") if "=" in part)


def _digest(value: object, digits: int) -> str:
    letter = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(letter.encode()).hexdigest()[:digits]


def safety_line(order: RestoreOrder, plan: TargetPlan) -> str:
    """Whether what is overwritten can come back; empty where nothing is, or where the original stays beside."""
    if not loses_content(order, plan):
        return ""
    if order.safety_backup:
        return (
            f"First of all, what {plan.overwritten} holds is backed up into this store (safety_…, kept for "
            f"{SAFETY_BACKUP_KEPT.days} days); when that fails, nothing is touched."
        )
    if order.redis is not None:  # its target says so itself
        return ""
    return "No safety backup is made: what the restore drops or overwrites cannot be brought back."


def confirm_obstacle(order: RestoreOrder, plan: TargetPlan) -> str:
    """What `confirm` has to say and does not; empty where it is right."""
    if not plan.overwritten or order.confirm == plan.overwritten:
        return ""
    found = f"it says {order.confirm!r}" if order.confirm else "it is missing"
    return f"confirm must be {plan.overwritten!r}, whose content can be lost, and {found}"


def loses_content(order: RestoreOrder, plan: TargetPlan) -> bool:
    """Whether content goes that nothing else keeps: a swapped database stays beside."""
    swapped = order.postgres is not None and order.postgres.strategy is PostgresStrategy.SWAP_DATABASE
    return bool(plan.overwritten) and not swapped


def _which(backup: OpenBackup, now: datetime) -> str:
    began = time_in_words(backup.began_at)
    age = now - backup.began_at
    ago = f"{span_in_words(age)} ago" if age > timedelta(0) else "in the future by this pod's clock"
    if backup.entry is None:
        return (
            f"The file {backup.name}, by its name of {began}, {ago}. It is unrecorded: no entry says what it should "
            "hold, so that nothing can be compared with it but what was found in it while it was read now."
        )
    policy = backup.entry.policy
    what = "The safety backup" if backup.name != backup.entry.run else "The backup"
    return f"{what} {backup.name} of {policy.namespace or 'nobody'}/{policy.name}, begun {began}, {ago}."


def _contents(backup: OpenBackup) -> str:
    entry = backup.entry
    if entry is None:
        return _found(backup.artifacts[0])
    server = entry.server
    product = server.get("product") or ("PostgreSQL" if entry.kind is SourceKind.POSTGRES else "Redis")
    database = f"database {server['database']} of " if server.get("database") not in (None, "", "all") else ""
    return f"It holds {_counts(entry)}, from {database}{product} {server.get('version', 'of an unknown version')}."


def _counts(entry: Entry) -> str:
    if entry.rows is not None:
        tables = sum(len(artifact.rows_per_table or ()) for artifact in entry.artifacts)
        return f"{numbered(entry.rows, 'row')} in {numbered(tables, 'table')}"
    if entry.keys is not None:
        databases = sum(len(artifact.keys_per_database or ()) for artifact in entry.artifacts)
        return f"{numbered(entry.keys, 'key')} in {numbered(databases, 'database')}"
    return "what was not counted"


def _found(artifact: StoredArtifact) -> str:
    contents = artifact.contents
    if contents is not None and contents.rows is not None:
        tables = len(contents.rows_per_table or ())
        return f"Found in it: {numbered(contents.rows, 'row')} in {numbered(tables, 'table')}."
    if contents is not None and contents.keys is not None:
        databases = len(contents.keys_per_database or ())
        return f"Found in it: {numbered(contents.keys, 'key')} in {numbered(databases, 'database')}."
    return "What it holds is known only when it is loaded, before anything is written."


def _file(artifact: StoredArtifact) -> str:
    proven = artifact.proven
    if proven is None:
        return ""
    is_as = "it is whole and as recorded" if artifact.record else "it is whole"
    mark = f", with {artifact.surplus_bytes} bytes of end mark behind it that are left out" * bool(
        artifact.surplus_bytes
    )
    return (
        f"Read to its last byte now: {artifact.name}, {size_in_words(proven.stored_bytes)} stored, "
        f"{size_in_words(artifact.plain_bytes)} unpacked{mark}; {is_as} (SHA-256 {proven.stored_sha256})."
    )


def _key(backup: OpenBackup) -> str:
    if backup.entry is None:
        encrypted = backup.artifacts[0].is_encrypted
        return "A passphrase of those given opens it." if encrypted else "It is NOT encrypted."
    if backup.key is None:
        return ""
    which = "the current" if backup.key.is_current else "a previous"
    return f"Opened with {which} key, {backup.key.described} (fingerprint {backup.entry.key_fingerprint})."


def _expected(backup: OpenBackup, store: Store, verified_seconds: float) -> str:
    verified = f"Reading and proving it took {_seconds(verified_seconds)} now"
    plain_bytes = sum(artifact.plain_bytes for artifact in backup.artifacts)
    last = _last_restore(store, backup.artifacts[0])
    if last is not None:
        seconds, loaded_bytes = last
        guess = seconds * plain_bytes / max(loaded_bytes, 1)
        return (
            f"{verified}; expect about {_seconds(max(guess, verified_seconds, 1))} for the restore: the last one from "
            f"this store took {_seconds(seconds)} for {size_in_words(loaded_bytes)}."
        )
    records = [artifact.record for artifact in backup.artifacts if artifact.record]
    dumped = sum(record.dump_seconds for record in records)
    if not dumped:
        return f"{verified}; how long loading it takes is not recorded."
    proven = sum(record.verify_seconds for record in records)
    guess = verified_seconds + _LOAD_PER_DUMP * dumped
    return (
        f"{verified}; expect about {_seconds(max(guess, 1))} for the restore: when it was made, the dump took "
        f"{_seconds(dumped)} and its verification {_seconds(proven)}; loading mostly takes twice the dump."
    )


def _last_restore(store: Store, main: StoredArtifact) -> tuple[float, int] | None:
    """Seconds and bytes of the newest restore of such a file that went well, from the store's trail."""
    try:
        events = newest_events(store)
    except StoreError:
        return None
    return next((told for event in events if (told := _told(event, str(main.kind)))), None)


def _told(event: Mapping[str, object], kind: str) -> tuple[float, int] | None:
    if (event.get("event"), event.get("outcome"), event.get("kind")) != ("restore", "Succeeded", kind):
        return None
    seconds, loaded_bytes = event.get("seconds"), event.get("plain_bytes")
    if isinstance(seconds, int | float) and isinstance(loaded_bytes, int) and loaded_bytes > 0:
        return float(seconds), loaded_bytes
    return None


def _seconds(seconds: float) -> str:
    return span_in_words(timedelta(seconds=round(seconds)))

"""Room `worker`: compares the newest backup with those before it; called by `worker.backup` and `worker.inventory`.

Only entries that can be read are compared: what another passphrase locks is as if it was not there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from backup_operator.contract.report import Comparison
from backup_operator.rules.plausibility import KeyFigures, SeenRun, compare_in_order
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.errors import KeyInvalid, StoreError, VerificationFailed
from backup_operator.worker.store.catalog import ListedRun, read_entry
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import Entry, EntryKeys, KeyTally, PlausibilityRecord


def names_to_compare(listed: Iterable[ListedRun], kind: SourceKind) -> tuple[str, ...]:
    """The runs that one of this kind is compared with, oldest first."""
    return tuple(sorted(run.name for run in listed if run.kind is kind and run.verified))


def compare_made(made: Entry, names: Sequence[str], store: Store, keys: EntryKeys, *, accepted_run: str) -> Comparison:
    """How a run that is about to be committed looks beside those of them that began before it."""
    earlier = [name for name in names if name < made.run]
    runs = chain(_seen_runs(earlier, store, keys), [_seen(made)])
    comparison = compare_in_order(runs, accepted_run)
    assert comparison is not None
    return comparison


def compare_stored(
    listed: Sequence[ListedRun], store: Store, keys: EntryKeys, *, accepted_run: str, now: datetime
) -> Comparison | None:
    """How the newest backup looks beside those before it; None without one. What begins after `now` is left out."""
    begun = [run for run in listed if run.started_at <= now]
    if not begun:
        return None
    newest = max(begun, key=lambda run: (run.started_at, run.name))
    return compare_in_order(_seen_runs(names_to_compare(begun, newest.kind), store, keys), accepted_run)


def record_of(comparison: Comparison, accepted_run: str) -> PlausibilityRecord:
    """What the entry keeps of it."""
    is_accepted = accepted_run <= comparison.run
    return PlausibilityRecord(
        in_line=comparison.reason is None and comparison.compared_with > 0,
        out_since=comparison.since_run,
        accepted_run=accepted_run if is_accepted else "",
    )


def _seen_runs(names: Iterable[str], store: Store, keys: EntryKeys) -> Iterator[SeenRun]:
    """One at a time: an entry of many tables takes megabytes."""
    for name in names:
        try:
            entry = read_entry(store, name, keys)
        except (FileNotFoundError, KeyInvalid, VerificationFailed, StoreError):  # gone or changed since it was listed
            continue
        yield _seen(entry)


def _seen(entry: Entry) -> SeenRun:
    recorded = entry.plausibility or PlausibilityRecord(in_line=False)
    return SeenRun(
        name=entry.run,
        spec_digest=entry.policy.spec_digest,
        size_bytes=entry.plain_bytes,
        rows_per_table=_rows_per_table(entry),
        keys=_keys(entry),
        was_in_line=recorded.in_line,
        out_since=recorded.out_since,
        accepted_run=recorded.accepted_run,
    )


def _rows_per_table(entry: Entry) -> dict[str, int] | None:
    counted = [artifact.rows_per_table for artifact in entry.artifacts if artifact.rows_per_table is not None]
    total = Counter[str]()
    for tables in counted:
        total.update(tables)
    return dict(total) if counted else None


def _keys(entry: Entry) -> KeyFigures | None:
    counted = [artifact.keys_per_database for artifact in entry.artifacts if artifact.keys_per_database is not None]
    tallies: list[KeyTally] = [tally for databases in counted for tally in databases.values()]
    expiring = sum(tally.expiring for tally in tallies)
    return KeyFigures(sum(tally.keys for tally in tallies) - expiring, expiring) if counted else None

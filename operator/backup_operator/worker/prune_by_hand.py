"""Room `worker`: `backup-worker prune`, typed by a person; called by `worker.by_hand`.

    backup-worker prune --store DIR --passphrase-file FILE --max-age 30d --keep-monthly 12
    backup-worker prune --store DIR --passphrase-file FILE --max-age 30d --keep-monthly 12 --delete

Without `--delete` it says what the rules would keep and let go, each backup with its reason, and changes nothing: also
the way to see what a changed rule would do before a policy gets it. It has the rules of a policy, stated by hand, and
like a policy it holds what is older than a collapse until that is accepted: `--accept RUN`.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta

from backup_operator.contract.order import RetentionOrder
from backup_operator.contract.report import Comparison, RetentionResult
from backup_operator.rules.retention import RetentionPlan, Verdict
from backup_operator.rules.retention_outlook import Outlook
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.worker.keys import Keys
from backup_operator.worker.log import say
from backup_operator.worker.plausible import compare_stored
from backup_operator.worker.prune import BY_HAND, Pruning, plan_for, prune
from backup_operator.worker.store.catalog import CatalogReading, read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import require_writable
from backup_operator.worker.store.lock import Holder, locked
from backup_operator.worker.words import size_in_words, time_in_words
from backup_operator.worker.workplace import Workplace, person_at_the_keyboard

_SPAN = re.compile(
    "(?:(?P<weeks>[0-9]{1,4})w)?(?:(?P<days>[0-9]{1,4})d)?(?:(?P<hours>[0-9]{1,5})h)?"
    "(?:(?P<minutes>[0-9]{1,5})m)?(?:(?P<seconds>[0-9]{1,5})s)?"
)
_LOCK_TIMEOUT = timedelta(seconds=10)
_COUNTS = {
    "last": "so many of the newest",
    "daily": "the newest of each of so many days",
    "weekly": "the newest of each of so many weeks",
    "monthly": "the newest of each of so many months",
    "yearly": "the newest of each of so many years",
}


@dataclass(frozen=True)
class _Sheet:
    """The plan for the backups of one kind of source, and what came of it."""

    plan: RetentionPlan
    sizes: Mapping[str, int]
    comparison: Comparison | None
    blocked: int
    result: RetentionResult | None

    def size_of(self, verdicts: Sequence[Verdict]) -> int:
        return sum(self.sizes.get(verdict.run.name, 0) for verdict in verdicts)


def add_prune_options(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--max-age", type=_span, metavar="SPAN", help="keep what is younger, such as 30d or 36h")
    for rule, purpose in _COUNTS.items():
        parser.add_argument(f"--keep-{rule}", type=_count, default=0, metavar="N", help=f"keep {purpose}")
    parser.add_argument(
        "--minimum", type=_at_least_one, default=3, metavar="N", help="never keep fewer verified ones (default: 3)"
    )
    parser.add_argument("--time-zone", default="Etc/UTC", help="of the days, weeks, months, years (default: Etc/UTC)")
    parser.add_argument(
        "--accept", default="", metavar="RUN", help="let go what is older than a collapse: its run, which `prune` names"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for a program")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing (the default)")
    does.add_argument("--delete", action="store_true", help="delete what goes, and say so")


def prune_by_hand(arguments: argparse.Namespace, store: Store, keys: Keys, workplace: Workplace) -> str:
    """Print the plan with its reasons and, with `--delete`, carry it out. Returns: why it was cut short, else "".

    Raises: StoreError, StoreBusy, OrderInvalid.
    """
    now = workplace.now()
    frozen = replace(workplace, now=lambda: now)
    with _lock(store, frozen) if arguments.delete else nullcontext():
        reading = read_catalog(store, keys.entries)
        sheets = [_sheet(arguments, store, keys, frozen, kind, reading) for kind in _kinds(reading)]
    say(_as_json(sheets) if arguments.json else _page(sheets, reading))
    return "; ".join(sheet.result.stopped for sheet in sheets if sheet.result and sheet.result.stopped)


def _lock(store: Store, workplace: Workplace) -> AbstractContextManager[None]:
    require_writable(store)
    return locked(store, _LOCK_TIMEOUT, Holder("prune, by hand", workplace.host, workplace.now().isoformat()))


def _kinds(reading: CatalogReading) -> list[SourceKind]:
    """Those of the backups there; a store has one, unless two policies had it one after the other."""
    return sorted({run.kind for run in reading.entries})


def _sheet(
    arguments: argparse.Namespace,
    store: Store,
    keys: Keys,
    workplace: Workplace,
    kind: SourceKind,
    reading: CatalogReading,
) -> _Sheet:
    now = workplace.now()
    ours = [run for run in reading.entries if run.kind is kind]
    comparison = compare_stored(ours, store, keys.entries, accepted_run=arguments.accept, now=now)
    asked_by = f"{BY_HAND}{person_at_the_keyboard()}"
    pruning = Pruning(_rules(arguments), kind, asked_by, comparison=comparison, accepted_run=arguments.accept)
    planned = plan_for(reading.entries, pruning, now)
    result = prune(store, keys.entries, pruning, workplace) if arguments.delete else None
    return _Sheet(planned.plan, planned.sizes, comparison, len(planned.blocked), result)


def _rules(arguments: argparse.Namespace) -> RetentionOrder:
    return RetentionOrder(
        max_age=arguments.max_age,
        minimum=arguments.minimum,
        time_zone=arguments.time_zone,
        **{f"keep_{rule}": getattr(arguments, f"keep_{rule}") for rule in _COUNTS},
    )


def _page(sheets: Sequence[_Sheet], reading: CatalogReading) -> str:
    apart = len(reading.unreadable) + len(reading.damaged)
    if not sheets:
        return (
            f"no backup that can be opened: {apart} entries are damaged or locked; see list\n"
            if apart
            else "no backup\n"
        )
    lines = [line for sheet in sheets for line in _lines(sheet)]
    if apart:
        lines.append(f"Left alone: {apart} entries that are damaged or locked by another passphrase; see list.")
    return "\n".join(lines) + "\n"


def _lines(sheet: _Sheet) -> list[str]:
    going = sheet.plan.going
    head = f"{len(sheet.plan.kept)} backups stay, {len(going)} go ({size_in_words(sheet.size_of(going))}):"
    verdicts = [_line(verdict) for verdict in sheet.plan.verdicts]
    return [head, *verdicts, "", *Outlook(sheet.plan).lines(), "", _ending(sheet)]


def _line(verdict: Verdict) -> str:
    word = "stays" if verdict.is_kept else "GOES"
    return f"  {word:<6}{verdict.run.name:<24}{time_in_words(verdict.run.started_at)}  {verdict.why}"


def _ending(sheet: _Sheet) -> str:
    return _what_was_done(sheet) + (_what_is_held(sheet) if sheet.blocked else "")


def _what_is_held(sheet: _Sheet) -> str:
    found = sheet.comparison
    return f" Held: {sheet.blocked} backups. {found.message} To let them go: --accept {found.run}" if found else ""


def _what_was_done(sheet: _Sheet) -> str:
    if sheet.result is None:
        return "Nothing was changed." + (" With --delete they go." if sheet.plan.going else "")
    result = sheet.result
    left = "".join(f" Left: {line}." for line in result.left)
    return f"Deleted {result.deleted_count} backups, {size_in_words(result.freed_bytes)}.{left}"


def _as_json(sheets: Sequence[_Sheet]) -> str:
    told = [
        {
            "name": verdict.run.name,
            "started_at": verdict.run.started_at.isoformat(),
            "size_bytes": sheet.size_of([verdict]),
            "stays": verdict.is_kept,
            "why": verdict.why,
        }
        for sheet in sheets
        for verdict in sheet.plan.verdicts
    ]
    results = [sheet.result.model_dump(mode="json", exclude_none=True) for sheet in sheets if sheet.result]
    return json.dumps({"backups": told, "results": results}) + "\n"


def _span(words: str) -> timedelta:
    """As a policy has it: `30d`, `36h`, `1h30m`."""
    match = _SPAN.fullmatch(words)
    span = timedelta(**{unit: int(number) for unit, number in match.groupdict("0").items()}) if match else timedelta()
    if not span:
        raise argparse.ArgumentTypeError(f"{words!r} is no span: write it like 30d, 36h or 1h30m")
    return span


def _count(words: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", words):
        raise argparse.ArgumentTypeError(f"{words!r} is no count of backups")
    return int(words)


def _at_least_one(words: str) -> int:
    count = _count(words)
    if not count:
        raise argparse.ArgumentTypeError("at least one backup is always kept")
    return count

"""Room `worker`: `backup-worker list`, what a store holds, as a page or as JSON; called by `worker.by_hand`.

Three lists: the backups of the series, the safety backups, and files that no entry tells of. Any of them can be named
to `verify`, `open` and `restore`; a time or `latest` only ever means the first list.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_operator.rules.naming import SAFETY_DIRECTORY, StoredForm, parse_stored_form, safety_name
from backup_operator.worker.keys import Keys
from backup_operator.worker.store.catalog import CatalogReading, ListedRun, read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.layout import open_inside

_HEAD = f"{'NAME':<24}{'STARTED (UTC)':<22}{'BYTES':>15}{'ROWS OR KEYS':>15}  FILES"


@dataclass(frozen=True)
class UnrecordedFile:
    """A file that is named as the old scripts named theirs."""

    name: str
    form: StoredForm
    size_bytes: int


@dataclass(frozen=True)
class Shelf:
    """All that a store holds."""

    series: CatalogReading
    safety: CatalogReading
    unrecorded: tuple[UnrecordedFile, ...]

    def warnings(self) -> tuple[str, ...]:
        """What a person should look at, one sentence each."""
        return (
            *self.series.warnings(),
            *self.series.without_entry(),
            *(f"safety: {warning}" for warning in self.safety.warnings()),
        )

    def page(self) -> str:
        """For a person."""
        lines = [_HEAD, *map(_line, self.series.entries)] if self.series.entries else ["no backup"]
        if self.safety.entries:
            lines += ["", "Safety backups, chosen by name only, each kept for a week:"]
            lines += [_line(run, safety_name(run.name)) for run in self.safety.entries]
        if self.unrecorded:
            lines += ["", "Files that no entry tells of (of the old scripts, or left over), chosen by name only:"]
            lines += [_file_line(file) for file in self.unrecorded]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """For a program."""
        listed = self.series.catalog_of_all().model_dump(mode="json", exclude_none=True)
        listed["safety"] = [
            run.line().model_copy(update={"name": safety_name(run.name)}).model_dump(mode="json", exclude_none=True)
            for run in self.safety.entries
        ]
        listed["unrecorded"] = [
            {
                "name": file.name,
                "kind": str(file.form.kind),
                "encrypted": file.form.encrypted,
                "at": file.form.at.isoformat(),
                "size_bytes": file.size_bytes,
            }
            for file in self.unrecorded
        ]
        return json.dumps(listed) + "\n"


def read_shelf(store: Store, keys: Keys) -> Shelf:
    """What the store and its safety store hold now. Raises: StoreError."""
    series = read_catalog(store, keys.entries)
    safety = open_inside(store, SAFETY_DIRECTORY)
    if safety is None:
        return Shelf(series, CatalogReading(), _unrecorded(store, series.old))
    with safety:
        return Shelf(series, read_catalog(safety, keys.entries), _unrecorded(store, series.old))


def _unrecorded(store: Store, names: Sequence[str]) -> tuple[UnrecordedFile, ...]:
    """Newest first; what cannot be restored is in the warnings alone."""
    forms = {name: form for name in names if (form := parse_stored_form(name))}
    files = [UnrecordedFile(name, form, store.size_of(name) or 0) for name, form in forms.items()]
    return tuple(sorted(files, key=lambda file: (file.form.at, file.name), reverse=True))


def _line(run: ListedRun, name: str = "") -> str:
    counted = run.rows if run.rows is not None else run.keys if run.keys is not None else "-"
    files = " ".join(artifact.name for artifact in run.artifacts)
    return f"{name or run.name:<24}{_time(run.started_at)}{run.size_bytes:>15}{counted:>15}  {files}"


def _file_line(file: UnrecordedFile) -> str:
    unencrypted = "" if file.form.encrypted else ", NOT encrypted"
    return f"{file.name:<46}{_time(file.form.at)}{file.size_bytes:>15}  {file.form.kind}{unencrypted}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}   "

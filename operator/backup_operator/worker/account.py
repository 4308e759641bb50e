"""Room `worker`: what a job knows about itself by now, so that a report can be written wherever it stops."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from backup_operator.contract.report import (
    BackupLine,
    Catalog,
    Comparison,
    Fault,
    Report,
    RetentionResult,
    StorageUse,
)
from backup_operator.vocabulary.choices import Outcome
from backup_operator.worker.errors import WorkerError
from backup_operator.worker.store.catalog import CatalogReading, read_catalog
from backup_operator.worker.store.directory import Store
from backup_operator.worker.store.entry import EntryKeys
from backup_operator.worker.store.layout import measure
from backup_operator.worker.workplace import Workplace


@dataclass
class Account:
    """Filled in step by step; `report` says how it ended."""

    kind: Literal["Backup", "Inventory"]
    started_at: datetime
    run: str = ""
    warnings: list[str] = field(default_factory=list)
    backup: BackupLine | None = None
    storage: StorageUse | None = None
    catalog: Catalog | None = None
    retention: RetentionResult | None = None
    comparison: Comparison | None = None

    def survey(self, store: Store, keys: EntryKeys) -> CatalogReading:
        """Look at the store as it is now. Raises: StoreError."""
        reading = read_catalog(store, keys)
        self.catalog = reading.catalog()
        self.storage = measure(store)
        return reading

    def succeeded(self, workplace: Workplace) -> Report:
        """The report of a job that did all it should."""
        return self._report(Outcome.SUCCEEDED, None, workplace)

    def failed(self, error: WorkerError, workplace: Workplace) -> Report:
        """The report of a job that could not go on."""
        return self._report(Outcome.FAILED, error.fault(), workplace)

    def _report(self, outcome: Outcome, fault: Fault | None, workplace: Workplace) -> Report:
        return Report(
            kind=self.kind,
            outcome=outcome,
            run=self.run,
            started_at=self.started_at,
            completed_at=workplace.now(),
            backup=self.backup,
            fault=fault,
            warnings=tuple(dict.fromkeys((*workplace.warnings, *self.warnings))),
            storage=self.storage,
            catalog=self.catalog,
            retention=self.retention,
            comparison=self.comparison,
        )

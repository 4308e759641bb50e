"""Room `worker`: when the volume will be full if runs go on; called by `worker.backup` and `worker.inventory`."""

from collections.abc import Iterable
from datetime import datetime

from backup_operator.contract.report import StorageUse
from backup_operator.rules.storage_outlook import Room, SizedRun, full_at
from backup_operator.worker.errors import OrderInvalid
from backup_operator.worker.prune import Pruning, is_in_doubt, rules_of
from backup_operator.worker.store.catalog import ListedRun
from backup_operator.worker.store.layout import LEAST_ROOM_BYTES


def with_outlook(use: StorageUse, listed: Iterable[ListedRun], pruning: Pruning, now: datetime) -> StorageUse:
    """The use of the volume with the time at which it is full, given the store's backups and what is done with them.

    The backups recorded what others kept on the volume, so that another policy on the same claim counts.
    """
    runs = [
        SizedRun(
            run.started_at,
            run.size_bytes,
            stays=is_in_doubt(run.name, pruning.comparison),
            others_bytes=run.others_bytes,
        )
        for run in listed
        if run.kind is pruning.kind and run.verified
    ]
    try:
        rules = None if pruning.retention.dry_run else rules_of(pruning)
    except OrderInvalid:  # then retention deletes nothing, and says so
        rules = None
    room = Room(use.used_bytes, use.capacity_bytes - LEAST_ROOM_BYTES)  # a run that finds less is not begun
    return use.model_copy(update={"full_at": full_at(runs, room, rules, now)})

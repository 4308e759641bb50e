"""Room `worker`: reads what a store holds and reports it, so that a policy that is made again knows its backups.

It also says what the policy's rules would let go now: a changed rule is seen before it deletes.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from backup_operator.contract.order import InventoryOrder
from backup_operator.contract.report import Catalog, Report
from backup_operator.vocabulary.choices import SourceKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.account import Account
from backup_operator.worker.errors import StoreError, WorkerError
from backup_operator.worker.keys import Keys, keys_for_reading
from backup_operator.worker.log import fields
from backup_operator.worker.plausible import compare_stored
from backup_operator.worker.prune import Pruning, preview
from backup_operator.worker.storage import with_outlook
from backup_operator.worker.store.catalog import ListedRun
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.workplace import Workplace

_LOG = logging.getLogger(__name__)


def take_inventory(order: InventoryOrder, workplace: Workplace) -> Report:
    """The catalog of the store; changes nothing on the volume. A store that is not there yet holds no backup."""
    account = Account("Inventory", workplace.now())
    try:
        _survey(order, keys_for_reading(order.passphrase, order.previous_passphrases), account, workplace)
    except WorkerError as error:
        return account.failed(error, workplace)
    _LOG.info(
        "inventory taken", extra=fields(store=order.store.path, backups=account.catalog and account.catalog.count)
    )
    return account.succeeded(workplace)


def _survey(order: InventoryOrder, keys: Keys, account: Account, workplace: Workplace) -> None:
    account.warnings += keys.warnings
    mount = Path(order.store.mount)
    try:
        store = open_store(mount, order.store.path, described=order.store.described, create=False)
    except StoreError as error:
        if error.reason is not Reason.STORE_MISSING:
            raise
        account.catalog = Catalog(count=0)
        _foretell(order, (), account, workplace)
        return
    with store:
        reading = account.survey(store, keys.entries)
        account.warnings += reading.warnings()
        account.comparison = compare_stored(
            reading.entries, store, keys.entries, accepted_run=order.accepted_run, now=workplace.now()
        )
        _foretell(order, reading.entries, account, workplace)


def _foretell(order: InventoryOrder, listed: Sequence[ListedRun], account: Account, workplace: Workplace) -> None:
    """What the next good runs will do to the store, if the order says by which rules."""
    if order.retention is None:
        return
    kind = listed[0].kind if listed else SourceKind.POSTGRES
    policy = f"{order.policy.namespace}/{order.policy.name}"
    pruning = Pruning(order.retention, kind, policy, comparison=account.comparison, accepted_run=order.accepted_run)
    account.retention = preview(listed, pruning, workplace.now())
    if account.storage is not None:
        account.storage = with_outlook(account.storage, listed, pruning, workplace.now())

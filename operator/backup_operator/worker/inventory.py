"""Room `worker`: reads what a store holds and reports it, so that a policy that is made again knows its backups."""

import logging
from pathlib import Path

from backup_operator.contract.order import InventoryOrder
from backup_operator.contract.report import Catalog, Report
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.account import Account
from backup_operator.worker.errors import StoreError, WorkerError
from backup_operator.worker.keys import Keys, keys_for_reading
from backup_operator.worker.log import fields
from backup_operator.worker.plausible import compare_stored
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
        return
    with store:
        reading = account.survey(store, keys.entries)
        account.warnings += reading.warnings()
        account.comparison = compare_stored(
            reading.entries, store, keys.entries, accepted_run=order.accepted_run, now=workplace.now()
        )

"""Room `worker`: the command `backup-worker`, started by the pods that `manifests.job` describes.

    backup-worker run --order /etc/backup-operator/order/order.json

reads an order, does it, writes the report and exits with a code of `contract.exits`. One of the two places that catch
every exception: whatever happens, a report is written. A restore is never worth another attempt of the same Job. The
verbs of `worker.by_hand` need no order.
"""

import argparse
import itertools
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from backup_operator import __version__
from backup_operator.contract import report as letters
from backup_operator.contract.exits import Exit
from backup_operator.contract.order import BackupOrder, InventoryOrder
from backup_operator.contract.report import Report
from backup_operator.contract.restore import RestoreOrder, RestoreReport, encode_restore
from backup_operator.worker.account import Account
from backup_operator.worker.alarms import stopped_from_outside
from backup_operator.worker.backup import back_up
from backup_operator.worker.by_hand import act_by_hand, add_verbs
from backup_operator.worker.errors import OrderInvalid, WorkerError
from backup_operator.worker.inventory import take_inventory
from backup_operator.worker.log import LOG_FORMAT, fields, set_up_logging
from backup_operator.worker.restore import restore
from backup_operator.worker.restore_account import RestoreAccount
from backup_operator.worker.workplace import CLOCK_OFFSET, Workplace, workplace_of

_LOG = logging.getLogger("backup_operator.worker.cli")
"""By its full name, as `python -m` calls this module `__main__`."""

Order = BackupOrder | InventoryOrder | RestoreOrder
_RUN_HELP = f"""\
example:
  backup-worker run --order order.json --report report.json

environment:
  {LOG_FORMAT}            human (default) or json, one object a line, on stderr
  {CLOCK_OFFSET}  moves the clock, for tests; every report says so

exit codes:
  {Exit.OK:<3} done; the report says what
  2   the command line is wrong
  {Exit.RETRYABLE:<3} failed, and the cause may be gone a minute later; never for a restore
  {Exit.FINAL:<3} failed; the report says why
"""


def _kind_of(letter: Any) -> str:
    """The kind that an order says it has; the oldest kind may leave it out."""
    return str(letter.get("kind", "Backup")) if isinstance(letter, dict) else "Backup"


_ORDER: TypeAdapter[Order] = TypeAdapter(
    Annotated[
        Annotated[BackupOrder, Tag("Backup")]
        | Annotated[InventoryOrder, Tag("Inventory")]
        | Annotated[RestoreOrder, Tag("Restore")],
        Discriminator(_kind_of),
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns: the exit code."""
    arguments = _parser().parse_args(argv)
    set_up_logging(os.environ)
    with tempfile.TemporaryDirectory(prefix="backup-worker-") as scratch:
        return _act(arguments, workplace_of(os.environ, Path(scratch)))


def _act(arguments: argparse.Namespace, workplace: Workplace) -> int:
    if arguments.verb != "run":
        for warning in workplace.warnings:
            _LOG.warning(warning)
        return act_by_hand(arguments, workplace)
    report = run(arguments.order, workplace)
    _tell(report)
    _deliver(report, arguments.report)
    return exit_code_of(report)


def run(order_path: Path, workplace: Workplace) -> Report | RestoreReport:
    """Do what the order says. Never raises: every failure is in the report."""
    account: Account | RestoreAccount = _account_for(order_path, workplace)
    try:
        order = read_order(order_path)
        if isinstance(order, RestoreOrder):
            account = RestoreAccount(workplace.now(), dry_run=order.dry_run)
            with stopped_from_outside(order.deadline, tried_again=False):
                return restore(order, workplace, account)
        account = Account(order.kind, workplace.now())
        with stopped_from_outside(order.deadline):
            return back_up(order, workplace) if isinstance(order, BackupOrder) else take_inventory(order, workplace)
    except WorkerError as error:
        return account.failed(error, workplace)
    except Exception as error:  # noqa: BLE001 - whatever happens, a report is written
        _LOG.exception("the worker failed in a way it does not know")
        return account.failed(_unknown(error, account), workplace)


def _account_for(order_path: Path, workplace: Workplace) -> Account | RestoreAccount:
    """Where an order is told of that cannot be read: in the kind of letter that its writer waits for."""
    with suppress(OSError, ValueError, RecursionError):
        if _kind_of(json.loads(order_path.read_bytes())) == "Restore":
            return RestoreAccount(workplace.now(), dry_run=False)
    return Account("Backup", workplace.now())


def exit_code_of(report: Report | RestoreReport) -> Exit:
    """On which the Job's podFailurePolicy decides about another attempt."""
    if report.fault is None:
        return Exit.OK
    return Exit.RETRYABLE if report.fault.retryable else Exit.FINAL


def read_order(path: Path) -> Order:
    """The order in a file. Raises: OrderInvalid."""
    try:
        return _ORDER.validate_json(path.read_bytes())
    except OSError as error:
        raise OrderInvalid(f"the order cannot be read: {path}: {error.strerror}") from error
    except ValidationError as error:
        raise OrderInvalid(
            "the order is not one that this worker knows",
            detail=_in_words(error),
            hint="operator and worker image must be of one version: see `helm list --all-namespaces` and, with that "
            "namespace, `helm get values --all backup-operator`",
        ) from error


def _in_words(error: ValidationError) -> str:
    """The first three things that are wrong with an order, each with its field: `Backup.deadline: Field required`."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = (": ".join(part for part in (".".join(map(str, fault["loc"])), fault["msg"]) if part) for fault in faults)
    return "; ".join(itertools.islice(named, 3)) + ("; …" if len(faults) > 3 else "")


def _unknown(error: Exception, account: Account | RestoreAccount) -> WorkerError:
    state = ""
    if isinstance(account, RestoreAccount):
        state = "; the target may have been changed" if account.may_have_written else "; nothing was changed"
    unknown = WorkerError(
        f"the worker failed in a way it does not know: {type(error).__name__}{state}",
        hint="this is a fault of ours: please report it with the log of this pod",
    )
    unknown.retryable = True
    return unknown


def _tell(report: Report | RestoreReport) -> None:
    if isinstance(report, Report):
        for warning in report.warnings:
            _LOG.warning("warning", extra=fields(text=warning))
    else:
        _tell_restore(report)
    if report.fault is not None:
        fault = report.fault
        told = fields(
            reason=fault.reason, message=fault.message, detail=fault.detail, hint=fault.hint, retry=fault.retryable
        )
        _LOG.error("run failed", extra=told)


def _tell_restore(report: RestoreReport) -> None:
    """All that the letter may have to leave out."""
    for name in ("plan", "obstacles", "notes", "undo"):
        for line in getattr(report, name):
            _LOG.info(name, extra=fields(line=line))
    for check in report.checks:
        told = fields(name=check.name, expected=check.expected, found=check.found, passed=check.passed)
        _LOG.info("check", extra=told)
    for name, count in report.counts.items():
        _LOG.info("counted", extra=fields(name=name, count=count))
    _LOG.info("restore ended", extra=fields(outcome=report.outcome, run=report.run, pin=report.pin))


def _deliver(report: Report | RestoreReport, destination: Path) -> None:
    letter = letters.encode(report) if isinstance(report, Report) else encode_restore(report)
    try:
        destination.write_bytes(letter)
    except OSError as error:
        _LOG.warning("the report could not be delivered", extra=fields(to=destination, why=error.strerror))
        sys.stdout.write(letter.decode() + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backup-worker",
        description="Does one order of the backup operator, or opens a store by hand.",
        epilog="example: backup-worker run --order order.json --report report.json",
    )
    parser.add_argument("--version", action="version", version=f"backup-worker {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser(
        "run",
        help="do the order in a file",
        description="do the order in a file",
        epilog=_RUN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--order", type=Path, required=True, help="the order, as JSON")
    verb.add_argument(
        "--report",
        type=Path,
        default=Path("/dev/termination-log"),
        help="where the report goes (default: the pod's termination message)",
    )
    add_verbs(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())

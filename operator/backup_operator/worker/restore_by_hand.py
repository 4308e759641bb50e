"""Room `worker`: `backup-worker restore`, typed by a person; called by `worker.by_hand`.

    backup-worker restore --store DIR --passphrase-file FILE RUN --url-file FILE --dry-run
    backup-worker restore --store DIR --passphrase-file FILE RUN --url-file FILE --strategy InPlace --confirm app

Nothing is overwritten by default: a PostgreSQL backup goes into a new database, a Redis backup into an empty server.
"""

import argparse
import logging
import sys
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

from backup_operator.contract.order import PostgresTls, RedisTls, SecretFile, StoreOrder
from backup_operator.contract.restore import (
    PostgresTargetOrder,
    RedisTargetOrder,
    RequestIdentity,
    RestoreOrder,
    RestoreReport,
    Selection,
)
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, PostgresStrategy, RedisStrategy, TlsMode
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.log import fields, say
from backup_operator.worker.restore import restore
from backup_operator.worker.restore_account import RestoreAccount
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.workplace import Workplace, person_at_the_keyboard

_PLANNED = "Planned: nothing was changed."
_LOG = logging.getLogger(__name__)
RUN_HELP = "a run, a safety backup, a file of the old scripts, `latest`, or `before=TIME`"
LONGEST = timedelta(days=7)
"""For what a person watches there is no deadline worth the name."""
EXIT_CODES = """\
exit codes:
  0   done, and all of it is good; or planned, and nothing is in the way
  2   the command line is wrong
  3   planned, and something is in the way: the plan names it
  20  failed, and nothing was changed anywhere
  21  failed, and the target may have been changed: the message says in what state it is
"""


class HandExit(IntEnum):
    """How a verb ended, for a script."""

    DONE = 0
    OBSTACLES = 3
    FAILED = 20
    CHANGED = 21


def progress_interval() -> timedelta:
    """Often enough for a person to see that it goes on; a terminal shows it in place."""
    return timedelta(seconds=0.5 if sys.stderr.isatty() else 5)


def add_restore_options(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--url-file", type=Path, required=True, help="file with the target's connection URL")
    parser.add_argument("--ca-file", type=Path, help="CA of the target's certificate, in PEM")
    strategies = ", ".join([*PostgresStrategy, *RedisStrategy])
    parser.add_argument("--strategy", help=f"one of {strategies} (default: the one that overwrites nothing)")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON, for a program")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    parser.add_argument("--approve", metavar="PIN", default="", help="only if the plan is still the one with this pin")
    parser.add_argument("--confirm", default="", help="name of what may lose its content: the database, or <host>/<db>")
    parser.add_argument("--without-safety-backup", action="store_true", help="do not back up first what is overwritten")
    postgres = parser.add_argument_group("PostgreSQL")
    postgres.add_argument("--database", default="", help="what is made or overwritten")
    postgres.add_argument("--globals", action="store_true", help="make the backup's roles first")
    postgres.add_argument("--missing-roles", type=MissingRoles, default=MissingRoles.STOP, help="Stop or LeaveOut")
    postgres.add_argument("--drop-dependents", action="store_true", help="drop what hangs on replaced objects")
    postgres.add_argument("--jobs", type=int, default=2, help="parallel jobs of pg_restore (default: 2)")
    redis = parser.add_argument_group("Redis")
    redis.add_argument("--existing", type=ExistingKeys, default=ExistingKeys.KEEP, help="Merge: Keep or Replace")
    redis.add_argument("--key-pattern", default="", help="only keys that match this glob")


def restore_by_hand(arguments: argparse.Namespace, workplace: Workplace) -> HandExit:
    """Plan or restore, and print how it went. Raises: TargetError, SecretMissing for what was typed wrong."""
    account = RestoreAccount(workplace.now(), dry_run=arguments.dry_run)
    report = restore(_order(arguments), workplace, account)
    say(report.model_dump_json(exclude_none=True) if arguments.json else "\n".join(_page(report)))
    say("\n")
    if report.fault is None:
        return HandExit.OBSTACLES if report.dry_run and report.obstacles else HandExit.DONE
    fault = report.fault
    _LOG.error(fault.message, extra=fields(reason=fault.reason, detail=fault.detail, hint=fault.hint))
    return HandExit.CHANGED if account.may_have_written else HandExit.FAILED


def _order(arguments: argparse.Namespace) -> RestoreOrder:
    url = _file(arguments.url_file, "the target's URL")
    scheme = read_secret(url)[0].strip().partition(":")[0]
    kind = "redis" if scheme in ("redis", "rediss") else "postgres"
    directory: Path = arguments.store.absolute()
    store = StoreOrder(mount=str(directory.parent), path=directory.name, described=str(directory))
    target = _redis(arguments, url) if kind == "redis" else _postgres(arguments, url)
    return RestoreOrder(
        request=RequestIdentity(namespace="", name="by hand", uid="", asked_by=person_at_the_keyboard()),
        store=store,
        passphrases=passphrase_files(arguments),
        selection=selection_of(arguments.run),
        dry_run=arguments.dry_run,
        approved=arguments.approve,
        confirm=arguments.confirm,
        safety_backup=not arguments.without_safety_backup,
        deadline=LONGEST,
        progress_interval=progress_interval(),
        **{kind: target},
    )


def passphrase_files(arguments: argparse.Namespace) -> tuple[SecretFile, ...]:
    """The current one first."""
    hint = "write the passphrase on the first line of a file and name it with --passphrase-file"
    return tuple(
        SecretFile(path=str(path.absolute()), described=f"the passphrase file {path}", command=hint)
        for path in arguments.passphrase_file
    )


def selection_of(words: str) -> Selection:
    """What RUN means: `latest`, `before=TIME`, or a name. Raises: TargetError for what is no time."""
    if words == "latest":
        return Selection(latest=True)
    kind, _, time = words.partition("=")
    if kind != "before":
        return Selection(name=words)
    try:
        before = datetime.fromisoformat(time)
    except ValueError as exc:
        raise TargetError(
            Reason.BACKUP_NOT_FOUND,
            f"{time!r} is no time",
            hint="Write it like before=2023-12-01T03:00:00Z",
        ) from exc
    return Selection(before=before if before.tzinfo else before.replace(tzinfo=UTC))


def _postgres(arguments: argparse.Namespace, url: SecretFile) -> PostgresTargetOrder:
    ca = _authority(arguments)
    return PostgresTargetOrder(
        url=url,
        tls=PostgresTls(mode=TlsMode.VERIFY_FULL, ca=ca) if ca else PostgresTls(),
        database=arguments.database,
        drop_dependents=arguments.drop_dependents,
        missing_roles=arguments.missing_roles,
        globals=arguments.globals,
        jobs=arguments.jobs,
        **_strategy(arguments, PostgresStrategy),
    )


def _redis(arguments: argparse.Namespace, url: SecretFile) -> RedisTargetOrder:
    return RedisTargetOrder(
        url=url,
        tls=RedisTls(ca=_authority(arguments)),
        existing=arguments.existing,
        key_pattern=arguments.key_pattern,
        **_strategy(arguments, RedisStrategy),
    )


def _strategy(arguments: argparse.Namespace, known: type[StrEnum]) -> dict[str, Any]:
    if arguments.strategy is None:
        return {}
    if arguments.strategy not in list(known):
        raise TargetError(
            Reason.TARGET_UNSUITABLE,
            f"the strategy {arguments.strategy!r} does not fit this target; nothing was changed",
            hint=f"Write one of {', '.join(known)}.",
        )
    return {"strategy": known(arguments.strategy)}


def _authority(arguments: argparse.Namespace) -> SecretFile | None:
    return _file(arguments.ca_file, "the CA") if arguments.ca_file else None


def _file(path: Path, what: str) -> SecretFile:
    return SecretFile(path=str(path.absolute()), described=f"the file {path} with {what}", command="name another file")


def _page(report: RestoreReport) -> list[str]:
    """The report as a page for a person."""
    lines = [f"Backup: {report.run}"] if report.run else []
    if report.plan:
        lines += ["Plan:", *(f"  - {line}" for line in report.plan), f"  pin: {report.pin}"]
    lines += [f"In the way: {obstacle}" for obstacle in report.obstacles]
    lines += [f"Step {step.name}: {step.seconds:.1f} s" for step in report.steps]
    if report.safety_backup:
        lines.append(f"Safety backup of what was there: {report.safety_backup}, restored by that name; kept for a week")
    lines += [f"Note: {note}" for note in report.notes]
    if report.counts:
        lines.append(f"Found afterwards: {sum(report.counts.values())} in {len(report.counts)} tables or databases")
    lines += ["To take it back:", *(f"  {command}" for command in report.undo)] if report.undo else []
    return [*lines, _ending(report)]


def _ending(report: RestoreReport) -> str:
    if report.fault is not None:
        return "FAILED"
    if report.dry_run:
        return "Planned, and something is in the way. Nothing was changed." if report.obstacles else _PLANNED
    return "Restored, and its counts agree."

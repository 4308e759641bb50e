"""Room `worker.targets`: the strategy InPlace; called by `targets.postgres`.

One transaction holds everything: drops, rows, roles, counts, checks. Its COMMIT is ours, and comes after the verified
end of the artifact, after the counts agree and the checks hold; a failure before leaves the target as it was, since the
server rolls back.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.sql import run_sql_checks
from backup_operator.worker.errors import SourceError, TargetError
from backup_operator.worker.log import fields
from backup_operator.worker.targets.base import Applied, RestoredArtifact
from backup_operator.worker.targets.postgres_build import Terms, codec_of, main_of
from backup_operator.worker.targets.postgres_contents import BackupContents
from backup_operator.worker.targets.postgres_counts import count_rows, refuse_differences
from backup_operator.worker.targets.postgres_database import DatabaseFacts, read_database
from backup_operator.worker.targets.postgres_faults import stating
from backup_operator.worker.targets.postgres_feed import Feeder
from backup_operator.worker.targets.postgres_globals import make_roles
from backup_operator.worker.targets.postgres_inventory import keys_of, names
from backup_operator.worker.targets.postgres_programs import sql_of
from backup_operator.worker.targets.postgres_provider import (
    provider_tables,
    replace_provider_rows,
    survey_provider_rows,
)
from backup_operator.worker.targets.postgres_replace import Replacement, drop, plan_replacement, publish_again
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_site import Site
from backup_operator.worker.targets.postgres_standing import Standing
from backup_operator.worker.targets.postgres_survey import Draft, check_ours, listed, read_sessions

_LOG = logging.getLogger(__name__)
_HOLDERS: LiteralString = """
select distinct on (l.pid) l.pid, coalesce(a.usename::text, ''), coalesce(nullif(a.application_name, ''), 'unnamed'),
       coalesce(a.state, ''), coalesce(extract(epoch from now() - a.xact_start)::int, 0), l.relation::regclass::text
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.granted and l.locktype = 'relation' and l.relation = any (%s) and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and not a.application_name = %s
order by l.pid limit 5
"""
_PREPARED_HOLDERS: LiteralString = """
select distinct on (p.gid) p.gid, p.owner::text, extract(epoch from now() - p.prepared)::int, l.relation::regclass::text
from pg_locks l join pg_locks t on t.virtualtransaction = l.virtualtransaction and t.locktype = 'transactionid'
join pg_prepared_xacts p on p.transaction = t.transactionid
where l.pid is null and t.pid is null and l.granted and l.locktype = 'relation' and l.relation = any (%s)
  and p.database = current_database()
order by p.gid limit 5
"""
"""Prepared transactions have no process, but hold the lock on their own id beside the others."""
_OURS = "backup-operator restore in place"


@dataclass(frozen=True)
class Planned:
    """What the survey found, which apply holds itself to."""

    contents: BackupContents
    replacement: Replacement
    provider_tables: tuple[str, ...]


def survey_in_place(
    draft: Draft,
    site: Site,
    connection: psycopg.Connection,
    contents: BackupContents,
    artifacts: Sequence[RestoredArtifact],
) -> Planned:
    """Say what is replaced, kept and in the way. Raises: psycopg.Error."""
    facts = read_database(connection, site.database)
    draft.overwritten = site.database
    draft.pinned["database"] = site.database
    draft.pinned["databaseId"] = facts.oid if facts else None
    sessions = read_sessions(connection, site.database)
    check_ours(draft, connection, sessions, site.database)
    _tell_encoding(draft, main_of(artifacts), facts)
    draft.say(f"Sessions in {site.database!r} now, which stay: {listed(sessions) or 'none'}.")
    replacement = plan_replacement(connection, keys_of(contents))
    _tell(draft, site, replacement)
    _check(draft, site, replacement)
    _check_locks(draft, site, replacement, contents)
    holders = _holders(connection, replacement)
    if holders:
        draft.say(
            f"Locks on these are held now by {'; '.join(holders)}; the restore waits for them "
            f"{site.order.lock_timeout_seconds} s, then gives up."
        )
    tables = provider_tables(artifacts)
    survey_provider_rows(draft, connection, tables)
    return Planned(contents, replacement, tuple(tables))


def _tell_encoding(draft: Draft, main: RestoredArtifact, facts: DatabaseFacts | None) -> None:
    recorded = str(main.server.get("encoding") or "")
    if facts is not None and recorded not in ("", facts.encoding):
        draft.say(
            f"The database's encoding is {facts.encoding}, the backup's {recorded}: text is converted, and a character "
            "that the database cannot hold stops the restore."
        )


def _tell(draft: Draft, site: Site, replacement: Replacement) -> None:
    dropped, kept = names(replacement.dropped), list(replacement.kept)
    draft.pinned |= {
        "empty": not dropped and not any(each.startswith("table ") for each in kept),
        "dropped": dropped,
        "replaced": names(replacement.replaced),
        "leftAlone": names(replacement.left_alone),
        "kept": kept,
        "inTheWay": list(replacement.in_the_way),
    }
    draft.say(f"In one transaction, what the backup contains is replaced in the database {site.database!r}.")
    draft.say(f"Dropped first ({len(dropped)}): {listed(dropped) or 'nothing'}.")
    if replacement.replaced:
        draft.say(f"Replaced where they stand, since others hang on them: {listed(names(replacement.replaced))}.")
    draft.say(f"Kept as they are ({len(kept)}): {listed(kept) or 'nothing'}.")
    if replacement.foreign:
        draft.say(f"Left alone, since they belong to others: {listed(names(replacement.foreign))}.")
    draft.say("Large objects of the backup replace those of the same number.")


def _check(draft: Draft, site: Site, replacement: Replacement) -> None:
    if replacement.not_ours:
        draft.stop(
            Reason.PERMISSION_DENIED,
            f"The role {site.server.user!r} does not own what is replaced: {listed(names(replacement.not_ours))}.",
        )
    if not replacement.in_the_way:
        return
    hanging = listed(replacement.in_the_way)
    if site.order.drop_dependents:
        draft.say(f"Dropped besides, since they hang on what is replaced and are not in the backup: {hanging}.")
    else:
        draft.stop(
            Reason.DEPENDENTS_IN_THE_WAY,
            f"These hang on what is replaced and are not in the backup: {hanging}. Drop them, or set dropDependents.",
        )


def _check_locks(draft: Draft, site: Site, replacement: Replacement, contents: BackupContents) -> None:
    needed, capacity = replacement.locks + contents.locks, site.server.lock_capacity
    draft.say(f"The transaction takes about {needed} locks; the server holds {capacity}.")
    if needed > capacity:
        draft.stop(
            Reason.TARGET_UNSUITABLE,
            f"One transaction would take about {needed} locks and the server holds {capacity}: set "
            f"max_locks_per_transaction = {site.server.locks_per_slot_for(needed)} on it, now "
            f"{site.server.locks_per_slot}, and restart it, or use strategy NewDatabase or SwapDatabase.",
        )


def _holders(connection: psycopg.Connection, replacement: Replacement) -> list[str]:
    relations = list(replacement.relations)
    rows = connection.execute(_HOLDERS, [relations, _OURS]).fetchall()
    prepared = connection.execute(_PREPARED_HOLDERS, [relations]).fetchall()
    return [
        *(
            f"process {pid} ({application}, role {user}, {state}, for {seconds} s, on {table})"
            for pid, user, application, state, seconds, table in rows
        ),
        *(
            f"the prepared transaction {gid!r} (role {owner}, for {seconds} s, on {table})"
            for gid, owner, seconds, table in prepared
        ),
    ]


def restore_in_place(
    site: Site,
    artifacts: Sequence[RestoredArtifact],
    planned: Planned,
    terms: Terms,
    step: Callable[[str], None],
) -> Applied:
    """Replace, count, commit. Raises: TargetError, and what reading raises, with the state of the target."""
    state = "Everything was rolled back: the database is as it was."
    main = main_of(artifacts)
    with site.connected() as connection:
        with stating(state, site.login.place), _naming_holders(site, planned.replacement):
            transaction = _begin(site, connection)
            made = make_roles(connection, site, artifacts, terms.roles_to_make)
            step("drop")
            replacement = _drop(connection, planned, site)
            standing = Standing(replacement, codec_of(main))
            rewriter = Rewriter(
                site.server.number, terms.missing, terms.unassignable, in_one_transaction=True, standing=standing
            )
            step("restore")
            provider = replace_provider_rows(connection, artifacts, planned.provider_tables, rewriter)
            feeder = _feed(site, connection, main, rewriter)
            notes = _back_to_defaults(connection, replacement)
            expected = {**provider, **(main.rows_per_table if main.rows_per_table is not None else feeder.rows)}
            step("count rows")
            counts = count_rows(connection, expected)
            refuse_differences(counts, expected)
            _refuse_another_transaction(connection, transaction)
            _ask(site, connection, step)
        step("commit")
        _commit(site, connection, transaction)
        step("analyse")
        notes += _analyse(connection, counts)
    state = f"The backup is in place in {site.database!r}."
    return Applied(
        counts=counts,
        state=state,
        notes=(state, *made, *rewriter.notes(), *standing.notes(), *notes),
    )


def _begin(site: Site, connection: psycopg.Connection) -> str:
    """The id of the transaction that holds everything; pg_xact_status knows it afterwards."""
    connection.execute("select pg_catalog.set_config('application_name', %s, false)", [_OURS])
    connection.execute(
        "select pg_catalog.set_config('lock_timeout', %s, false)", [f"{site.order.lock_timeout_seconds}s"]
    )
    connection.execute("begin")
    row = connection.execute("select pg_current_xact_id()::text").fetchone()
    return str(row[0]) if row else ""


def _drop(connection: psycopg.Connection, planned: Planned, site: Site) -> Replacement:
    """Look again, now that nothing moves any more, and drop. Raises: TargetError PlanChanged."""
    found, wanted = plan_replacement(connection, keys_of(planned.contents)), planned.replacement
    drop(connection, found)
    again = names(found.dropped), names(found.replaced), found.in_the_way
    if again != (names(wanted.dropped), names(wanted.replaced), wanted.in_the_way):
        raise TargetError(
            Reason.PLAN_CHANGED,
            f"The objects of the database {site.database!r} have changed since they were looked at.",
            hint="Make a new RestoreRequest and look at its plan.",
        )
    return found


def _feed(site: Site, connection: psycopg.Connection, main: RestoredArtifact, rewriter: Rewriter) -> Feeder:
    feeder = Feeder(connection, rewriter, codec_of(main))
    with sql_of(main, site.clients, site.scratch) as chunks:
        feeder.feed(chunks)
    return feeder


def _back_to_defaults(connection: psycopg.Connection, replacement: Replacement) -> tuple[str, ...]:
    connection.execute("select pg_catalog.set_config('client_encoding', 'UTF8', false)")
    return publish_again(connection, replacement)


def _ask(site: Site, connection: psycopg.Connection, step: Callable[[str], None]) -> None:
    """Ask what must hold, before COMMIT. Raises: TargetError CheckFailed."""
    if site.checks.sql:
        step("checks")
        site.checks.take(run_sql_checks(connection, site.checks.sql, site.checks.backed_up_at))


def _refuse_another_transaction(connection: psycopg.Connection, transaction: str) -> None:
    row = connection.execute("select pg_current_xact_id()::text").fetchone()
    if row is None or row[0] != transaction:
        raise TargetError(Reason.RESTORE_FAILED, "Something in the backup ended our transaction.")


def _commit(site: Site, connection: psycopg.Connection, transaction: str) -> None:
    """Commit; where the answer is lost, the server is asked what became of it. Raises: TargetError."""
    # whoever finds us killed here can still find out
    _LOG.info("commit", extra=fields(transaction=transaction, ask=f"SELECT pg_xact_status('{transaction}')"))
    try:
        connection.execute("commit")
    except psycopg.Error as exc:
        status = _status(site, transaction)
        if status == "committed":
            return
        state = {
            "aborted": "Everything was rolled back: the database is as it was.",
            "in progress": "The server is still deciding: either all of it is in place or nothing was changed.",
        }.get(status, "The answer to COMMIT was lost: either all of it is in place or nothing was changed.")
        with stating(state, site.login.place):
            raise exc


def _status(site: Site, transaction: str) -> str:
    with suppress(psycopg.Error, SourceError), site.connected() as connection:
        row = connection.execute("select pg_xact_status(%s::xid8)", [transaction]).fetchone()
        return str(row[0]) if row and row[0] else ""
    return ""


def _analyse(connection: psycopg.Connection, tables: dict[str, int]) -> tuple[str, ...]:
    """Statistics of the tables; the rows are in place whether or not this works."""
    try:
        for table in tables:
            connection.execute(f"analyze {table}".encode())
    except psycopg.Error as exc:
        return (f"ANALYZE did not run to its end ({exc.diag.message_primary}); type it in psql.",)
    return ()


@contextmanager
def _naming_holders(site: Site, planned: Replacement) -> Iterator[None]:
    """Adds to a lock timeout who holds the locks."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        with suppress(psycopg.Error, SourceError), site.connected() as connection:
            holders = _holders(connection, planned)
            exc.add_note(f"Held by {'; '.join(holders)}" if holders else "Nobody holds them any more")
        raise

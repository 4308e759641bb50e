"""Room `worker.targets`: the strategy SwapDatabase; called by `targets.postgres`.

The backup is restored beside the database, checked, and put in its place: both renames, and all that is kept with a
database, are one transaction. New connections wait at the server's own lock while it runs, so that no switch is set
that could stay behind; a failure at any moment leaves the database under its name and open.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from threading import Event
from typing import LiteralString

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, TargetError
from backup_operator.worker.targets.base import Applied, RestoredArtifact
from backup_operator.worker.targets.postgres_build import Terms, built_database, main_of
from backup_operator.worker.targets.postgres_database import (
    DatabaseFacts,
    Form,
    Setting,
    copy_properties,
    read_database,
    read_settings,
    rename_database,
)
from backup_operator.worker.targets.postgres_faults import UNTOUCHED, stating
from backup_operator.worker.targets.postgres_names import with_suffix
from backup_operator.worker.targets.postgres_new_database import form_of
from backup_operator.worker.targets.postgres_site import Site
from backup_operator.worker.targets.postgres_survey import (
    Draft,
    check_may_create,
    check_ours,
    listed,
    read_prepared,
    read_sessions,
)

_END_INTERVAL_SECONDS = 0.05
"""RENAME itself waits up to 5 s for others to leave the database. Source: CountOtherDBBackends in procarray.c"""
_END_SESSIONS: LiteralString = """
select pg_terminate_backend(a.pid) from pg_stat_activity a join pg_roles u on u.oid = a.usesysid
where a.datname = %s and a.pid <> pg_backend_pid()
  and ((select rolsuper from pg_roles where rolname = current_user)
       or not u.rolsuper and (pg_has_role(current_user, u.oid, 'MEMBER')
                              or pg_has_role(current_user, 'pg_signal_backend', 'MEMBER')))
"""
_SLOTS: LiteralString = "select slot_name::text from pg_replication_slots where database = %s order by 1"
_IS_EMPTY: LiteralString = """
select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where c.oid >= 16384 and c.relkind in ('r', 'p') and n.nspname !~ '^pg_')
"""


def survey_swap(draft: Draft, site: Site, connection: psycopg.Connection) -> None:
    """Say what is swapped and who is in the way. Raises: psycopg.Error, SourceError."""
    check_may_create(draft, site)
    draft.overwritten = site.database
    facts = read_database(connection, site.database)
    draft.pinned |= {"database": site.database, "databaseId": facts.oid if facts else None}
    if facts is None:
        draft.stop(Reason.DATABASE_MISSING, f"The server has no database {site.database!r}: use strategy NewDatabase.")
        return
    _tell(draft, site, connection)
    draft.pinned["empty"] = _is_empty(site)
    prepared = read_prepared(connection, site.database)
    if prepared:
        draft.stop(Reason.TARGET_IN_USE, f"Prepared transactions hold {site.database!r}: {listed(prepared)}.")
    if read_database(connection, site.before) is not None:
        draft.stop(Reason.TARGET_EXISTS, f"The database {site.before!r} is there already.")


def _tell(draft: Draft, site: Site, connection: psycopg.Connection) -> None:
    settings = read_settings(connection, site.database)
    draft.say(
        f"The backup is restored beside {site.database!r}, as {site.temporary!r}, by {site.order.jobs} sessions at "
        "once, and checked."
    )
    sessions = read_sessions(connection, site.database)
    check_ours(draft, connection, sessions, site.database)
    draft.say(f"Then the sessions in {site.database!r} are ended, now {len(sessions)}: {listed(sessions) or 'none'}.")
    immortal = [each for each in sessions if not each.may_be_ended]
    if immortal and not site.server.is_superuser:
        draft.stop(Reason.TARGET_IN_USE, f"The role {site.server.user!r} may not end: {listed(immortal)}.")
    draft.say(
        f"In one transaction {site.database!r} becomes {site.before!r}, which is kept, and the restored one takes its "
        f"name, its owner, grants, comment, connection limit and {len(settings)} settings."
    )
    slots = [row[0] for row in connection.execute(_SLOTS, [site.database]).fetchall()]
    if slots:
        draft.say(f"Logical replication slots stay with the old database: {listed(slots)}.")


def _is_empty(site: Site) -> bool:
    with site.connected(site.database) as connection:
        row = connection.execute(_IS_EMPTY).fetchone()
        return row is not None and bool(row[0])


def restore_swapped(
    site: Site, artifacts: Sequence[RestoredArtifact], terms: Terms, step: Callable[[str], None]
) -> Applied:
    """Build beside and swap. Raises: TargetError, and what reading raises, with the state of the target."""
    with ExitStack() as stack:
        with stating(UNTOUCHED, site.login.place):
            facts, settings = _facts(site)
            lock = stack.enter_context(ExitStack())
            lock.enter_context(site.locked(site.database))
        # the settings of the one that is replaced: what was taken away since the backup does not come back
        built = stack.enter_context(built_database(site, artifacts, terms, step, _form(artifacts, facts), settings))
        # nobody may be in a database that is renamed, not even the session that holds its lock
        lock.close()
        step("swap")
        notes = _swap(site, facts)
    kept = f"The backup is in {site.database!r}; what was there is kept as {site.before!r}."
    return Applied(counts=dict(built.counts), notes=(kept, *built.notes, *notes), state=kept, undo=tuple(_undo(site)))


def _facts(site: Site) -> tuple[DatabaseFacts, list[Setting]]:
    with site.connected() as connection:
        facts, settings = read_database(connection, site.database), read_settings(connection, site.database)
    if facts is None:
        raise TargetError(
            Reason.PLAN_CHANGED, f"The database {site.database!r} is gone since it was looked at; nothing was changed."
        )
    return facts, settings


def _form(artifacts: Sequence[RestoredArtifact], facts: DatabaseFacts) -> Form:
    """The source's own form where it is recorded, else that of the database whose place is taken."""
    recorded = form_of(main_of(artifacts))
    if recorded.encoding and recorded.collation:
        return replace(recorded, tablespace=facts.tablespace)
    return Form(
        encoding=recorded.encoding or facts.encoding,
        collation=facts.collation,
        character_type=facts.character_type,
        tablespace=facts.tablespace,
    )


def _swap(site: Site, facts: DatabaseFacts) -> tuple[str, ...]:
    """Both renames in one transaction; where the answer to its COMMIT is lost, the server is looked at again."""
    pid = 0
    try:
        with site.connected() as connection, connection.transaction():
            pid = connection.info.backend_pid
            connection.execute(
                "select pg_catalog.set_config('lock_timeout', %s, true)", [f"{site.order.lock_timeout_seconds}s"]
            )
            notes = copy_properties(connection, site.database, facts, site.temporary)
            with _sessions_ended(site), _naming_sessions(site):
                rename_database(connection, site.database, site.before)
            rename_database(connection, site.temporary, site.database)
    except psycopg.OperationalError:
        if site.settled(pid, site.before) != facts.oid:
            raise
        return ("The answer to COMMIT was lost; the server has both names swapped.",)
    return notes


@contextmanager
def _sessions_ended(site: Site) -> Iterator[None]:
    """Ends whoever is in the database, again and again, until the rename holds its lock and all have left."""
    stopped = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="sessions") as pool:
        ending = pool.submit(_end_sessions, site, stopped)
        try:
            yield
        finally:
            stopped.set()
    ending.result()


def _end_sessions(site: Site, stopped: Event) -> None:
    with site.connected() as connection:
        while True:
            connection.execute(_END_SESSIONS, [site.database])
            if stopped.wait(_END_INTERVAL_SECONDS):
                return


@contextmanager
def _naming_sessions(site: Site) -> Iterator[None]:
    """Adds to the server's refusal who is still in the database."""
    try:
        yield
    except psycopg.errors.ObjectInUse as exc:
        with suppress(psycopg.Error, SourceError), site.connected() as connection:
            exc.add_note(f"Still there: {listed(read_sessions(connection, site.database))}")
        raise


def _undo(site: Site) -> Iterator[str]:
    database, before, aside = (
        # not the temporary name, by which a plan tells what killed restores have left
        '"' + name.replace('"', '""') + '"'
        for name in (site.database, site.before, with_suffix(site.database, f"_restored_{site.stamp}"))
    )
    literal = site.database.replace("'", "''")
    yield "-- In psql, connected to another database. To swap back:"
    yield f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{literal}';"  # noqa: S608
    yield f"BEGIN; ALTER DATABASE {database} RENAME TO {aside}; ALTER DATABASE {before} RENAME TO {database}; COMMIT;"
    # a comment: whoever pipes all lines into psql and whose swap is refused would lose the only copy
    yield f"-- To drop what was there before, when all is well: DROP DATABASE {before};"

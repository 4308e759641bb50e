"""Room `worker.targets`: builds a database under a temporary name; called by `targets.postgres` for two strategies.

NewDatabase renames it to its name; SwapDatabase puts it in the place of another. Until then nothing that was there is
touched, so that dropping the temporary database undoes everything.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.sql import run_sql_checks
from backup_operator.worker.errors import SourceError, TargetError
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.postgres_counts import count_rows, refuse_differences
from backup_operator.worker.targets.postgres_database import (
    Form,
    Setting,
    create_database,
    drop_database,
    free_room,
    keep_settings,
    read_database,
)
from backup_operator.worker.targets.postgres_faults import UNTOUCHED, stating
from backup_operator.worker.targets.postgres_feed import Feeder
from backup_operator.worker.targets.postgres_globals import make_roles
from backup_operator.worker.targets.postgres_lanes import Lanes, open_lanes, without_waiting
from backup_operator.worker.targets.postgres_names import drop_command
from backup_operator.worker.targets.postgres_programs import sql_of
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_site import Site

MAIN_KINDS = (ArtifactKind.POSTGRES_PLAIN, ArtifactKind.POSTGRES_CUSTOM)


@dataclass
class Built:
    """The temporary database: what it holds, and what a person should know of how it came about."""

    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """What the survey found out, for the building."""

    missing: frozenset[str] = frozenset()
    """Roles that are not there: what is theirs is left out."""
    unassignable: frozenset[str] = frozenset()
    """Roles that ours may not act for: their ownership is left out."""
    roles_to_make: tuple[str, ...] = ()
    """Roles that are not there and are made from the backup's globals."""


@contextmanager
def built_database(
    site: Site,
    artifacts: Sequence[RestoredArtifact],
    terms: Terms,
    step: Callable[[str], None],
    form: Form,
    settings: Sequence[Setting],
) -> Iterator[Built]:
    """The temporary database, full, counted and analysed; dropped again when this or what follows fails.

    It has these settings from the start, since checks may need them.

    Raises: TargetError, and what reading the artifacts raises, each with the state of the target.
    """
    with stating(UNTOUCHED, site.login.place):
        _refuse_anothers(site)
    with _undone_on_failure(site, terms):
        with site.connected() as connection:
            made = make_roles(connection, site, artifacts, terms.roles_to_make)
        step("create database")
        notes = made + _create(site, form, settings)
        built = _fill(site, artifacts, terms, step)
        built.notes = (*notes, *built.notes)
        yield built


def _refuse_anothers(site: Site) -> None:
    """A database of the temporary name belongs to another restore, begun within the same second, and is not touched."""
    with site.connected() as connection:
        if read_database(connection, site.temporary) is not None:
            raise TargetError(
                Reason.TARGET_EXISTS,
                f"The database {site.temporary!r} is there already: another restore builds it, or was killed.",
                hint=f"Look who is in it, then drop it: {drop_command(site.temporary)}",
            )


@contextmanager
def _undone_on_failure(site: Site, terms: Terms) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with stating(_state(site, terms, dropped=_drop(site)), site.login.place):
            raise


def _state(site: Site, terms: Terms, *, dropped: bool) -> str:
    """What a failed restore leaves, in a sentence."""
    roles = f", but the roles {', '.join(terms.roles_to_make)} may have been made" if terms.roles_to_make else ""
    if dropped:
        return f"The database being built, {site.temporary!r}, was dropped again; nothing else was touched{roles}."
    return (
        f"The server could not be asked to undo it: {site.temporary!r} may be left over, to be dropped by hand; "
        f"{site.database!r} is as it was, or restored as a whole{roles}."
    )


def _drop(site: Site) -> bool:
    """Drop the temporary database, and answer whether it is gone; the first failure stays the news."""
    with suppress(psycopg.Error, SourceError), site.connected(site.temporary) as connection:
        free_room(connection)
    with suppress(psycopg.Error, SourceError), site.connected() as connection:
        drop_database(connection, site.temporary)
        return True
    return False


def _create(site: Site, form: Form, settings: Sequence[Setting]) -> tuple[str, ...]:
    with site.connected() as connection:
        notes = create_database(connection, site.temporary, form, site.server.number)
        return notes + keep_settings(connection, site.temporary, settings)


def _fill(site: Site, artifacts: Sequence[RestoredArtifact], terms: Terms, step: Callable[[str], None]) -> Built:
    main = main_of(artifacts)
    built = _feed(site, main, terms, step)
    _count_and_analyse(site, main, built, step)
    _check(site, step)
    return built


def _feed(site: Site, main: RestoredArtifact, terms: Terms, step: Callable[[str], None]) -> Built:
    step("restore")
    rewriter = Rewriter(site.server.number, terms.missing, terms.unassignable)
    with ExitStack() as stack:
        connection = stack.enter_context(site.connected(site.temporary))
        without_waiting(connection)
        feeder = Feeder(connection, rewriter, codec_of(main))
        feeder.lanes, notes = _lanes(site, stack, site.order.jobs)
        feeder.feed(stack.enter_context(sql_of(main, site.clients, site.scratch)))
    return Built(feeder.rows, (*rewriter.notes(), *notes))


def _lanes(site: Site, stack: ExitStack, count: int) -> tuple[Lanes | None, tuple[str, ...]]:
    """So many sessions, or none where one job is wanted, or the server has no more connections for them."""
    if site.order.jobs < 2:
        return None, ()
    try:
        return stack.enter_context(open_lanes(site, count)), ()
    except SourceError as exc:
        if exc.reason is not Reason.TOO_MANY_CONNECTIONS:
            raise
        return None, ("One session restored it: the server had no free connections for more.",)


def _count_and_analyse(site: Site, main: RestoredArtifact, built: Built, step: Callable[[str], None]) -> None:
    expected = main.rows_per_table if main.rows_per_table is not None else built.counts
    with ExitStack() as stack:
        connection = stack.enter_context(site.connected(site.temporary))
        beside, _ = _lanes(site, stack, 1)
        step("count rows")
        if beside is not None:
            beside.start(b"analyze")
        built.counts = count_rows(connection, expected)
        refuse_differences(built.counts, expected)
        step("analyse")
        if beside is not None:
            beside.wait()
        else:
            connection.execute("analyze")


def _check(site: Site, step: Callable[[str], None]) -> None:
    """Ask what must hold, on a connection like an application's. Raises: TargetError CheckFailed."""
    if not site.checks.sql:
        return
    step("checks")
    with site.connected(site.temporary) as connection:
        site.checks.take(run_sql_checks(connection, site.checks.sql, site.checks.backed_up_at))


def main_of(artifacts: Sequence[RestoredArtifact]) -> RestoredArtifact:
    """The artifact with the tables."""
    return next(each for each in artifacts if each.kind in MAIN_KINDS)


def codec_of(artifact: RestoredArtifact) -> str:
    """Python's name of the encoding of the dump; the names in it are read with it."""
    recorded = str(artifact.server.get("encoding", "UTF8"))
    try:
        return codecs.lookup(recorded.replace("WIN", "cp").replace("KOI8", "koi8_")).name
    except LookupError:
        return "utf-8"

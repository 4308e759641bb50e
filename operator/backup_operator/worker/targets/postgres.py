"""Room `worker.targets`: the PostgreSQL target; called by `worker.restore`.

survey:  URL -> login -> server, database, what the backup needs -> lines, pins, obstacles; nothing is written
apply:   confirm, obstacles, advisory lock -> globals -> the strategy -> counts and notes
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from backup_operator.contract.restore import PostgresTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind, MissingRoles, PostgresStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.errors import TargetError, WorkerError
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.sources.postgres_clients import installed_clients
from backup_operator.worker.sources.postgres_connection import Login, make_login
from backup_operator.worker.sources.postgres_preflight import refuse_transaction_pooler_port
from backup_operator.worker.sources.postgres_url import parse_url
from backup_operator.worker.targets.base import Applied, RestoredArtifact, TargetPlan
from backup_operator.worker.targets.postgres_build import Terms, codec_of, main_of
from backup_operator.worker.targets.postgres_contents import BackupContents, read_contents
from backup_operator.worker.targets.postgres_faults import UNTOUCHED, stating, with_state
from backup_operator.worker.targets.postgres_in_place import Planned, restore_in_place, survey_in_place
from backup_operator.worker.targets.postgres_inventory import unquoted
from backup_operator.worker.targets.postgres_names import with_suffix
from backup_operator.worker.targets.postgres_new_database import restore_new_database, survey_new_database
from backup_operator.worker.targets.postgres_page import (
    check_extensions,
    check_provider,
    tell_backup,
    tell_left_over,
    tell_room,
    tell_target,
)
from backup_operator.worker.targets.postgres_programs import sql_of
from backup_operator.worker.targets.postgres_roles_plan import RolesPlan, plan_roles
from backup_operator.worker.targets.postgres_site import (
    APPLICATION,
    Site,
    connect_beside,
    read_target_server,
    server_identity,
    stamp,
    with_parameters,
)
from backup_operator.worker.targets.postgres_survey import (
    Draft,
    check_contents,
    check_roles,
    check_server,
)
from backup_operator.worker.targets.postgres_swap import restore_swapped, survey_swap
from backup_operator.worker.words import as_yaml

CLIENTS_ROOT = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class _Surveyed:
    """What the survey found, for apply."""

    site: Site
    contents: BackupContents
    roles: RolesPlan
    draft: Draft
    in_place: Planned | None = None


class PostgresTarget:
    """A PostgreSQL server that is restored into. `scratch` is private: the password file is kept there."""

    def __init__(
        self,
        order: PostgresTargetOrder,
        *,
        scratch: Path,
        clients_root: Path = CLIENTS_ROOT,
        confirm: str,
        now: Callable[[], datetime],
        checks: Checks | None = None,
    ) -> None:
        self._order = order
        self._scratch = scratch
        self._clients_root = clients_root
        self._confirm = confirm
        self._now = now
        self._checks = checks or Checks()
        self._login: Login | None = None
        self._surveyed: _Surveyed | None = None

    def survey(self, artifacts: Sequence[RestoredArtifact]) -> TargetPlan:
        """Connect and look; writes nothing. Raises: TargetError, SecretMissing."""
        login = self._make_login()
        with stating(UNTOUCHED, login.place):
            beside, connection = self._connect(login)
            try:
                site = self._site(beside, login.place.database, connection)
                self._surveyed = self._look(site, connection, artifacts)
            finally:
                connection.close()
        draft = self._surveyed.draft
        return TargetPlan(
            lines=tuple(draft.lines),
            pinned=draft.pinned,
            obstacles=tuple(why for _, why in draft.obstacles),
            overwritten=draft.overwritten,
            into=self._surveyed.site.database,
        )

    def apply(self, artifacts: Sequence[RestoredArtifact], step: Callable[[str], None]) -> Applied:
        """Write. Called once, after `survey`. Raises: TargetError whose message says what state the target is in."""
        surveyed = self._surveyed
        if surveyed is None:
            raise RuntimeError("apply() is called after survey()")
        self._refuse(surveyed.draft)
        site = surveyed.site
        terms = Terms(
            missing=frozenset(surveyed.roles.missing),
            unassignable=frozenset(surveyed.roles.unassignable),
            roles_to_make=surveyed.roles.made,
        )
        with ExitStack() as stack:
            with stating(UNTOUCHED, site.login.place):
                stack.enter_context(site.locked())
            if surveyed.in_place is not None:
                return restore_in_place(site, artifacts, surveyed.in_place, terms, step)
            if self._order.strategy is PostgresStrategy.SWAP_DATABASE:
                return restore_swapped(site, artifacts, terms, step)
            return restore_new_database(site, artifacts, terms, step)

    def close(self) -> None:
        """Remove the password file; may be called twice."""
        if self._login is not None:
            self._login.password_file.unlink(missing_ok=True)
            with suppress(OSError):
                self._login.password_file.parent.rmdir()

    def _make_login(self) -> Login:
        secret = self._order.url
        text, _ = read_secret(secret)
        try:
            url = parse_url(text.strip(), secret.described)
            # a directory of its own: a safety backup from the same scratch has a password file too
            directory = self._scratch / "target"
            directory.mkdir(mode=0o700, exist_ok=True)
            login = make_login(url, self._order.tls, directory, application=APPLICATION, secret=secret.described)
            self._login = login
            refuse_transaction_pooler_port(login.place)
        except WorkerError as exc:
            raise with_state(exc, UNTOUCHED) from exc
        return login

    def _connect(self, login: Login) -> tuple[Login, psycopg.Connection]:
        """Into the database that is replaced in place; else into one that is neither made nor renamed."""
        database = self._order.database or login.place.database
        if self._order.strategy is PostgresStrategy.IN_PLACE:
            into = with_parameters(login, dbname=database)
            return into, into.connect()
        return connect_beside(login, database if self._order.strategy is PostgresStrategy.SWAP_DATABASE else None)

    def _site(self, login: Login, url_database: str, connection: psycopg.Connection) -> Site:
        at = self._now()
        new = self._order.strategy is PostgresStrategy.NEW_DATABASE
        made = with_suffix(url_database, f"_restored_{stamp(at)}") if new else url_database
        return Site(
            order=self._order,
            login=login.pinned(connection),
            server=read_target_server(connection),
            clients=installed_clients(self._clients_root),
            scratch=self._scratch,
            database=self._order.database or made,
            named_by_us=new and not self._order.database,
            at=at,
            checks=self._checks,
        )

    def _look(self, site: Site, connection: psycopg.Connection, artifacts: Sequence[RestoredArtifact]) -> _Surveyed:
        main = main_of(artifacts)
        draft = Draft()
        draft.pinned["server"] = server_identity(connection, site.login, site.server)
        draft.pinned["strategy"] = str(self._order.strategy)
        tell_target(draft, site, connection)
        tell_backup(draft, site, main)
        check_server(draft, site)
        with sql_of(main, site.clients, site.scratch, only_schema=True) as chunks:
            contents = read_contents(chunks, codec_of(main))
        check_contents(draft, contents)
        check_extensions(draft, site, connection, contents, main.server)
        check_provider(draft, site, artifacts, main)
        planned = None
        if self._order.strategy is PostgresStrategy.IN_PLACE:
            planned = survey_in_place(draft, site, connection, contents, artifacts)
        elif self._order.strategy is PostgresStrategy.SWAP_DATABASE:
            survey_swap(draft, site, connection)
        else:
            survey_new_database(draft, site, connection, main)
        foreign = [(each.kind, each.key[2]) for each in planned.replacement.foreign] if planned else []
        needed = contents.roles_without(foreign)
        roles = plan_roles(connection, needed.owners, needed.grantees, self._roles_in_globals(site, artifacts))
        check_roles(draft, roles, leave_out=self._order.missing_roles is MissingRoles.LEAVE_OUT)
        if self._order.globals and not any(each.kind is ArtifactKind.POSTGRES_GLOBALS for each in artifacts):
            draft.say("This backup holds no globals (its policy was without globals: true): no role is made.")
        tell_room(draft, site, main)
        tell_left_over(draft, connection)
        return _Surveyed(site, contents, roles, draft, planned)

    def _roles_in_globals(self, site: Site, artifacts: Sequence[RestoredArtifact]) -> list[str]:
        """The roles that this restore makes first."""
        if not self._order.globals:
            return []
        found: list[str] = []
        for artifact in artifacts:
            if artifact.kind is ArtifactKind.POSTGRES_GLOBALS:
                with sql_of(artifact, site.clients, site.scratch) as chunks:
                    contents: BackupContents = read_contents(chunks)
                found += [unquoted(name) for name in contents.names_of("ROLE")]
        return found

    def _refuse(self, draft: Draft) -> None:
        """Refuse to begin where the survey found an obstacle, or `confirm` does not name what is lost."""
        if draft.overwritten and self._confirm != draft.overwritten:
            raise TargetError(
                Reason.CONFIRM_MISSING,
                f"{draft.overwritten!r} would be overwritten, and confirm says {self._confirm!r}. {UNTOUCHED}",
                hint=f"Write confirm: {as_yaml(draft.overwritten)}",
            )
        if draft.obstacles:
            reason, why = draft.obstacles[0]
            others = "; ".join(text for _, text in draft.obstacles[1:])
            raise TargetError(reason, f"{why} {UNTOUCHED}", detail=others)

"""Room `worker.targets`: the strategy NewDatabase; called by `targets.postgres`.

Built under a temporary name, checked, then renamed: a database of the wanted name is there whole, or not at all.
"""

from collections.abc import Callable, Sequence

import psycopg

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.targets.base import Applied, RestoredArtifact
from backup_operator.worker.targets.postgres_build import Terms, built_database, main_of
from backup_operator.worker.targets.postgres_database import Form, read_database, recorded_settings, rename_database
from backup_operator.worker.targets.postgres_names import drop_command
from backup_operator.worker.targets.postgres_properties import give_properties, recorded_properties, tell_properties
from backup_operator.worker.targets.postgres_site import Site
from backup_operator.worker.targets.postgres_survey import Draft, check_may_create


def survey_new_database(draft: Draft, site: Site, connection: psycopg.Connection, main: RestoredArtifact) -> None:
    """Say what is made. Raises: psycopg.Error."""
    check_may_create(draft, site)
    draft.pinned["database"] = f"{site.login.place.database}_restored_*" if site.named_by_us else site.database
    exists = read_database(connection, site.database) is not None
    draft.pinned["exists"] = exists
    if exists:
        draft.stop(
            Reason.TARGET_EXISTS,
            f"The database {site.database!r} is there already: name another in target.postgres.database, or drop it.",
        )
    form = form_of(main)
    settings = recorded_settings(main.server)
    encoding, locale = form.encoding or "of the server", form.collation or "of the server"
    draft.say(
        f"A new database {site.database!r} is built as {site.temporary!r} (encoding {encoding}, locale {locale}, "
        f"{len(settings)} recorded settings) by {site.order.jobs} sessions at once, checked, then renamed."
    )
    tell_properties(draft, connection, main.server)
    draft.say("No database that is there is touched.")


def restore_new_database(
    site: Site, artifacts: Sequence[RestoredArtifact], terms: Terms, step: Callable[[str], None]
) -> Applied:
    """Build and rename. Raises: TargetError, and what reading the artifacts raises, with the state of the target."""
    main = main_of(artifacts)
    with built_database(site, artifacts, terms, step, form_of(main), recorded_settings(main.server)) as built:
        step("rename")
        given = _rename(site, main)
    state = f"The backup is in the new database {site.database!r}."
    return Applied(
        counts=dict(built.counts),
        notes=(state, *built.notes, *given),
        state=state,
        undo=(drop_command(site.database),),
    )


def _rename(site: Site, main: RestoredArtifact) -> tuple[str, ...]:
    """Give it its name and properties at once; where the answer to COMMIT is lost, the server is looked at again."""
    pid, made = 0, None
    try:
        with site.connected() as connection, connection.transaction():
            pid, made = connection.info.backend_pid, read_database(connection, site.temporary)
            # renamed first: only the owner may, and the owner is given last
            rename_database(connection, site.temporary, site.database)
            return give_properties(connection, site.database, recorded_properties(main.server))
    except psycopg.OperationalError:
        if made is None or site.settled(pid, site.database) != made.oid:
            raise
        return ("The answer to COMMIT was lost; the server has the database under its name.",)


def form_of(main: RestoredArtifact) -> Form:
    """What the backup's entry recorded of its database's form."""
    names = ("encoding", "collation", "characterType", "localeProvider", "locale", "icuRules")
    recorded = {name: str(main.server.get(name) or "") for name in names}
    return Form(
        encoding=recorded["encoding"],
        collation=recorded["collation"],
        character_type=recorded["characterType"],
        provider=recorded["localeProvider"],
        locale=recorded["locale"],
        icu_rules=recorded["icuRules"],
    )

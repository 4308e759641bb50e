"""Room `worker.targets`: rows of schemas that a provider makes itself; called by `targets.postgres_in_place`.

Their tables are the provider's and stay; their rows are replaced by those of the backup, without triggers and foreign
keys taking part, before the main dump, whose foreign keys need them.
"""

from collections.abc import Sequence

import psycopg

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.postgres_build import codec_of
from backup_operator.worker.targets.postgres_contents import read_contents
from backup_operator.worker.targets.postgres_feed import Feeder
from backup_operator.worker.targets.postgres_rewrite import Rewriter
from backup_operator.worker.targets.postgres_survey import Draft, listed


def provider_artifacts(artifacts: Sequence[RestoredArtifact]) -> list[RestoredArtifact]:
    """The artifacts that hold rows of a provider's schemas."""
    return [each for each in artifacts if each.kind is ArtifactKind.POSTGRES_PROVIDER_DATA]


def provider_tables(artifacts: Sequence[RestoredArtifact]) -> list[str]:
    """The tables whose rows are in them. Raises: what reading them raises."""
    tables: list[str] = []
    for artifact in provider_artifacts(artifacts):
        with artifact.open() as chunks:
            tables += read_contents(chunks, codec_of(artifact)).tables_with_rows
    return list(dict.fromkeys(tables))


def survey_provider_rows(draft: Draft, connection: psycopg.Connection, tables: Sequence[str]) -> None:
    """Say whose rows are replaced, and whether they can be. Raises: psycopg.Error."""
    if not tables:
        return
    draft.pinned["rowsReplaced"] = sorted(tables)
    draft.say(f"Rows of the provider's tables are replaced, the tables themselves stay: {listed(sorted(tables))}.")
    draft.say(
        "Triggers and policies of your own on those tables are left as they are; those of the backup's time stand as "
        "comments at the head of its auth_storage_… file, to be run afterwards where they are missing."
    )
    found = connection.execute(
        "select t.name, to_regclass(t.name) is null from unnest(%s::text[]) as t(name)", [list(tables)]
    ).fetchall()
    missing = [name for name, is_missing in found if is_missing]
    if missing:
        draft.stop(Reason.TARGET_UNSUITABLE, f"The target lacks the provider's tables {listed(missing)}.")
    if not _may_silence_triggers(connection):
        draft.stop(
            Reason.TARGET_UNSUITABLE,
            "The role may not set session_replication_role, without which triggers would change the provider's rows.",
        )


def replace_provider_rows(
    connection: psycopg.Connection, artifacts: Sequence[RestoredArtifact], tables: Sequence[str], rewriter: Rewriter
) -> dict[str, int]:
    """Replace the rows inside the open transaction; answers the counts to expect. Raises: psycopg.Error."""
    rows: dict[str, int] = {}
    if not tables:
        return rows
    connection.execute("set session_replication_role = replica")
    for table in tables:
        connection.execute(f"delete from only {table}".encode())  # noqa: S608 - quoted by pg_dump, in a verified backup
    for artifact in provider_artifacts(artifacts):
        feeder = Feeder(connection, rewriter, codec_of(artifact))
        with artifact.open() as chunks:
            feeder.feed(chunks)
        rows |= artifact.rows_per_table if artifact.rows_per_table is not None else feeder.rows
    connection.execute("set session_replication_role = origin")
    return rows


def _may_silence_triggers(connection: psycopg.Connection) -> bool:
    """Tried, and taken back: who may depends on the server's version and on grants."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local session_replication_role = replica")
    except psycopg.Error:
        return False
    return True

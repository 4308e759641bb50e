"""Room `worker.targets`: what every plan says, whatever the strategy; called by `targets.postgres`.

First where it goes and what comes, then the strategy's own sentences, then room and what an earlier restore left.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg

from backup_operator.vocabulary.choices import ArtifactKind, PostgresStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.targets.base import RestoredArtifact
from backup_operator.worker.targets.postgres_contents import BackupContents
from backup_operator.worker.targets.postgres_inventory import unquoted
from backup_operator.worker.targets.postgres_names import drop_command
from backup_operator.worker.targets.postgres_site import Site
from backup_operator.worker.targets.postgres_survey import Draft, listed
from backup_operator.worker.words import numbered

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_LEFT_OVER: LiteralString = r"""
select d.datname::text, (select count(*) from pg_stat_activity a where a.datname = d.datname)
from pg_database d where d.datname ~ '_restoring_\d{8}_\d{6}$' order by 1
"""
_EXTENSIONS: LiteralString = """
select a.name::text, a.default_version, v.superuser and not v.trusted, e.extname is not null
from pg_available_extensions a
join pg_available_extension_versions v on v.name = a.name and v.version = a.default_version
left join pg_extension e on e.extname = a.name
"""


def tell_target(draft: Draft, site: Site, connection: psycopg.Connection) -> None:
    """Where it goes, and whether others on the way can read along."""
    tls = "encrypted with TLS" if connection.pgconn.ssl_in_use else "NOT encrypted (no TLS)"
    version = _short(site.server.version)
    draft.say(f"Target: {site.login.place.server}, PostgreSQL {version}, as role {site.server.user}, {tls}.")


def tell_backup(draft: Draft, site: Site, main: RestoredArtifact) -> None:
    """What comes: version, encoding, amount."""
    form = "an archive" if main.kind is ArtifactKind.POSTGRES_CUSTOM else "SQL"
    said = [f"{readable_bytes(main.plain_bytes)} of {form}"]
    if main.rows_per_table is not None:
        rows = numbered(sum(main.rows_per_table.values()), "row")
        said += [f"{numbered(len(main.rows_per_table), 'table')} with {rows}"]
    if main.server.get("largeObjects"):
        said += [numbered(int(str(main.server["largeObjects"])), "large object")]
    if main.server.get("encoding"):
        said += [f"encoding {main.server['encoding']}"]
    draft.say(f"Backup: {_origin(site, str(main.server.get('version') or ''))}, {', '.join(said)}.")


def _origin(site: Site, version: str) -> str:
    if not version:
        return "from a server whose version is not recorded"
    source, target = major_of(version), site.server.number // 10000
    if source > target:
        relation = "newer: settings that the target does not know are left out, other new syntax stops the restore"
    else:
        relation = "the same major" if source == target else "older"
    return f"from PostgreSQL {_short(version)} ({relation})"


def check_extensions(
    draft: Draft, site: Site, connection: psycopg.Connection, contents: BackupContents, recorded: Mapping[str, object]
) -> None:
    """Extensions of the backup, and those that the server cannot make. Raises: psycopg.Error."""
    wanted = sorted(unquoted(name) for name in contents.names_of("EXTENSION"))
    found = {name: rest for name, *rest in connection.execute(_EXTENSIONS).fetchall()}
    missing = [name for name in wanted if name not in found]
    if missing:
        draft.stop(
            Reason.TARGET_UNSUITABLE,
            f"The target server lacks the extensions {', '.join(missing)}: install their packages on it.",
        )
    known = recorded.get("extensions")
    versions = known if isinstance(known, Mapping) else {}
    if wanted:
        told = [_extension(name, versions.get(name), found[name][0]) for name in wanted if name in found]
        draft.say(f"Extensions of the backup: {listed([*told, *(f'{name} (missing)' for name in missing)])}.")
    in_place = site.order.strategy is PostgresStrategy.IN_PLACE
    closed = [name for name in wanted if name in found and found[name][1] and not (in_place and found[name][2])]
    if closed and not site.server.is_superuser:
        draft.say(f"Only a superuser may make {listed(closed)}, unless the server's provider allows it.")


def _extension(name: str, recorded: object, available: str) -> str:
    return f"{name} {available}" + (f" (was {recorded})" if recorded and recorded != available else "")


def check_provider(draft: Draft, site: Site, artifacts: Sequence[RestoredArtifact], main: RestoredArtifact) -> None:
    """A project of a provider comes back into a project only: its own schemas are in no dump."""
    if site.order.strategy is PostgresStrategy.IN_PLACE:
        return
    rows = [each for each in artifacts if each.kind is ArtifactKind.POSTGRES_PROVIDER_DATA]
    if not rows and not main.server.get("providerSchemas"):
        return
    tables = sorted(name for each in rows for name in each.rows_per_table or ())
    of_tables = f", and the rows of {listed(tables)} would have no table to go to" if tables else ""
    draft.stop(
        Reason.TARGET_UNSUITABLE,
        "This is the backup of a Supabase project: the schemas that Supabase makes itself are not in it, so a new "
        f"database would lack them{of_tables}. Use strategy InPlace, with the URL of a project (a new one, or this).",
    )


def tell_room(draft: Draft, site: Site, main: RestoredArtifact) -> None:
    """What is known of the room that it takes, on the server and in the pod."""
    size = main.server.get("sizeBytes")
    needed = f"about {readable_bytes(size)}, the size of the source then" if isinstance(size, int) else "not recorded"
    besides = {
        PostgresStrategy.NEW_DATABASE: "",
        PostgresStrategy.SWAP_DATABASE: " beside the database that is there",
        PostgresStrategy.IN_PLACE: " beside what is replaced, whose room is free again afterwards",
    }[site.order.strategy]
    draft.say(
        f"Room on the server's disk{besides}: {needed}, and for a while as much again for the write-ahead log. "
        "How much is free there cannot be asked from here."
    )


def tell_left_over(draft: Draft, connection: psycopg.Connection) -> None:
    """Databases that an earlier restore was building when it was killed; never dropped by us. Raises: psycopg.Error."""
    found = connection.execute(_LEFT_OVER).fetchall()
    idle = [name for name, sessions in found if not sessions]
    busy = [name for name, sessions in found if sessions]
    if idle:
        commands = listed(drop_command(name) for name in idle)
        draft.say(f"Left over from restores that were killed; nobody is in them. To drop them, in psql: {commands}")
    if busy:
        draft.say(f"Being built by another restore now, or used by somebody: {listed(busy)}.")


def readable_bytes(count: int) -> str:
    """For example `1.2 GiB`."""
    amount, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{count} bytes" if unit == _UNITS[0] else f"{amount:.1f} {unit}"


def major_of(version: str) -> int:
    """The major of a version as servers say it, 0 where it cannot be read."""
    digits = "".join(character for character in version.split(".", 1)[0].split(" ", 1)[0] if character.isdigit())
    return int(digits) if digits else 0


def _short(version: str) -> str:
    """Without what the packager adds."""
    return version.split(" ", 1)[0]

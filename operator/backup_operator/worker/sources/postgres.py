"""Room `worker.sources`: the PostgreSQL source; called by `worker.backup`.

preflight:  URL -> login -> connect -> server, client, catalog, filters, permissions
dumps:      pg_dump (plain or custom) | rows of the provider's schemas | pg_dumpall for the roles
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from backup_operator.contract.order import PostgresOrder
from backup_operator.vocabulary.choices import ArtifactKind, DumpFormat
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError, WorkerError
from backup_operator.worker.process import Finished
from backup_operator.worker.secrets import read_secret
from backup_operator.worker.sources.base import Dump, SourceFacts
from backup_operator.worker.sources.postgres_catalog import Catalog, read_catalog
from backup_operator.worker.sources.postgres_clients import Client, installed_clients, pick_client
from backup_operator.worker.sources.postgres_connection import Login, make_login
from backup_operator.worker.sources.postgres_dumps import ProgramDump
from backup_operator.worker.sources.postgres_faults import connection_fault, dump_fault
from backup_operator.worker.sources.postgres_filters import Selection, refuse_nothing, select
from backup_operator.worker.sources.postgres_lock import NO_TIME_LIMITS, hold_for_backup, let_go
from backup_operator.worker.sources.postgres_preflight import (
    Server,
    blockers,
    database_size_bytes,
    read_server,
    refuse_another_database,
    refuse_transaction_pooler,
    refuse_transaction_pooler_port,
    refuse_unreadable,
    rows_elsewhere,
    text_codec,
)
from backup_operator.worker.sources.postgres_properties import read_properties
from backup_operator.worker.sources.postgres_url import parse_url
from backup_operator.worker.sources.supabase import ProviderPlan, plan_provider, with_statements

CLIENTS_ROOT = Path("/usr/lib/postgresql")
_APPLICATION = "backup-operator"


@dataclass(frozen=True)
class _Found:
    """What preflight found out, for the dumps."""

    login: Login
    server: Server
    codec: str
    client: Client
    catalog: Catalog
    selection: Selection
    provider: ProviderPlan | None


class PostgresSource:
    """One PostgreSQL database. `scratch` is a private directory for the password file."""

    def __init__(
        self,
        order: PostgresOrder,
        *,
        scratch: Path,
        clients_root: Path = CLIENTS_ROOT,
        application: str = _APPLICATION,
    ) -> None:
        self._order = order
        self._scratch = scratch
        self._clients_root = clients_root
        self._application = application
        self._login: Login | None = None
        self._found: _Found | None = None
        self._holder: psycopg.Connection | None = None
        self._snapshot = ""

    def preflight(self) -> SourceFacts:
        """Connect, look at version, permissions and filters. Raises: SourceError, SecretMissing."""
        login, warnings = self._make_login()
        connection = login.connect()
        try:
            self._found = self._look(connection, login.pinned(connection))
            facts = self._facts(connection, self._found, warnings)
            self._hold_snapshot_if_needed(connection, self._found)
        except psycopg.Error as exc:
            raise connection_fault(exc, login.place) from exc
        finally:
            if self._holder is None:
                connection.close()
        return facts

    def dumps(self) -> Sequence[Dump]:
        """The main dump, then rows of the provider's schemas, then the roles, as the order asks for them."""
        found = self._found
        if found is None:
            raise RuntimeError("dumps() is called after preflight()")
        dumps = [self._main_dump(found)]
        if found.provider is not None and found.provider.rows_of:
            dumps.append(self._provider_dump(found, found.provider))
        if self._order.globals:
            dumps.append(self._globals_dump(found))
        return dumps

    def close(self) -> None:
        """Give back the lock, close the connection that holds it and the snapshot, remove the password file."""
        if self._holder is not None:
            let_go(self._holder)
            self._holder.close()
            self._holder = None
        if self._login is not None:
            self._login.password_file.unlink(missing_ok=True)

    def _make_login(self) -> tuple[Login, tuple[str, ...]]:
        secret = self._order.url
        text, warnings = read_secret(secret)
        url = parse_url(text.strip(), secret.described)
        url = replace(url, database=self._order.database or url.database)
        login = make_login(url, self._order.tls, self._scratch, application=self._application, secret=secret.described)
        self._login = login
        refuse_transaction_pooler_port(login.place)
        return login, (*warnings, *url.warnings)

    def _look(self, connection: psycopg.Connection, login: Login) -> _Found:
        server = read_server(connection)
        refuse_another_database(server, login.place)
        if refuse_transaction_pooler(connection, login):
            self._hold_lock(connection, server.database)
        client = pick_client(installed_clients(self._clients_root), server.number, server.version)
        catalog = read_catalog(connection)
        provider = plan_provider(self._order.profile, login.place.host, catalog)
        if provider is not None:
            provider = with_statements(provider, connection)
        selection = select(self._order, catalog, provider.schemas if provider else ())
        if provider is None or not provider.rows_of:
            refuse_nothing(selection, catalog)
        refuse_unreadable(catalog, selection, login.place)
        return _Found(login, server, text_codec(connection, server), client, catalog, selection, provider)

    def _facts(self, connection: psycopg.Connection, found: _Found, warnings: tuple[str, ...]) -> SourceFacts:
        server, catalog = found.server, found.catalog
        encrypted = connection.pgconn.ssl_in_use
        if not encrypted:
            warnings += (f"The connection to {found.login.place.server} is not encrypted (no TLS).",)
        if found.provider is not None:
            warnings += found.provider.warnings
        warnings += rows_elsewhere(catalog, found.selection)
        size_bytes = database_size_bytes(connection)
        return SourceFacts(
            server={
                "version": server.version,
                "database": server.database,
                "encoding": server.encoding,
                "collation": server.collation,
                "characterType": server.character_type,
                **read_properties(connection, server.number),
                "inRecovery": server.in_recovery,
                "extensions": {extension.name: extension.version for extension in catalog.extensions},
                "roles": list(catalog.roles),
                "largeObjects": catalog.large_objects,
                "schemas": list(found.selection.schemas),
                "sizeBytes": size_bytes,
                **(found.provider.facts if found.provider else {}),
            },
            client={"tool": "pg_dump", "version": found.client.version()},
            encrypted_connection=encrypted,
            estimated_bytes=size_bytes,
            warnings=warnings,
        )

    def _hold_lock(self, connection: psycopg.Connection, database: str) -> None:
        """No restore writes to the database while it is dumped. Raises: SourceError RestoreRunning."""
        connection.execute(NO_TIME_LIMITS)
        self._holder = connection
        hold_for_backup(connection, database, patience_seconds=self._order.lock_timeout_seconds)

    def _hold_snapshot_if_needed(self, connection: psycopg.Connection, found: _Found) -> None:
        """Two dumps of one run see the same rows: a transaction that stays open lends them its snapshot."""
        if found.provider is None or not found.provider.rows_of:
            return
        connection.execute(NO_TIME_LIMITS)
        self._holder = connection
        connection.execute("begin isolation level repeatable read, read only")
        row = connection.execute("select pg_export_snapshot()").fetchone()
        self._snapshot = str(row[0]) if row else ""

    def _main_dump(self, found: _Found) -> ProgramDump:
        custom = self._order.format is DumpFormat.CUSTOM
        options = ["--format=custom", "--compress=0"] if custom else ["--format=plain"]
        if found.server.in_recovery:
            # a standby has no rows of unlogged tables and refuses to read them
            options.append("--no-unlogged-table-data")
        if custom and found.provider is not None:
            options.append("--no-publications")
        kind = ArtifactKind.POSTGRES_CUSTOM if custom else ArtifactKind.POSTGRES_PLAIN
        dump = self._pg_dump(found, kind, [*options, "--blobs", *found.selection.options()])
        unwanted = None if custom or found.provider is None else found.provider.unwanted
        return replace(dump, unwanted=unwanted)

    def _provider_dump(self, found: _Found, provider: ProviderPlan) -> ProgramDump:
        options = ["--format=plain", "--data-only", *provider.row_options()]
        custom = self._order.format is DumpFormat.CUSTOM
        dump = self._pg_dump(found, ArtifactKind.POSTGRES_PROVIDER_DATA, options)
        return replace(dump, preamble=provider.preamble(with_published=custom))

    def _pg_dump(self, found: _Found, kind: ArtifactKind, options: list[str]) -> ProgramDump:
        argv = [
            found.client.pg_dump,
            f"--dbname={found.login.conninfo(found.client.major)}",
            "--no-password",
            f"--lock-wait-timeout={self._order.lock_timeout_seconds * 1000}",
            f"--encoding={found.server.encoding}",
            *([f"--snapshot={self._snapshot}"] if self._snapshot else []),
            *(_in_encoding(option, found.codec) for option in options),
        ]
        return ProgramDump(kind, argv, self._scratch, found.client, self._explain, codec=found.codec)

    def _globals_dump(self, found: _Found) -> ProgramDump:
        argv = [
            found.client.pg_dumpall,
            f"--dbname={found.login.conninfo(found.client.major)}",
            f"--database={found.server.database}",
            "--no-password",
            "--globals-only",
            f"--lock-wait-timeout={self._order.lock_timeout_seconds * 1000}",
            *([] if found.server.reads_passwords else ["--no-role-passwords"]),
        ]
        return ProgramDump(ArtifactKind.POSTGRES_GLOBALS, argv, self._scratch, found.client, self._explain)

    def _explain(self, finished: Finished) -> WorkerError:
        """Why a client program failed; for a lock, who holds it."""
        if self._found is None:
            raise RuntimeError("a dump runs after preflight()")
        fault = dump_fault(finished, self._found.login.place)
        if fault.reason is Reason.LOCK_TIMEOUT:
            fault.detail = self._blockers(self._found.login) or fault.detail
        return fault

    def _blockers(self, login: Login) -> str:
        try:
            with login.connect() as connection:
                return blockers(connection)
        except (SourceError, psycopg.Error):
            # the lock is the news; that nobody can say who holds it is not
            return ""


def _in_encoding(option: str, codec: str) -> str:
    """The option as an argument whose bytes are in the database's encoding, which pg_dump reads names in."""
    return os.fsdecode(option.encode(codec, "backslashreplace"))

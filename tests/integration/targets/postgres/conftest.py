"""Real servers as targets of restores: one of each major for all tests of a process, databases for each test."""

import difflib
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from backup_operator.contract.order import SecretFile
from backup_operator.contract.restore import PostgresTargetOrder
from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.worker.checks.base import Checks
from backup_operator.worker.targets.base import Applied, RestoredArtifact, TargetPlan
from backup_operator.worker.targets.postgres import PostgresTarget
from tests.support.compare import PostgresDatabase
from tests.support.postgres_server import SUPERUSER_PASSWORD, PostgresServer, clients_root, installation
from tests.support.shell import Shell

MAJORS, NEWEST = (15, 17), 18
NOW = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)
STAMP = "20231201_020000"
CHUNK_BYTES = 1 << 16
PLAIN, CUSTOM = ArtifactKind.POSTGRES_PLAIN, ArtifactKind.POSTGRES_CUSTOM


@dataclass
class Outcome:
    """A restore that went through: what was planned, done and told."""

    plan: TargetPlan
    applied: Applied
    steps: list[str]


@dataclass
class Restorer:
    """Restores as the worker does, below a directory of the test."""

    directory: Path
    clients: Path
    targets: list[PostgresTarget] = field(default_factory=list)

    def target(self, url: str, *, confirm: str = "", checks: Checks | None = None, **order: Any) -> PostgresTarget:
        """A target for this URL; further fields of the order by name."""
        scratch = self.directory / f"scratch-{uuid.uuid4().hex[:6]}"
        scratch.mkdir()
        secret = self.directory / "url"
        secret.write_text(url)
        made = PostgresTargetOrder.model_validate(
            {"url": SecretFile(path=str(secret), described="key DB_URL of Secret prod/app"), **order}
        )
        target = PostgresTarget(
            made, scratch=scratch, clients_root=self.clients, confirm=confirm, now=lambda: NOW, checks=checks
        )
        self.targets.append(target)
        return target

    def restore(
        self,
        url: str,
        artifacts: Sequence[RestoredArtifact],
        *,
        confirm: str = "",
        checks: Checks | None = None,
        **order: Any,
    ) -> Outcome:
        """Survey and apply."""
        target = self.target(url, confirm=confirm, checks=checks, **order)
        steps: list[str] = []
        try:
            plan = target.survey(artifacts)
            return Outcome(plan, target.apply(artifacts, steps.append), steps)
        finally:
            target.close()


@dataclass
class Side:
    """One database with its server, to be dumped and compared."""

    server: PostgresServer
    database: str

    def dump(self, kind: ArtifactKind, *options: str, tool: int | None = None, **changed: Any) -> RestoredArtifact:
        """An artifact made by the stock pg_dump of this major, the server's own by default."""
        form = ["--format=custom", "--compress=0"] if kind is CUSTOM else ["--format=plain"]
        text = self.run("pg_dump", *form, "--blobs", *options, f"--dbname={self.database}", tool=tool)
        return artifact(kind, text, **{"rows_per_table": self.rows(), "server": self.facts(), **changed})

    def globals(self) -> RestoredArtifact:
        """The roles of the server."""
        return artifact(ArtifactKind.POSTGRES_GLOBALS, self.run("pg_dumpall", "--globals-only"))

    def facts(self) -> dict[str, object]:
        """What an entry records of the server."""
        row = self.server.rows(
            "select current_setting('server_version'), pg_encoding_to_char(encoding), datcollate, datctype"
            f" from pg_database where datname = '{self.database}'"
        )[0]
        return dict(zip(("version", "encoding", "collation", "characterType"), row, strict=True))

    def rows(self) -> Mapping[str, int]:
        """Rows of every table, as an entry has them."""
        names = self.server.rows(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and n.nspname !~ '^(pg_|information_schema)'",
            self.database,
        )
        with self.server.connect(self.database) as connection:
            counts = {row[0]: connection.execute(f"select count(*) from only {row[0]}".encode()) for row in names}
            return {table: (found.fetchone() or (0,))[0] for table, found in counts.items()}

    def compared(self) -> PostgresDatabase:
        """This database as `tests.support.compare` reads it."""
        return PostgresDatabase(cast(Shell, _Stock(self.server)), (f"--host={self.server.host}",), self.database)

    def run(self, program: str, *arguments: str, tool: int | None = None) -> bytes:
        """The output of a client program against the server."""
        return _Stock(self.server, tool).run(program, *arguments)


@dataclass
class _Stock:
    """Runs stock client programs, as `tests.support.shell.Shell` does, against a server."""

    server: PostgresServer
    major: int | None = None

    def run(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        major = self.major or max(self.server.major, 15)
        environment = {
            "PGHOST": self.server.host,
            "PGPORT": str(self.server.port),
            "PGUSER": self.server.superuser,
            "PGPASSWORD": SUPERUSER_PASSWORD,
            "LC_ALL": "C",
        }
        argv = [str(installation(major) / "bin" / program), *arguments]
        done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout


def artifact(kind: ArtifactKind, text: bytes, *, fails: bool = False, **changed: Any) -> RestoredArtifact:
    """A verified artifact of these bytes; with `fails`, its reading breaks where the right end should be."""

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield chunks()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(text), CHUNK_BYTES):
            yield text[start : start + CHUNK_BYTES]
        if fails:
            raise OSError("the volume is gone")

    return RestoredArtifact(kind=kind, name="backup_20231130_020000", plain_bytes=len(text), open=opened, **changed)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], PostgresServer]]:
    """A server by major, started when it is asked for first."""
    running: dict[int, PostgresServer] = {}
    with ExitStack() as stack:

        def server(major: int) -> PostgresServer:
            if major not in running:
                running[major] = stack.enter_context(PostgresServer(major=major))
            return running[major]

        yield server


@pytest.fixture(params=MAJORS, ids=lambda major: f"PostgreSQL {major}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A server of each major in turn."""
    return servers(request.param)


@pytest.fixture
def server15(servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A server of major 15."""
    return servers(15)


@pytest.fixture
def server17(servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A server of major 17."""
    return servers(17)


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients of all majors, side by side as in the image."""
    return clients_root(tmp_path_factory.mktemp("clients") / "postgresql", *MAJORS, NEWEST)


@pytest.fixture
def restorer(tmp_path: Path, clients: Path) -> Iterator[Restorer]:
    """Restores; afterwards nothing of it may be left in the scratch directories."""
    restorer = Restorer(tmp_path, clients)
    yield restorer
    for target in restorer.targets:
        target.close()
    assert list(tmp_path.glob("scratch-*/*")) == []


@pytest.fixture
def name() -> str:
    """A name for a database or role that no other test has."""
    return f"t_{uuid.uuid4().hex[:12]}"


def assert_equal(source: Side, restored: Side) -> None:
    """Contents and schema are the same; the first lines that differ are shown."""
    assert restored.compared().contents() == source.compared().contents()
    wanted, found = source.compared().schema().splitlines(), restored.compared().schema().splitlines()
    assert "\n".join(difflib.unified_diff(wanted, found, lineterm="", n=0)) == ""


EVERYTHING = Path(__file__).parents[2] / "postgres/everything.sql"


@pytest.fixture
def everything(name: str) -> Callable[[PostgresServer], Side]:
    """Makes a database with every kind of object, roles of its own and settings."""

    def make(server: PostgresServer) -> Side:
        return make_everything(server, name)

    return make


def make_everything(server: PostgresServer, name: str) -> Side:
    """A database with every kind of object and a role `<name>_owner` and `<name>_reader`."""
    server.execute(f"create role {name}_owner")
    server.execute(f"create role {name}_reader")
    server.create_database(name)
    done = server.psql(EVERYTHING.read_bytes(), name)
    assert done.returncode == 0, done.stderr.decode()
    server.execute(
        f"""
        -- the server does not write a column without a name twice in the same way
        create or replace function atomic(a integer) returns integer
            begin atomic; select a + 1 as b; select 'x;'::text as text; select a; end;
        alter table users owner to {name}_owner;
        alter function lookalike() owner to {name}_owner;
        grant select on users to {name}_reader;
        grant usage on schema "App" to {name}_reader;
        alter default privileges for role {name}_owner in schema public grant select on tables to {name}_reader;
        create policy readers on users for select to {name}_reader, {name}_owner using (true);
        alter large object 4242 owner to {name}_owner;
        grant select on large object 4242 to {name}_reader;
        """,
        name,
    )
    return Side(server, name)

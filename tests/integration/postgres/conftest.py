"""Real servers for the PostgreSQL source: one of each major for all tests of a process, a database for each test."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backup_operator.contract.order import PostgresOrder, SecretFile
from backup_operator.worker.sources.base import Contents, Dump, SourceFacts
from backup_operator.worker.sources.postgres import PostgresSource
from tests.support.certificates import Certificates, make_certificates
from tests.support.postgres_server import PostgresServer, clients_root

MAJORS = (15, 17, 18)
DESCRIBED = "key DB_URL of Secret prod/app"


@dataclass
class Backup:
    """What a run of the source gave: facts, and each artifact's bytes and contents."""

    facts: SourceFacts
    dumps: list[Dump] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    contents: list[Contents] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, int]:
        """Rows per table of the main dump."""
        return dict(self.contents[0].rows_per_table or {})


@dataclass
class Workplace:
    """Makes sources as the worker does, below a directory of the test."""

    directory: Path
    clients: Path

    def source(self, url: str, **order: object) -> PostgresSource:
        """A source for this URL; further fields of the order by name."""
        scratch = self.directory / "scratch"
        scratch.mkdir(exist_ok=True)
        return PostgresSource(self.order(url, **order), scratch=scratch, clients_root=self.clients)

    def order(self, url: str, **order: object) -> PostgresOrder:
        """An order whose URL is in a file."""
        path = self.directory / "url"
        path.write_text(url)
        secret = SecretFile(path=str(path), described=DESCRIBED, command="kubectl create secret …")
        return PostgresOrder.model_validate({"url": secret, **order})

    def back_up(self, url: str, *, before_dumps: Callable[[], object] = lambda: None, **order: object) -> Backup:
        """Run the source as the worker does: preflight, all dumps, inspection of each."""
        source = self.source(url, **order)
        try:
            backup = Backup(source.preflight())
            before_dumps()
            for dump in source.dumps():
                with dump.stream() as chunks:
                    text = b"".join(chunks)
                backup.dumps.append(dump)
                backup.texts.append(text)
                backup.contents.append(inspect(dump, text))
        finally:
            source.close()
        assert list((self.directory / "scratch").iterdir()) == []
        return backup


def inspect(dump: Dump, text: bytes) -> Contents:
    """What the dump's own inspector says about these bytes."""
    with dump.inspector() as inspector:
        for start in range(0, len(text), 1 << 20):
            inspector.update(text[start : start + (1 << 20)])
        return inspector.finish()


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


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients of all majors, side by side as in the image."""
    return clients_root(tmp_path_factory.mktemp("clients") / "postgresql", *MAJORS)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of servers and authorities."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=MAJORS, ids=lambda major: f"PostgreSQL {major}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A server of each major in turn."""
    return servers(request.param)


@pytest.fixture
def server15(servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """A server of major 15."""
    return servers(15)


@pytest.fixture
def workplace(tmp_path: Path, clients: Path) -> Workplace:
    """A place to run sources in."""
    return Workplace(tmp_path, clients)


@pytest.fixture
def name() -> str:
    """A name for a database or role that no other test has."""
    return f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def database(server, name):
    server.create_database(name)
    server.execute("create table users as select 1 as id", name)
    return name


@pytest.fixture
def database15(server15, name):
    server15.create_database(name)
    server15.execute("create table users as select 1 as id", name)
    return name

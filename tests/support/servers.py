"""A PostgreSQL and a Redis in pods of a namespace, with data in them. Used by the e2e tests and the demo."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import redis

from tests.support import objects
from tests.support.compare import PostgresDatabase
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until
from tests.support.redis_server import PATIENCE_SECONDS

PASSPHRASE = "correct horse battery staple № 7"


@dataclass(frozen=True)
class Servers:
    """Pods `postgres` and `redis` of one namespace, behind Services of the same names; both have the same password."""

    namespace: Namespace
    password: str

    def start(self, *kinds: str) -> None:
        """Starts the pods (`postgres`, `redis`) and waits until they answer; those that run already stay."""
        made = {"postgres": objects.postgres_server, "redis": objects.redis_server}
        manifests = [manifest for kind in kinds for manifest in made[kind](kind, password_secret="server")]
        self.namespace.apply(objects.secret("server", {"password": self.password}), *manifests)
        for kind in kinds:
            self.namespace.wait_for_pod(kind)

    def postgres_url(
        self, database: str = "app", *, user: str = "postgres", password: str = "", port: int = 5432
    ) -> str:
        """The URL that a pod of any namespace uses; the password is percent-encoded."""
        secret = quote(password or self.password, safe="")
        return f"postgresql://{user}:{secret}@postgres.{self.namespace.name}.svc:{port}/{quote(database, safe='')}"

    def redis_url(self, *, password: str = "", port: int = 6379, database: str = "") -> str:
        """The URL that a pod of any namespace uses."""
        return f"redis://:{quote(password or self.password, safe='')}@redis.{self.namespace.name}.svc:{port}{database}"

    def app_secret(self, **changes: str) -> objects.Manifest:
        """Secret `app` with both URLs and the passphrase, as an environment file has them."""
        values = {
            "SUPABASE_DB_URL": self.postgres_url(),
            "REDIS_URL": self.redis_url(),
            "BACKUP_ENCRYPTION_KEY": PASSPHRASE,
        }
        return objects.secret("app", values | changes)

    def database(self, name: str = "app") -> PostgresDatabase:
        """A database of the server, reached from inside its pod."""
        return PostgresDatabase(self.namespace.shell("postgres"), objects.POSTGRES, name)

    def create_database(self, name: str, script: bytes = b"") -> PostgresDatabase:
        """A new database, filled by the SQL script."""
        made = self.database(name)
        made.shell.run("createdb", *objects.POSTGRES, name)
        if script:
            made.shell.run(*_PSQL, f"--dbname={name}", stdin=script, timeout_seconds=300)
        return made

    @contextmanager
    def a_locked_table(self, name: str, *, also: str = "") -> Iterator[None]:
        """A new database with one table that stays locked while the context lasts, so that a dump of it must wait.

        `also` is a statement that takes another lock in the same session.
        """
        made = self.create_database(name, b"CREATE TABLE busy (a integer);")
        hold = f"BEGIN; {also}; LOCK TABLE busy; SELECT pg_sleep(3600);"
        holder = f"psql -Xq {' '.join(objects.POSTGRES)} --dbname={name} --command='{hold}'"
        made.shell.run("bash", "-c", f"setsid {holder} >/dev/null 2>&1 </dev/null & disown")
        is_held = "SELECT count(*) FROM pg_locks WHERE relation = 'busy'::regclass AND granted"
        wait_until(lambda: made.query(is_held), lambda found: found != ["0"], for_what="the lock")
        try:
            yield
        finally:
            others = "datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
            made.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    @contextmanager
    def redis_client(self) -> Iterator[redis.Redis]:
        """A client that reaches the server through a forwarded port."""
        with forwarded_redis(self.namespace, "redis", password=self.password) as client:
            yield client


_PSQL = ("psql", "--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", *objects.POSTGRES)


@contextmanager
def forwarded_redis(namespace: Namespace, pod: str, *, password: str | None = None) -> Iterator[redis.Redis]:
    """A client of the Redis that runs in the pod."""
    with (
        namespace.forward(pod, 6379) as port,
        redis.Redis(port=port, password=password, socket_timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def small_database(rows: int = 1000) -> bytes:
    """SQL of two tables: what a test takes that is not about the data."""
    return f"""
        CREATE TABLE users (id integer PRIMARY KEY, name text);
        INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, {rows}) AS n;
        CREATE TABLE visits (user_id integer REFERENCES users, at timestamptz);
        INSERT INTO visits SELECT n, timestamptz '2024-01-01' + n * interval '1 hour'
          FROM generate_series(1, {rows // 2}) AS n;
    """.encode()

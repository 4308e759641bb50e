"""Opening stored files with stock programs in a pod that has nothing of ours. Used by the e2e tests and the demo."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from tests.support import objects
from tests.support.compare import PostgresDatabase
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until
from tests.support.servers import forwarded_redis
from tests.support.shell import ProgramFailed

GPG = "gpg --quiet --batch --pinentry-mode loopback --passphrase-file {passphrase} --decrypt {file}"


@dataclass(frozen=True)
class Opener:
    """A pod with a claim at /backups, the passphrase, gpg, gunzip, psql, and fresh servers to load into."""

    namespace: Namespace
    pod: str

    def bash(self, script: str, *, timeout_seconds: float = 300) -> str:
        """What a script prints; every part of a pipe must end well."""
        shell = self.namespace.shell(self.pod)
        whole = f"set -euo pipefail; export GNUPGHOME=/data/gnupg; mkdir -p -m 0700 $GNUPGHOME; {script}"
        return shell.run("bash", "-c", whole, timeout_seconds=timeout_seconds).decode()

    def files(self, store: str) -> list[str]:
        """Names in the store, sorted."""
        return sorted(self.bash(f"ls -A '/backups/{store}'").splitlines())

    def entry(self, store: str, run: str) -> dict[str, Any]:
        """The record of a run."""
        return dict(json.loads(self.bash(f"cat '/backups/{store}/{run}.json'")))

    def decrypt(self, store: str, file: str) -> str:
        """The command that writes the plaintext of a stored file to stdout."""
        return GPG.format(passphrase="/passphrase/BACKUP_ENCRYPTION_KEY", file=f"'/backups/{store}/{file}'")

    def load_globals(self, store: str, file: str) -> None:
        """Roles into the fresh server. Role postgres is there already: the one error that is right."""
        psql = f"psql -Xq {' '.join(objects.POSTGRES)} --dbname=postgres"
        self.bash(f"{self.decrypt(store, file)} | gunzip | {psql}")

    def load_plain(self, store: str, file: str, database: str) -> PostgresDatabase:
        """A fresh database with the content of a stored plain dump; the first error ends it."""
        connection = " ".join(objects.POSTGRES)
        psql = f"psql -Xq --output=/dev/null --set=ON_ERROR_STOP=1 {connection} --dbname={database}"
        unpack = "zstd --decompress" if file.endswith(".zst.gpg") else "gunzip"
        self.bash(f"createdb {connection} {database}; {self.decrypt(store, file)} | {unpack} | {psql}")
        return self.database(database)

    def load_custom(self, store: str, file: str, database: str) -> PostgresDatabase:
        """A fresh database with the content of a stored archive; pg_restore reads no gzip around it."""
        connection = " ".join(objects.POSTGRES)
        unpacked = "gunzip | " if ".gz." in file else ""
        restore = f"pg_restore --exit-on-error {connection} --dbname={database}"
        self.bash(f"createdb {connection} {database}; {self.decrypt(store, file)} | {unpacked}{restore}")
        return self.database(database)

    def database(self, name: str) -> PostgresDatabase:
        """A database of the fresh server."""
        return PostgresDatabase(self.namespace.shell(self.pod), objects.POSTGRES, name)

    @contextmanager
    def loaded_rdb(self, store: str, file: str) -> Iterator[redis.Redis]:
        """A fresh Redis in the pod that has loaded the stored RDB."""
        start = "redis-server --dir /data/rdb --save '' --protected-mode no --daemonize yes"
        self.bash(f"mkdir /data/rdb; {self.decrypt(store, file)} | gunzip > /data/rdb/dump.rdb; {start}")
        try:
            wait_until(self._redis_says, lambda said: said == "PONG", for_what="Redis has loaded the RDB")
            with forwarded_redis(self.namespace, self.pod) as client:
                yield client
        finally:
            self.bash("redis-cli shutdown nosave; rm -r /data/rdb")

    def _redis_says(self) -> str:
        try:
            return self.bash("redis-cli ping").strip()
        except ProgramFailed as refused:
            return str(refused)


def start_opener(namespace: Namespace, *, claim: str = "backups", secret: str = "app", pod: str = "opener") -> Opener:
    """The pod, once its servers answer."""
    namespace.apply(objects.opener(pod, claim, secret))
    namespace.wait_for_pod(pod)
    return Opener(namespace, pod)


def file_of(entry: dict[str, Any], kind: str) -> str:
    """The name of the entry's artifact of that kind."""
    return str(next(artifact["name"] for artifact in entry["artifacts"] if artifact["kind"] == kind))

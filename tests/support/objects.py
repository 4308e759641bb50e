"""Kubernetes objects of the tests and the demo, as plain dicts: servers, Secrets, claims, policies. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]

API_VERSION = "backup.agentsflow.ai/v1alpha1"
SERVERS_IMAGE = "backup-operator-test-servers:dev"
SCRIPTS = Path(__file__).resolve().parent / "scripts"
CLOSED_PORT = 1
SOCKETS = "/run/servers"
POSTGRES = (f"--host={SOCKETS}", "--username=postgres")
"""How psql and pg_dump reach the server of their own pod."""
_READY = {
    "exec": {"command": ["test", "-e", f"{SOCKETS}/ready"]},
    "periodSeconds": 1,
    "timeoutSeconds": 10,
    "failureThreshold": 60,
}
"""On a machine that does much else the question takes seconds: a server that was ready once stays so."""


def secret(name: str, values: Mapping[str, str]) -> Manifest:
    """An opaque Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}


def claim(name: str, size: str = "1Gi", **spec: Any) -> Manifest:
    """A claim of the default StorageClass, unless `storageClassName` or `volumeName` say otherwise."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": wanted,
    }


def service(name: str, port: int) -> Manifest:
    """Leads `name` to the pod of that name, and CLOSED_PORT to a port on which nothing listens."""
    ports = [{"name": "server", "port": port}, {"name": "closed", "port": CLOSED_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def pod(name: str, container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]] = ()) -> Manifest:
    """A pod of one container, without a service account's token, that ends at once when it is deleted."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": name, "image": SERVERS_IMAGE, **container}],
            "volumes": list(volumes),
        },
    }


def postgres_server(
    name: str = "postgres", *, password_secret: str = "server", tls_secret: str = "", superuser: str = "postgres"
) -> list[Manifest]:
    """A PostgreSQL server and its Service; the superuser's password is the Secret's key `password`."""
    made = _server(name, "postgres", password_secret, tls_secret)
    return [with_superuser(made, superuser), service(name, 5432)]


def with_superuser(pod_manifest: Manifest, superuser: str) -> Manifest:
    """The same pod, whose PostgreSQL has a superuser of another name."""
    pod_manifest["spec"]["containers"][0]["env"] = [{"name": "POSTGRES_SUPERUSER", "value": superuser}]
    return pod_manifest


def redis_server(name: str = "redis", *, password_secret: str = "server", tls_secret: str = "") -> list[Manifest]:
    """A Redis server and its Service; password from the Secret's key `password`."""
    return [_server(name, "redis", password_secret, tls_secret), service(name, 6379)]


def opener(name: str, claim_name: str, passphrase_secret: str) -> Manifest:
    """A pod that has the claim, the passphrase and stock programs, and nothing of ours: for opening stored files."""
    script = (SCRIPTS / "servers.sh").read_text()
    container = {
        "command": ["bash", "-c", script, "servers.sh", "postgres"],
        "securityContext": {"runAsUser": 0},
        "readinessProbe": _READY,
        "volumeMounts": [
            {"name": "store", "mountPath": "/backups", "readOnly": True},
            {"name": "passphrase", "mountPath": "/passphrase", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    volumes: list[Manifest] = [
        {"name": "store", "persistentVolumeClaim": {"claimName": claim_name}},
        {"name": "passphrase", "secret": {"secretName": passphrase_secret}},
        {"name": "data", "emptyDir": {}},
    ]
    return pod(name, container, volumes)


def _server(name: str, kind: str, password_secret: str, tls_secret: str) -> Manifest:
    script = (SCRIPTS / "servers.sh").read_text()
    container = {
        "command": ["bash", "-c", script, "servers.sh", kind],
        "securityContext": {"runAsUser": 0},
        "readinessProbe": _READY,
        "volumeMounts": [
            {"name": "password", "mountPath": "/server", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
            *([{"name": "tls", "mountPath": "/tls", "readOnly": True}] if tls_secret else []),
        ],
    }
    volumes: list[Manifest] = [
        {"name": "password", "secret": {"secretName": password_secret}},
        {"name": "data", "emptyDir": {}},
        *([{"name": "tls", "secret": {"secretName": tls_secret}}] if tls_secret else []),
    ]
    return pod(name, container, volumes)


def backup_policy(name: str, source: Mapping[str, Any], **spec: Any) -> Manifest:
    """A policy that takes its URL and passphrase from Secret `app`, writes to claim `backups` and runs once a year."""
    wanted = {
        "source": dict(source),
        "schedule": "0 0 1 1 *",
        "encryption": {"passphraseSecretRef": {"name": "app", "key": "BACKUP_ENCRYPTION_KEY"}},
        "storage": {"claimName": "backups"},
        **spec,
    }
    return {"apiVersion": API_VERSION, "kind": "BackupPolicy", "metadata": {"name": name}, "spec": wanted}


def postgres_source(**options: Any) -> Manifest:
    """The PostgreSQL database of key SUPABASE_DB_URL of Secret `app`."""
    return {"postgres": {"urlSecretRef": {"name": "app", "key": "SUPABASE_DB_URL"}, **options}}


def redis_source(**options: Any) -> Manifest:
    """The Redis of key REDIS_URL of Secret `app`."""
    return {"redis": {"urlSecretRef": {"name": "app", "key": "REDIS_URL"}, **options}}

"""TLS to both databases on the cluster, with a CA from a Secret; a wrong CA and an old certificate are told."""

import base64
from pathlib import Path

import pytest

from tests.e2e.telling import assert_all_is_well, assert_is_told
from tests.support import objects
from tests.support.certificates import Certificates, Pair, make_certificates
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.servers import Servers, small_database


@pytest.fixture(scope="module")
def certificates(module_namespace: Namespace, tmp_path_factory) -> Certificates:
    space = module_namespace.name
    names = [f"{server}.{space}.svc" for server in ("postgres", "redis", "postgres-old", "redis-old")]
    return make_certificates(Path(tmp_path_factory.mktemp("tls")), server_names=names)


@pytest.fixture(scope="module")
def encrypted(module_namespace: Namespace, certificates: Certificates) -> Servers:
    """Servers that take TLS only, with Secrets `app`, `db-ca` and `wrong-ca` and claim `backups` beside them."""
    space = module_namespace
    started = Servers(space, "tls and a password")
    files = files_of(certificates, certificates.server)
    client = {"tls.crt": certificates.client.certificate.read_text(), "tls.key": certificates.client.key.read_text()}
    space.apply(
        objects.secret("server", {"password": started.password}),
        objects.secret("server-tls", files),
        objects.secret("db-ca", {"ca.crt": files["ca.crt"]}),
        objects.secret("wrong-ca", {"ca.crt": certificates.other_authority.read_text()}),
        objects.secret("client", client),
        secure_redis(started),
        objects.claim("backups"),
        *objects.postgres_server(tls_secret="server-tls"),
        *objects.redis_server(tls_secret="server-tls"),
    )
    for pod in ("postgres", "redis"):
        space.wait_for_pod(pod)
    started.create_database("app", small_database())
    return started


def files_of(certificates: Certificates, pair: Pair) -> dict[str, str]:
    """The values of a server's Secret."""
    return {
        "tls.crt": pair.certificate.read_text(),
        "tls.key": pair.key.read_text(),
        "ca.crt": certificates.authority.read_text(),
    }


def secure_redis(servers: Servers) -> objects.Manifest:
    """Secret `app` whose Redis URL asks for TLS."""
    return servers.app_secret(REDIS_URL=servers.redis_url().replace("redis://", "rediss://"))


def test_postgres_is_backed_up_with_its_certificate_checked(encrypted: Servers):
    tls = {"mode": "VerifyFull", "caSecretRef": {"name": "db-ca", "key": "ca.crt"}}
    encrypted.namespace.apply(objects.backup_policy("db", objects.postgres_source(tls=tls)))

    good = Policy(encrypted.namespace, "db").back_up("db-now")

    assert good["rows"] == 1500


def test_redis_is_backed_up_over_tls_with_a_client_certificate(encrypted: Servers):
    tls = {
        "caSecretRef": {"name": "db-ca", "key": "ca.crt"},
        "certSecretRef": {"name": "client", "key": "tls.crt"},
        "keySecretRef": {"name": "client", "key": "tls.key"},
    }
    ping = ("redis-cli", "-s", f"{objects.SOCKETS}/redis", "-a", encrypted.password, "mset", "a", "1", "b", "2")
    encrypted.namespace.shell("redis").run(*ping)
    encrypted.namespace.apply(objects.backup_policy("cache", objects.redis_source(tls=tls)))

    good = Policy(encrypted.namespace, "cache").back_up("cache-now")

    assert good["keys"] == 2


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_wrong_ca_is_told_and_the_right_one_heals(encrypted: Servers, kind: str):
    name = f"wrong-{kind}"
    space = encrypted.namespace
    space.apply(objects.backup_policy(name, source(kind, ca="wrong-ca"), storage=store_of(name)))
    policy = Policy(space, name)

    policy.start(f"{name}-fails")

    assert_is_told(policy, "TLSFailed")
    space.patch("backuppolicy", name, {"spec": {"source": source(kind)}})
    policy.back_up(f"{name}-heals")
    assert_all_is_well(policy)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_an_expired_certificate_is_told_and_a_new_one_heals(encrypted: Servers, certificates: Certificates, kind: str):
    space, name = encrypted.namespace, f"{kind}-old"
    space.apply(objects.secret("expired-tls", files_of(certificates, certificates.expired_server)))
    start_server(space, kind, name, tls_secret="expired-tls")
    urls = {"postgres": encrypted.app_secret(), "redis": secure_redis(encrypted)}[kind]["stringData"]
    old = {key: value.replace(f"{kind}.{space.name}", f"{name}.{space.name}") for key, value in urls.items()}
    space.apply(objects.secret(name, old))
    space.apply(objects.backup_policy(name, source(kind, secret=name), storage=store_of(name)))
    policy = Policy(space, name)

    policy.start(f"{name}-fails")

    failed = assert_is_told(policy, "TLSFailed")
    assert "expired" in failed["message"] or "no longer, or not yet, valid" in failed["message"]
    space.delete("pod", name)
    start_server(space, kind, name, tls_secret="server-tls")
    policy.back_up(f"{name}-heals")
    assert_all_is_well(policy)


def source(kind: str, *, ca: str = "db-ca", secret: str = "app") -> objects.Manifest:
    """A source whose certificate is checked."""
    tls = {"caSecretRef": {"name": ca, "key": "ca.crt"}}
    client = {
        "certSecretRef": {"name": "client", "key": "tls.crt"},
        "keySecretRef": {"name": "client", "key": "tls.key"},
    }
    made = {
        "postgres": objects.postgres_source(tls={"mode": "VerifyFull", **tls}),
        "redis": objects.redis_source(tls=tls | client),
    }[kind]
    made[kind]["urlSecretRef"]["name"] = secret
    return made


def store_of(name: str) -> objects.Manifest:
    """A store that the policies of the other tests do not share."""
    return {"claimName": "backups", "path": f"tls/{name}"}


def start_server(space: Namespace, kind: str, name: str, *, tls_secret: str) -> None:
    """A server with something in it, that takes TLS only."""
    make = {"postgres": objects.postgres_server, "redis": objects.redis_server}[kind]
    space.apply(*make(name, tls_secret=tls_secret))
    space.wait_for_pod(name)
    shell = space.shell(name)
    if kind == "postgres":
        shell.run("createdb", *objects.POSTGRES, "app")
        shell.run("psql", "-Xq", *objects.POSTGRES, "--dbname=app", stdin=small_database())
    else:
        password = space.get("secret", "server")["data"]["password"]
        login = ("-s", f"{objects.SOCKETS}/redis", "-a", base64.b64decode(password).decode())
        shell.run("redis-cli", *login, "mset", "a", "1", "b", "2")

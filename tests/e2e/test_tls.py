"""TLS to both databases on the cluster, with a CA from a Secret; a wrong CA is told apart."""

from pathlib import Path

import pytest

from tests.support import objects
from tests.support.certificates import Certificates, make_certificates
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.servers import Servers, small_database


@pytest.fixture(scope="module")
def certificates(module_namespace: Namespace, tmp_path_factory) -> Certificates:
    space = module_namespace.name
    names = [f"{server}.{space}.svc" for server in ("postgres", "redis")]
    return make_certificates(Path(tmp_path_factory.mktemp("tls")), server_names=names)


@pytest.fixture(scope="module")
def encrypted(module_namespace: Namespace, certificates: Certificates) -> Servers:
    """Servers that take TLS only, with Secrets `app`, `db-ca` and `wrong-ca` and claim `backups` beside them."""
    space = module_namespace
    started = Servers(space, "tls and a password")
    files = {
        "tls.crt": certificates.server.certificate.read_text(),
        "tls.key": certificates.server.key.read_text(),
        "ca.crt": certificates.authority.read_text(),
    }
    client = {"tls.crt": certificates.client.certificate.read_text(), "tls.key": certificates.client.key.read_text()}
    space.apply(
        objects.secret("server", {"password": started.password}),
        objects.secret("server-tls", files),
        objects.secret("db-ca", {"ca.crt": files["ca.crt"]}),
        objects.secret("wrong-ca", {"ca.crt": certificates.other_authority.read_text()}),
        objects.secret("client", client),
        started.app_secret(REDIS_URL=started.redis_url().replace("redis://", "rediss://")),
        objects.claim("backups"),
        *objects.postgres_server(tls_secret="server-tls"),
        *objects.redis_server(tls_secret="server-tls"),
    )
    for pod in ("postgres", "redis"):
        space.wait_for_pod(pod)
    started.create_database("app", small_database())
    return started


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
def test_a_wrong_ca_is_told(encrypted: Servers, kind: str):
    wrong = {"caSecretRef": {"name": "wrong-ca", "key": "ca.crt"}}
    source = {
        "postgres": objects.postgres_source(tls={"mode": "VerifyFull", **wrong}),
        "redis": objects.redis_source(tls=wrong),
    }[kind]
    encrypted.namespace.apply(objects.backup_policy(f"wrong-{kind}", source))
    policy = Policy(encrypted.namespace, f"wrong-{kind}")

    policy.start(f"wrong-{kind}")

    policy.wait_for("LastRunSucceeded", "False", "TLSFailed", timeout_seconds=60)

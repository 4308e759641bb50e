"""TLS with real servers: what is trusted, what is refused, and in which words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_operator.contract.order import RedisTls
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SecretMissing, SourceError
from backup_operator.worker.sources import redis_wire
from tests.integration.redis.dumping import dump, inspect, secret, source
from tests.support.certificates import Certificates, Pair, make_certificates
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls(directory: Path, authority: Path | None = None, client: Pair | None = None) -> RedisTls:
    return RedisTls(
        ca=secret(directory, "ca.crt", authority.read_text()) if authority else None,
        certificate=secret(directory, "tls.crt", client.certificate.read_text()) if client else None,
        key=secret(directory, "tls.key", client.key.read_text()) if client else None,
    )


def refused(directory: Path, url: str, settings: RedisTls) -> SourceError:
    with pytest.raises(SourceError) as caught:
        dump(directory, url, settings)
    assert caught.value.reason is Reason.TLS_FAILED
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_server_with_a_trusted_certificate_is_dumped(tmp_path, certificates, host):
    with RedisServer(tls=certificates.server) as server, server.client() as client:
        client.mset({f"key {number}": "x" * 1000 for number in range(5000)})
        facts, rdb = dump(tmp_path, server.url("/0", host=host), tls(tmp_path, certificates.authority))

    assert facts.encrypted_connection is True
    assert inspect(rdb).keys == 5000


def test_a_client_certificate_is_shown_where_one_is_asked_for(tmp_path, certificates):
    with RedisServer(tls=certificates.server, certificates=certificates) as server:
        facts, _rdb = dump(tmp_path, server.url(), tls(tmp_path, certificates.authority, certificates.client))

    assert facts.encrypted_connection is True


def test_a_missing_client_certificate_is_named(tmp_path, certificates):
    with RedisServer(tls=certificates.server, certificates=certificates) as server:
        found = refused(tmp_path, server.url(), tls(tmp_path, certificates.authority))

    assert "asks for a client certificate" in found.message
    assert "certSecretRef" in found.hint


def test_a_client_certificate_of_another_authority_is_refused(tmp_path, certificates):
    with RedisServer(tls=certificates.server, certificates=certificates) as server:
        settings = tls(tmp_path, certificates.authority, certificates.other_client)
        found = refused(tmp_path, server.url(), settings)

    assert "does not accept our client certificate" in found.message


@pytest.mark.parametrize(
    ("server_pair", "authority", "words", "hint"),
    [
        ("server", "other_authority", "not signed by a CA that is trusted", "caSecretRef"),
        ("server", None, "not signed by a CA that is trusted", "caSecretRef"),
        ("expired_server", "authority", "has expired", "-dates"),
        ("wrong_name_server", "authority", "is not for the name 127.0.0.1", "subjectAltName"),
    ],
    ids=["another CA", "the machine's own CAs", "expired", "another name"],
)
def test_a_certificate_that_cannot_be_trusted_is_refused(tmp_path, certificates, server_pair, authority, words, hint):
    with RedisServer(tls=getattr(certificates, server_pair)) as server:
        settings = tls(tmp_path, getattr(certificates, authority) if authority else None)
        found = refused(tmp_path, server.url(), settings)

    assert words in found.message
    assert hint in found.hint


def test_a_server_with_tls_that_dies_in_the_middle_is_a_lost_connection(tmp_path, certificates):
    slowly = {"rdb-key-save-delay": "200"}
    with RedisServer(tls=certificates.server, settings=slowly) as server, server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000, "key", 300)
        made = source(tmp_path, server.url(), tls(tmp_path, certificates.authority))
        made.preflight()
        with pytest.raises(SourceError) as caught, made.dumps()[0].stream() as chunks:
            sum(len(chunk) for chunk in _killing(server, chunks))

    assert caught.value.reason is Reason.CONNECTION_LOST
    assert caught.value.retryable


def _killing(server: RedisServer, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        server.stop()
        yield chunk


def test_an_unchecked_certificate_is_said(tmp_path, certificates):
    with RedisServer(tls=certificates.expired_server) as server:
        facts, _rdb = dump(tmp_path, server.url("/0?ssl_cert_reqs=none"))

    assert any("certificate is not checked" in warning for warning in facts.warnings)


def test_a_url_with_tls_to_a_server_without_is_told(tmp_path, certificates, monkeypatch):
    monkeypatch.setattr(redis_wire, "CONNECT_SECONDS", 1.0)
    with RedisServer() as server:
        found = refused(tmp_path, server.url(scheme="rediss"), tls(tmp_path, certificates.authority))

    assert "speaks no TLS on this port" in found.message
    assert "redis://" in found.hint


@pytest.mark.parametrize("asks_for_certificate", [False, True])
def test_a_url_without_tls_to_a_server_with_tls_is_told(tmp_path, certificates, asks_for_certificate):
    asked = certificates if asks_for_certificate else None
    with RedisServer(tls=certificates.server, certificates=asked) as server:
        found = refused(tmp_path, server.url(scheme="redis"), RedisTls())

    assert "wants TLS" in found.message
    assert "rediss://" in found.hint


def test_a_ca_that_is_no_certificate_is_named(tmp_path):
    settings = RedisTls(ca=secret(tmp_path, "ca.crt", "no certificate at all"))

    found = refused(tmp_path, "rediss://127.0.0.1", settings)

    assert "key ca.crt of Secret prod/app holds no CA certificate" in found.message


def test_a_key_that_does_not_belong_to_the_certificate_is_named(tmp_path, certificates):
    pair = Pair(certificates.client.certificate, certificates.server.key)

    found = refused(tmp_path, "rediss://127.0.0.1", tls(tmp_path, certificates.authority, pair))

    assert "key tls.crt of Secret prod/app holds no client certificate with its key" in found.message


def test_a_missing_ca_is_a_missing_secret(tmp_path, certificates):
    settings = tls(tmp_path, certificates.authority)
    (tmp_path / "ca.crt").unlink()

    with pytest.raises(SecretMissing, match=r"key ca\.crt"):
        dump(tmp_path, "rediss://127.0.0.1", settings)

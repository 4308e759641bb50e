"""TLS to PostgreSQL that cannot be, or is not what was asked for: each told apart on a real server."""

from pathlib import Path

import pytest

from backup_operator.contract.order import PostgresTls, SecretFile
from backup_operator.vocabulary.choices import TlsMode
from backup_operator.vocabulary.reasons import Reason
from tests.integration.postgres.failing import failure
from tests.support.postgres_server import PostgresServer


@pytest.fixture(scope="module", params=["server", "expired_server", "wrong_name_server"])
def tls_server(request, certificates):
    pair = getattr(certificates, request.param)
    with PostgresServer(major=15, tls=pair, hba=["hostnossl all nontls 127.0.0.1/32 reject"]) as server:
        server.execute("create table users as select 1 as id; create role nontls superuser login password 'hush'")
        yield request.param, server


def ca(path: Path) -> SecretFile:
    return SecretFile(path=str(path), described="key ca.crt of Secret prod/db-ca")


def test_the_servers_certificate_is_checked(tls_server, workplace, certificates):
    kind, server = tls_server
    tls = PostgresTls(mode=TlsMode.VERIFY_FULL, ca=ca(certificates.authority))
    if kind == "server":
        backup = workplace.back_up(server.url(), tls=tls)
        assert backup.rows == {"public.users": 1}
        assert backup.facts.encrypted_connection is True
        assert backup.facts.warnings == ()
        return

    error = failure(workplace, server.url(), tls=tls)

    assert (error.reason, error.retryable) == (Reason.TLS_FAILED, False)
    words = {"expired_server": "no longer, or not yet, valid", "wrong_name_server": "for another host name"}
    assert words[kind] in error.message


def test_an_authority_that_did_not_sign(tls_server, workplace, certificates):
    _, server = tls_server
    tls = PostgresTls(mode=TlsMode.VERIFY_CA, ca=ca(certificates.other_authority))

    error = failure(workplace, server.url(), tls=tls)

    assert error.reason is Reason.TLS_FAILED
    assert "an authority that is not trusted" in error.message


@pytest.mark.parametrize(
    "options", ["sslmode=verify-full", "sslrootcert=system", "sslrootcert=/my/ca&sslmode=verify-ca"]
)
def test_a_private_authority_is_not_trusted_without_its_certificate(tls_server, workplace, options):
    _, server = tls_server

    error = failure(workplace, server.url(options=options))

    assert error.reason is Reason.TLS_FAILED
    assert "caSecretRef" in error.hint or "expired_server" in tls_server


def test_a_server_that_wants_tls(tls_server, workplace):
    _, server = tls_server

    error = failure(workplace, server.url(user="nontls", password="hush", options="sslmode=disable"))

    assert error.reason in (Reason.TLS_FAILED, Reason.AUTHENTICATION_FAILED)


def test_a_server_without_tls(server15, workplace, database15):
    error = failure(workplace, server15.url(database15), tls=PostgresTls(mode=TlsMode.REQUIRE))

    assert error.reason is Reason.TLS_FAILED
    assert "does not speak TLS" in error.message


def test_an_authority_that_is_not_mounted(server15, workplace, database15, tmp_path):
    tls = PostgresTls(mode=TlsMode.VERIFY_FULL, ca=ca(tmp_path / "absent"))

    error = failure(workplace, server15.url(database15), tls=tls)

    assert (error.reason, error.message) == (Reason.SECRET_MISSING, "key ca.crt of Secret prod/db-ca is missing")

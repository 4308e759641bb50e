"""Room `tests.support`: certificates for TLS tests: an authority, and server and client certificates, good and bad.

`make_certificates(directory)` writes PEM files and yields their paths; keys are 0600 and belong to `owner_uid`, so that
a server that runs under another uid takes them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """What TLS tests need: a server is started with one of the pairs, a client trusts one of the authorities."""

    authority: Path
    """The CA that signed all the pairs below."""
    other_authority: Path
    """A CA that signed none of them."""
    server: Pair
    """Valid for localhost, 127.0.0.1 and ::1."""
    expired_server: Pair
    """Right names, but its time is over since yesterday."""
    wrong_name_server: Pair
    """Valid for `elsewhere.example` only."""
    client: Pair
    """A client certificate with common name `client`."""
    other_client: Pair
    """A client certificate that `other_authority` signed."""


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(
    directory: Path, *, owner_uid: int | None = None, server_names: Sequence[str] = ()
) -> Certificates:
    """Make all certificates in `directory`; keys belong to `owner_uid` (default: whoever runs this).

    `server_names` are more names for the servers' certificates, beside those of this machine.
    """
    directory.mkdir(parents=True, exist_ok=True)
    authority, other = _authority("Test CA"), _authority("Other CA")
    local = ["localhost", "127.0.0.1", "::1", *server_names]
    expired = datetime.now(UTC) - timedelta(days=1)
    return Certificates(
        authority=_write_certificate(directory / "ca.crt", authority.certificate),
        other_authority=_write_certificate(directory / "other-ca.crt", other.certificate),
        server=_pair(directory, "server", authority, names=local, owner_uid=owner_uid),
        expired_server=_pair(directory, "expired", authority, names=local, not_after=expired, owner_uid=owner_uid),
        wrong_name_server=_pair(directory, "wrong-name", authority, names=["elsewhere.example"], owner_uid=owner_uid),
        client=_pair(directory, "client", authority, names=[], owner_uid=owner_uid),
        other_client=_pair(directory, "other-client", other, names=[], owner_uid=owner_uid),
    )


def _authority(name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key, datetime.now(UTC) + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return _Authority(builder.sign(key, hashes.SHA256()), key)


def _pair(
    directory: Path,
    name: str,
    authority: _Authority,
    *,
    names: list[str],
    not_after: datetime | None = None,
    owner_uid: int | None = None,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(name, str(issuer), key, not_after or datetime.now(UTC) + timedelta(days=30))
    usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    return Pair(
        _write_certificate(directory / f"{name}.crt", certificate),
        _write_key(directory / f"{name}.key", key, owner_uid),
    )


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_certificate(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o644)
    return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, owner_uid: int | None) -> Path:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem)
    path.chmod(0o600)
    if owner_uid is not None and owner_uid != os.getuid():
        os.chown(path, owner_uid, -1)
    return path

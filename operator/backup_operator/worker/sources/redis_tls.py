"""Room `worker.sources`: TLS to a Redis server, from the order's secrets; called by redis."""

import ssl

from backup_operator.contract.order import RedisTls, SecretFile
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.secrets import read_secret, secret_path
from backup_operator.worker.sources.redis_url import RedisUrl


def tls_context(url: RedisUrl, tls: RedisTls) -> ssl.SSLContext | None:
    """The TLS settings for the URL, or None for `redis://`; a CA of the order's own is the only one that is trusted.

    Raises: SecretMissing; SourceError when a certificate or key cannot be read.
    """
    if not url.uses_tls:
        return None
    context = _trusting(tls.ca)
    if not url.checks_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        _load_client_certificate(context, tls.certificate, tls.key)
    return context


def _trusting(ca: SecretFile | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    text, _warnings = read_secret(ca, if_no_text=Reason.TLS_FAILED)
    try:
        context = ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as exc:
        raise _no_pem(ca, "CA certificate") from exc
    # Python 3.13 asks for extensions that authorities made by hand, Redis's own test script among them, do not have
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: SecretFile, key: SecretFile | None) -> None:
    key_path = secret_path(key) if key is not None else None
    try:
        # no question at a terminal that is not there: a key with a passphrase is an error
        context.load_cert_chain(secret_path(certificate), key_path, password=_no_passphrase)
    except ssl.SSLError as exc:
        raise _no_pem(certificate, "client certificate with its key") from exc


def _no_passphrase() -> str:
    return ""


def _no_pem(secret: SecretFile, what: str) -> SourceError:
    return SourceError(
        Reason.TLS_FAILED,
        f"{secret.described} holds no {what} that can be read",
        detail="A PEM text is expected, which begins with -----BEGIN; a key must belong to the certificate, "
        "without a passphrase.",
        hint="openssl x509 -noout -subject -in FILE",
    )

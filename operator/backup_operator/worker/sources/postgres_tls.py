"""Room `worker.sources`: asks why a server's certificate is refused; called by `sources.postgres_connection`.

libpq says only "certificate verify failed". OpenSSL knows more (expired, unknown authority), so it is asked again.

Source: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
"""

import socket
import ssl
import struct
from pathlib import Path

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_TIMEOUT_SECONDS = 5


def certificate_complaint(host: str, port: int, authorities: Path) -> str:
    """What OpenSSL finds wrong with the certificate, for example `certificate has expired`; empty when nothing."""
    try:
        context = ssl.create_default_context(cafile=str(authorities))
        context.check_hostname = False
        with socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) == b"S":
                context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as exc:
        return exc.verify_message
    except (OSError, ssl.SSLError):
        return ""
    return ""

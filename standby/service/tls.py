"""Which certificates are trusted."""

from __future__ import annotations

import ssl
from typing import TypeAlias

import httpx

from standby.service.errors import UntrustedCertificate

Tls: TypeAlias = ssl.SSLContext


def trusted_certificates() -> Tls:
    """Make the TLS context of a run; it takes some 25 ms, so all clients of a run share one.

    The environment's `SSL_CERT_FILE` and `SSL_CERT_DIR` stand in for the usual authorities.

    Raises:
        UntrustedCertificate: what they name cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        cause = f"The trusted certificates cannot be read: {type(error).__name__}"
        raise UntrustedCertificate(cause, "Correct SSL_CERT_FILE or SSL_CERT_DIR") from None

"""Throw-away certificates for https on loopback."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """An authority nobody else knows, and a server's context that it vouches for.

    Attributes:
        ca_file: PEM of the authority.
    """

    ca_file: Path
    server: ssl.SSLContext


@contextmanager
def certificates() -> Iterator[Certificates]:
    """Make an authority and its certificate; the file is gone afterwards."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    with tempfile.TemporaryDirectory(prefix="emulator-") as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield Certificates(ca_file, server)

"""Where a URL leads, and whether our credentials may go there."""

from __future__ import annotations

from typing import TypeAlias

import httpx

Origin: TypeAlias = tuple[str, str, int]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Give scheme, host and port, without regard to case and to a port that is the scheme's own.

    httpx reads the URL here as it does for the request, so that both always mean the same host.
    """
    scheme = url.scheme.lower()
    return scheme, url.raw_host.decode("ascii").lower(), url.port or _DEFAULT_PORTS.get(scheme, 0)


def spelled(origin: Origin) -> str:
    """Write an origin for people, without the port that its scheme has anyway."""
    scheme, host, port = origin
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{port}"

"""Serves the application on one address until it is stopped, and still answers requests that it has begun."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from standby.concurrency import to_its_end
from standby.gateway.errors import AddressUnusable

CONNECTIONS = 200
"""Connections at once; more are answered 503."""

KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""

GRACE = 10
"""Seconds that a delivery may still take when the gateway stops."""


class _Server(uvicorn.Server):
    """Calls back once it serves, and leaves signals to the command."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address; with port 0 any port that is free."""
    address = f"{host}:{port}"
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.create_server(place[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not an address"
        raise AddressUnusable(address, reason) from None
    with taken:
        yield taken


def url_of(taken: socket.socket) -> str:
    """Give the URL of an address that was taken."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if taken.family == socket.AF_INET6 else f"http://{host}:{port}"


async def serve(app: ASGIApp, taken: socket.socket, announce: Callable[[], None]) -> None:
    """Serve on an address that was taken, until cancelled; deliveries that were begun are still answered.

    The access log stays off: it would show the token of the URL.
    """
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        ),
        announce,
    )
    task = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        # Not the task itself: a cancellation would end it before it has answered.
        await asyncio.wait({task})
    finally:
        server.should_exit = True
        await to_its_end(task)

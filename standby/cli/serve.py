"""`standby emulator` and `standby gateway`: what serves until it is interrupted."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from standby.cli.output import Output
from standby.cli.run import Exit
from standby.concurrency import to_its_end
from standby.config.resource import is_loopback
from standby.emulator.config import load_emulator_config
from standby.emulator.serve import serve as serve_emulated
from standby.errors import StandbyError
from standby.gateway.app import make_app
from standby.gateway.errors import AddressUnusable
from standby.gateway.poster import open_poster, prefect_api
from standby.service.calls import trusted_certificates
from standby.vault.vault import open_vault

CONNECTIONS = 200  # Connections at once; more are answered 503
OF_ONE_CLIENT = 50  # Connections at once from one address, which may be a proxy's
KEEP_ALIVE = 5  # Seconds in which the head of a request must be there, or a connection is closed
GRACE = 10  # Seconds that a delivery may still take when the gateway stops


BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Connection(H11Protocol):
    """A connection that ends soon where no request becomes complete: uvicorn itself would wait for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        addresses = [(getattr(each, "client", None) or ("",))[0] for each in self.connections]
        if len(addresses) > CONNECTIONS or (self.client and addresses.count(self.client[0]) > OF_ONE_CLIENT):
            self.transport.write(BUSY)
            self.transport.close()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def _wait(self) -> None:
        """Count the seconds, however slowly something comes, unless a request is being answered."""
        answering = not getattr(self.cycle, "response_complete", True)
        if not answering and self._waiting is None:
            self._waiting = self.loop.call_later(self.timeout_keep_alive, self.transport.close)
        elif answering and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


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
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if taken.family == socket.AF_INET6 else f"http://{host}:{port}"


async def serve(app: ASGIApp, taken: socket.socket, announce: Callable[[], None], keep_alive: int = KEEP_ALIVE) -> None:
    """Serve on an address that was taken, until cancelled; deliveries that were begun are still answered."""
    # The access log stays off: it would show the token of the URL.
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive,
            http=_Connection,
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


EXAMPLE = Path(__file__).parent / "demo" / "emulator.yaml"


class NoEmulatorFile(StandbyError):
    def __init__(self) -> None:
        cause = "standby emulator needs its own file, which lists the resources to serve"
        super().__init__(cause, f"Name it with --config; {EXAMPLE} is an example")


async def emulator(context: typer.Context) -> Exit:
    """Serve emulated resources on loopback ports until interrupted; --config names their file.

    It prints one line of JSON on stdout: what is served, and where.
    """
    output: Output = context.obj
    if output.config == Output().config:
        raise NoEmulatorFile
    await serve_emulated(load_emulator_config(output.config), announce=typer.echo)
    return Exit.DONE


Host = Annotated[str, typer.Option("--host", metavar="HOST", help="Address to serve on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 is any free one.")]


async def gateway(context: typer.Context, host: Host = "127.0.0.1", port: Port = 8730) -> Exit:
    """Receive alerts of Azure Monitor, Service Health and Event Grid, and pass them on as Prefect events.

    It serves until it is interrupted, over plain http: put TLS in front of it. It needs gateway.token in the
    configuration, and PREFECT_API_URL. Once it serves, it prints its URL.
    """
    output: Output = context.obj
    configuration = output.load()
    api = prefect_api(os.environ)
    async with open_poster(api, trusted_certificates()) as poster, open_vault(configuration.vault) as vault:
        app = make_app(configuration, poster.post, vault)
        with bound(host, port) as taken:
            if not is_loopback(host):
                output.say(
                    "This is plain http: anybody who can read the traffic can read the token. Put TLS in front of it."
                )
            await serve(app, taken, lambda: _announce(output, url_of(taken)))
    return Exit.DONE


def _announce(output: Output, url: str) -> None:
    output.result(f"Serving on {url}")
    output.document({"url": url})

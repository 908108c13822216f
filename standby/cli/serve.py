"""`standby emulator` and `standby gateway`: what serves until it is interrupted."""

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, cast

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from standby.cli.output import Line, Output, write_files
from standby.cli.run import Exit
from standby.concurrency import to_its_end
from standby.config.resource import is_loopback
from standby.errors import of_extra
from standby.gateway.app import make_app
from standby.gateway.errors import AddressUnusable
from standby.gateway.notice import open_poster, prefect_api
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


EMULATOR_FILE = Path("emulator.yaml")
EXAMPLE = ("emulator.yaml", "emulator.env", "standby.yaml")
EXAMPLE_PORT = r"\b874([0-2])\b"  # In these files: the control's 8740, and one for each resource
EXAMPLE_COMMANDS = (
    "set -a; . ./emulator.env; set +a      # in another terminal, where the commands below run too",
    "standby doctor invoices",
    "standby plan invoices",
    "standby replicate invoices",
    "standby status invoices",
)


Example = Annotated[
    bool,
    typer.Option("--example", help="Write an emulator.yaml, its standby.yaml and emulator.env, and serve nothing."),
]
Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where --example writes.")]
FirstPort = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65000, help="Port of the control; the resources get those that follow, in their order."
    ),
]
Overwrite = Annotated[bool, typer.Option("--yes", help="Let --example overwrite files.")]


async def emulator(
    output: Output,
    example: Example = False,
    folder: Folder = Path(),
    port: FirstPort = None,
    yes: Overwrite = False,
) -> Exit:
    """Serve emulated resources on loopback ports until interrupted, as emulator.yaml or --config says.

    It prints one line of JSON on stdout: what is served, and where.
    """
    if example:
        _write_example(output, folder, port or 8740, overwrite=yes)
        return Exit.DONE
    with of_extra("emulator", "standby emulator"):
        from standby.emulator.config import load_emulator_config
        from standby.emulator.serve import serve as serve_emulated
    config = load_emulator_config(EMULATOR_FILE if output.config == Output().config else output.config)
    await serve_emulated(config if port is None else config.from_port(port), announce=typer.echo)
    return Exit.DONE


def _write_example(output: Output, folder: Path, first: int, *, overwrite: bool) -> None:
    texts = {}
    for name in EXAMPLE:
        text = (files("standby.emulator") / "example" / name).read_text(encoding="utf-8")
        texts[folder / name] = re.sub(EXAMPLE_PORT, lambda found: str(first + int(found[1])), text)
    write_files(texts, "folder with --folder", overwrite=overwrite)
    output.result(
        f"{folder.resolve()} has {', '.join(EXAMPLE)}: two emulated regions, six analyzers, the plan invoices."
    )
    output.result("Next, in that folder:")
    for command in ("standby emulator", *EXAMPLE_COMMANDS):
        output.result(Line(command, 2))
    output.document({"files": [str(file) for file in texts], "next": ["standby emulator", *EXAMPLE_COMMANDS]})


Host = Annotated[str, typer.Option("--host", metavar="HOST", help="Address to serve on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 is any free one.")]


async def gateway(output: Output, host: Host = "127.0.0.1", port: Port = 8730) -> Exit:
    """Receive alerts of Azure Monitor, Service Health and Event Grid, and pass them on as Prefect events.

    It serves until it is interrupted, over plain http: put TLS in front of it. It needs gateway.token in the
    configuration, and PREFECT_API_URL. Once it serves, it prints its URL.
    """
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

"""Serves the emulator in the running event loop, each resource on a port that can be closed and opened again."""

import asyncio
import json
import secrets
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import trustme
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from standby.document import JsonObject
from standby.emulator.config import EmulatorConfig
from standby.emulator.control import Control
from standby.emulator.data_plane import data_plane
from standby.emulator.world import Place, World
from standby.errors import StandbyError

IN_SUBSCRIPTION = "resourceGroups/emulator/providers/Microsoft.CognitiveServices/accounts"


@dataclass(frozen=True)
class Identity:
    """An App Service's managed identity: what goes into IDENTITY_ENDPOINT and IDENTITY_HEADER."""

    endpoint: str
    header: str


@dataclass(frozen=True)
class Emulator:
    """What is served, and where; `arm` is instead of https://management.azure.com, `ca_file` is PEM."""

    control: str
    arm: str
    resources: Mapping[str, Place]
    identity: Identity
    world: World
    ca_file: Path | None = None

    def announcement(self) -> JsonObject:
        said: JsonObject = {"control": self.control, "arm": self.arm, "identity": asdict(self.identity)}
        if self.ca_file is not None:
            said["ca_file"] = str(self.ca_file)
        places = {name: asdict(place) for name, place in self.resources.items()}
        resources: JsonObject = {name: {key: it[key] for key in it if key != "name"} for name, it in places.items()}
        return {**said, "resources": resources}


@asynccontextmanager
async def running(config: EmulatorConfig) -> AsyncIterator[Emulator]:
    """Serve until the context is left; then all connections are dropped at once."""
    async with AsyncExitStack() as stack:
        ca_file, tls = stack.enter_context(certificates()) if config.tls else (None, None)
        ports = {name: stack.enter_context(_taken(name, part.port)) for name, part in config.resources.items()}
        places = {name: _place(name, config, port_of(port), tls) for name, port in ports.items()}
        world = World(config, places)
        listeners = {name: Listener(data_plane(world, name), port, tls) for name, port in ports.items()}

        imposing = asyncio.Lock()

        async def impose() -> None:
            async with imposing:
                for name, listener in listeners.items():
                    await (listener.shut() if world.outages[name] == "refuse" else listener.open())

        control_port = stack.enter_context(_taken("the control", config.port))
        control = Listener(Control(world, impose).app(), control_port)
        for listener in (*listeners.values(), control):
            stack.push_async_callback(listener.close)
        await impose()
        await control.open()
        url = f"http://{HOST}:{port_of(control_port)}"
        identity = Identity(f"{url}/identity", world.issuer.header)
        yield Emulator(control=url, arm=url, resources=places, identity=identity, world=world, ca_file=ca_file)


async def serve(config: EmulatorConfig, announce: Callable[[str], None]) -> None:
    """Announce one line of JSON, then serve until cancelled."""
    async with running(config) as emulator:
        announce(json.dumps(emulator.announcement()))
        sys.stdout.flush()
        await asyncio.Event().wait()


def _place(name: str, config: EmulatorConfig, port: int, tls: ssl.SSLContext | None) -> Place:
    resource = config.resources[name]
    endpoint = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
    key = resource.key or secrets.token_hex(16)
    resource_id = f"/subscriptions/{resource.subscription}/{IN_SUBSCRIPTION}/{name}"
    return Place(name, endpoint=endpoint, region=resource.region, resource_id=resource_id, key=key)


class PortUnusable(StandbyError):
    """A port that the file or the command names cannot be had."""

    def __init__(self, owner: str, port: int, reason: str) -> None:
        cause = f"The emulator cannot serve {owner} on port {port} of {HOST}: {reason}"
        action = (
            "End what uses the port, which may be another standby emulator; or choose another: --port PORT is for the "
            "control, and the resources get those that follow. Then the endpoints in standby.yaml change as well"
        )
        super().__init__(cause, action)


def _taken(owner: str, port: int) -> socket.socket:
    try:
        return bound(port)
    except OSError as error:
        raise PortUnusable(owner, port, error.strerror or type(error).__name__) from None


@contextmanager
def certificates() -> Iterator[tuple[Path, ssl.SSLContext]]:
    """Make an authority that nobody else knows, and a server's TLS context signed by it; its PEM is gone afterwards."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    with tempfile.TemporaryDirectory(prefix="emulator-") as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield ca_file, server


HOST = "127.0.0.1"
BACKLOG = 2048
KEEP_ALIVE = 120


class _Connection(H11Protocol):
    """Lets the application get at its connection, so that it can be dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {"transport": transport}


class Listener:
    """Serves an application on a port of its own, which it keeps while it is closed."""

    def __init__(self, app: ASGIApp, reserved: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        quiet = partial(uvicorn.Config, lifespan="off", ws="none", log_config=None, access_log=False)
        self._config = quiet(app, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE)
        self._tls = tls
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = reserved
        self._port = port_of(reserved)

    async def open(self) -> None:
        if self._server is not None or self._reserved is None:
            return
        loop = asyncio.get_running_loop()
        connection = partial(_Connection, config=self._config, server_state=self._state, app_state={})
        self._server = await loop.create_server(connection, sock=self._reserved, ssl=self._tls, backlog=BACKLOG)
        self._reserved = None

    async def shut(self) -> None:
        """Refuse connections and drop those there are, but keep the port."""
        if self._server is not None:
            self._server.close()
            # A port that is bound and not listened on refuses connections, and nobody else gets it.
            self._server, self._reserved = None, bound(self._port)
        # Every call that waits, waits for its connection to close as well, so this takes no time.
        while self._state.connections or self._state.tasks:
            for connection in list(self._state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.shut()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None


def bound(port: int = 0) -> socket.socket:
    """Take a loopback port, a free one where none is named, without listening on it."""
    # Where the protocol is named, asyncio switches Nagle's algorithm off, which costs 40 ms a call.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((HOST, port))
    except OSError:
        made.close()
        raise
    return made


def port_of(taken: socket.socket) -> int:
    return int(taken.getsockname()[1])

"""Serves the emulator in the event loop that is running."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from emulator.config import EmulatorConfig
from emulator.control import Control
from emulator.data_plane import data_plane
from emulator.listener import HOST, Listener, bound, certificates, port_of
from emulator.state import Place
from emulator.world import World
from standby.document import JsonObject

RESOURCE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/emulator"
    "/providers/Microsoft.CognitiveServices/accounts/"
)


@dataclass(frozen=True)
class Served:
    """One resource that is served."""

    endpoint: str
    region: str
    resource_id: str
    key: str


@dataclass(frozen=True)
class Identity:
    """An App Service's managed identity: what goes into IDENTITY_ENDPOINT and IDENTITY_HEADER."""

    endpoint: str
    header: str


@dataclass(frozen=True)
class Emulator:
    """What is served, and where.

    Attributes:
        control: URL of the control.
        arm: URL that stands for https://management.azure.com.
        ca_file: PEM of the throw-away authority, where resources are served over https.
    """

    control: str
    arm: str
    resources: Mapping[str, Served]
    identity: Identity
    ca_file: Path | None = None

    def announcement(self) -> JsonObject:
        """Give all of it as JSON."""
        told: JsonObject = {"control": self.control, "arm": self.arm, "identity": asdict(self.identity)}
        if self.ca_file is not None:
            told["ca_file"] = str(self.ca_file)
        return {**told, "resources": {name: asdict(served) for name, served in self.resources.items()}}


@asynccontextmanager
async def running(config: EmulatorConfig) -> AsyncIterator[Emulator]:
    """Serve until the context is left; then all connections are dropped at once."""
    async with AsyncExitStack() as stack:
        made = stack.enter_context(certificates()) if config.tls else None
        tls = made.server if made else None
        ports = {name: stack.enter_context(bound()) for name in config.resources}
        places = {name: _place(name, config, port_of(port), tls) for name, port in ports.items()}
        world = World(config, places)
        listeners = {name: Listener(data_plane(world, name), port, tls) for name, port in ports.items()}

        imposing = asyncio.Lock()

        async def impose() -> None:
            async with imposing:
                for name, listener in listeners.items():
                    await (listener.shut() if world.outages[name] == "refuse" else listener.open())

        control_port = stack.enter_context(bound())
        control = Listener(Control(world, impose).app(), control_port)
        for listener in (*listeners.values(), control):
            stack.push_async_callback(listener.close)
        await impose()
        await control.open()
        url = f"http://{HOST}:{port_of(control_port)}"
        yield Emulator(
            control=url,
            arm=url,
            resources={name: _served(place) for name, place in places.items()},
            identity=Identity(f"{url}/identity", world.issuer.header),
            ca_file=made.ca_file if made else None,
        )


async def serve(config: EmulatorConfig, announce: Callable[[str], None]) -> None:
    """Announce one line of JSON, then serve until cancelled.

    Args:
        config: what is served.
        announce: told the line, such as `print`; what it wrote to stdout is flushed.
    """
    async with running(config) as emulator:
        announce(json.dumps(emulator.announcement()))
        sys.stdout.flush()
        await asyncio.Event().wait()


def _place(name: str, config: EmulatorConfig, port: int, tls: ssl.SSLContext | None) -> Place:
    resource = config.resources[name]
    return Place(
        name=name,
        endpoint=f"{'http' if tls is None else 'https'}://{HOST}:{port}",
        region=resource.region,
        resource_id=f"{RESOURCE_ID}{name}",
        key=resource.key or secrets.token_hex(16),
    )


def _served(place: Place) -> Served:
    return Served(place.endpoint, place.region, place.resource_id, place.key)

"""`standby emulator` and `standby gateway`: what serves until it is interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from emulator.config import load_emulator_config
from emulator.serve import serve as serve_emulated
from standby.cli.output import Output
from standby.cli.run import Exit
from standby.config.resource import is_loopback
from standby.errors import StandbyError
from standby.gateway.app import make_app
from standby.gateway.poster import open_poster, prefect_api
from standby.gateway.server import bound, serve, url_of
from standby.service.calls import trusted_certificates
from standby.vault.vault import open_vault

EXAMPLE = Path(__file__).parent / "demo" / "emulator.yaml"


class NoEmulatorFile(StandbyError):
    """It was not said what to serve."""

    def __init__(self) -> None:
        super().__init__(
            "standby emulator needs its own file, which lists the resources to serve",
            f"Name it with --config; {EXAMPLE} is an example",
        )


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

"""`standby emulator`: the service, on this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from emulator.config import load_emulator_config
from emulator.serve import serve
from standby.cli.output import Output
from standby.cli.run import Exit
from standby.errors import StandbyError

EXAMPLE = Path(__file__).parent / "demo" / "emulator.yaml"


class NoEmulatorFile(StandbyError):
    """It was not said what to serve."""

    def __init__(self) -> None:
        super().__init__(
            "standby emulator needs its own file, which lists the resources to serve",
            f"Name it with --config; {EXAMPLE} is an example",
        )


async def command(context: typer.Context) -> Exit:
    """Serve emulated resources on loopback ports until interrupted; --config names their file.

    It prints one line of JSON on stdout: what is served, and where.
    """
    output: Output = context.obj
    if output.config == Output().config:
        raise NoEmulatorFile
    await serve(load_emulator_config(output.config), announce=typer.echo)
    return Exit.DONE

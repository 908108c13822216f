"""`standby emulator`: the service, on this machine."""

from __future__ import annotations

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.running import run


def command(context: typer.Context) -> None:
    """Serve emulated resources on loopback ports; --config names their file."""

    async def serve_until_interrupted(output: Output) -> Exit:
        from emulator.config import load_emulator_config
        from emulator.serve import serve

        await serve(load_emulator_config(output.config), announce=print)
        return Exit.DONE

    run(context, serve_until_interrupted)

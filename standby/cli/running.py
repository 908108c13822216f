"""Runs a command's coroutine and turns its end into the process's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Literal

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.errors import StandbyError

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan of the configuration.")]
Via = Literal["direct", "prefect"]


def run(context: typer.Context, command: Callable[[Output], Coroutine[None, None, Exit]]) -> None:
    """Run a command in one event loop and end the process with its status."""
    output: Output = context.obj
    output.start_logging()
    try:
        status = asyncio.run(command(output))
    except StandbyError as error:
        output.error(error)
        status = Exit.ERROR
    except KeyboardInterrupt:
        output.say("Interrupted.")
        status = Exit.INTERRUPTED
    raise typer.Exit(status)

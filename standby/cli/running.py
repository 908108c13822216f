"""Runs a command's coroutine and turns its end into the process's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Literal

import typer

from standby.cli.exits import Exit, exit_of
from standby.cli.interruption import stopped_by_signals
from standby.cli.logs import logging_to
from standby.cli.output import Output
from standby.cli.telling import error_document
from standby.errors import StandbyError

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan of the configuration.")]
Via = Literal["direct", "prefect"]
Command = Callable[[Output], Coroutine[None, None, Exit]]

log = logging.getLogger("standby.cli")


def run(context: typer.Context, command: Command) -> None:
    """Run a command in one event loop and end the process with its status."""
    output: Output = context.obj
    with logging_to(output.stderr, verbose=output.verbose, quiet=output.quiet):
        status = _status(command, output)
    raise typer.Exit(status)


def _status(command: Command, output: Output) -> Exit:
    try:
        return asyncio.run(_stoppable(command, output))
    except StandbyError as error:
        output.error(error)
        return exit_of(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        output.say("Interrupted.")
        output.document(error_document("Interrupted", "It was interrupted", "Run it again"))
        return Exit.INTERRUPTED
    except Exception as error:
        # An error of ours, in both senses: where it happened is for whoever mends it.
        log.debug("where it happened:", exc_info=error)
        output.problem(
            type(error).__name__,
            f"Standby itself went wrong: unexpected {type(error).__name__}",
            "Run it again with -v to see where, and report that",
        )
        return Exit.ERROR


async def _stoppable(command: Command, output: Output) -> Exit:
    task = asyncio.create_task(command(output))
    with stopped_by_signals(task, lambda: output.say("Stopping; Ctrl-C again ends it at once.")):
        return await task

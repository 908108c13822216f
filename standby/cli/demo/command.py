"""The command, and what is left running for those who want to look around."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from standby.cli.demo.replication import tell
from standby.cli.demo.stage import Stage, set_stage
from standby.cli.output import Output
from standby.cli.run import Exit, run


def command(
    context: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C, to look around.")
    ] = False,
) -> None:
    """Watch a region being kept warm in two others, lost, and brought back; needs no Azure."""

    async def demonstrate(output: Output) -> Exit:
        with tempfile.TemporaryDirectory(prefix="standby-demo-", ignore_cleanup_errors=True) as folder:
            output.result("Starting three emulated regions, a Prefect server and a worker; this takes some 30 s.")
            async with set_stage(Path(folder)) as stage:
                output.document(await tell(stage, output))
                if keep:
                    await _wait(stage, output)
        return Exit.DONE

    run(context, demonstrate)


async def _wait(stage: Stage, output: Output) -> None:
    output.say("")
    output.say("Everything is left running until Ctrl-C. In another terminal:")
    for name, value in stage.variables.items():
        output.say(f"  export {name}={value}")
    output.say(f"  export PREFECT_API_URL={stage.ui}/api")
    output.say(f"  .venv/bin/standby -c {stage.file} check documents")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        output.say("Stopping.")

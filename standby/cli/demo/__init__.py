"""`standby demo`: the main job end to end, on this machine alone."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from standby.cli.demo.story import Stage, Story, set_stage
from standby.cli.output import Output
from standby.cli.run import Exit


async def command(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running until Ctrl-C, to look around.")] = False,
) -> Exit:
    """Show how analyzers are copied to two other regions, lose their region, and are recovered. It needs no Azure."""
    output: Output = context.obj
    with tempfile.TemporaryDirectory(prefix="standby-demo-", ignore_cleanup_errors=True) as folder:
        output.result("Starting three emulated regions, a Prefect server and a worker; this takes about 30 s.")
        async with set_stage(Path(folder)) as stage:
            output.document(await Story(stage, output, stage.configuration()).play())
            if keep:
                await _wait(stage, output)
    return Exit.DONE


async def _wait(stage: Stage, output: Output) -> None:
    output.say("")
    output.say("Everything keeps running until Ctrl-C. In another terminal:")
    for name, value in {**stage.variables, "PREFECT_API_URL": f"{stage.ui}/api"}.items():
        output.say(f"export {name}={value}", 2)
    output.say(f".venv/bin/standby -c {stage.file} check documents", 2)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        output.say("Stopping.")

"""`standby bootstrap`: put a configuration on a Prefect server."""

from __future__ import annotations

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.running import run
from standby.orchestrator import load_orchestrator


def command(context: typer.Context) -> None:
    """Save blocks, limits, work pool and deployments on a Prefect server; repeating it is safe."""

    async def bootstrap(output: Output) -> Exit:
        configuration = output.load()
        changes = await load_orchestrator().bootstrap(configuration)
        for change in changes or ["Nothing to change: the server has all of it."]:
            output.result(change)
        output.document({"changes": list(changes)})
        return Exit.DONE

    run(context, bootstrap)

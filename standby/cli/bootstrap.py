"""`standby bootstrap`: save a configuration on a Prefect server."""

import typer

from standby.cli.output import Output
from standby.cli.run import Exit
from standby.errors import StandbyError
from standby.orchestrator import load_orchestrator


class NoServer(StandbyError):
    """There is no Prefect server to save anything on."""

    def __init__(self, found: str) -> None:
        action = "Start one with prefect server start, set PREFECT_API_URL to what it shows, and run this again"
        super().__init__(f"Bootstrap saves on a Prefect server, but {found[:1].lower()}{found[1:]}", action)


async def command(context: typer.Context) -> Exit:
    """Save blocks, limits, work pools and deployments on a Prefect server; it is safe to repeat."""
    output: Output = context.obj
    configuration = output.load()
    orchestrator = load_orchestrator()
    health = await orchestrator.health()
    if not health.well:
        raise NoServer(health.detail)
    changes = await orchestrator.bootstrap(configuration)
    for change in changes or ["Nothing to change: the server has everything."]:
        output.result(change)
    output.document({"changes": list(changes)})
    return Exit.DONE

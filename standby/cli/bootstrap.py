"""`standby bootstrap`: save a configuration on a Prefect server."""

import typer

from standby.cli.output import Output
from standby.cli.run import Exit
from standby.errors import StandbyError
from standby.orchestrator import load_orchestrator


class NoServer(StandbyError):
    """There is no Prefect server to save anything on."""

    def __init__(self, found: str, next_action: str) -> None:
        cause = f"Bootstrap saves on a Prefect server, but {found[:1].lower()}{found[1:]}"
        super().__init__(cause, f"{next_action}, and run this again")


async def command(context: typer.Context) -> Exit:
    """Save blocks, limits, work pools and deployments on a Prefect server; it is safe to repeat."""
    output: Output = context.obj
    configuration = output.load()
    orchestrator = load_orchestrator()
    health = await orchestrator.health()
    if not health.well:
        raise NoServer(health.detail, health.next_action)
    changes = await orchestrator.bootstrap(configuration)
    for change in changes or ["Nothing to change: the server has everything."]:
        output.result(change)
    output.document({"changes": list(changes)})
    return Exit.DONE

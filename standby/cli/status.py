"""`standby status`: could the standby side take over now, and why not."""

from __future__ import annotations

from typing import Annotated

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.running import PlanName, run
from standby.cli.status_lines import status_lines
from standby.recovery.context import open_recovery
from standby.recovery.readiness.document import State
from standby.recovery.readiness.gathering import assess_plan
from standby.recovery.readiness.looking import LOOK_SECONDS

Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0.1, max=600, help="What a resource has to answer."),
]


def command(context: typer.Context, plan: PlanName, wait: Wait = LOOK_SECONDS) -> None:
    """Tell whether each target of a plan could take over, with RPO, RTO and the last drill.

    It changes nothing, and needs no answer of the source: what that does not say is told from records.

    Exit status: 0 every target is ready, 2 one is not, or it cannot be told.
    """

    async def show(output: Output) -> Exit:
        async with open_recovery(output.load(), plan) as recovery:
            found = await assess_plan(recovery, seconds=wait)
        output.results(status_lines(plan, found, verbose=output.verbose))
        output.document({"plan": plan, "pairs": [readiness.model_dump(mode="json") for readiness in found]})
        ready = all(readiness.state is State.READY for readiness in found)
        return Exit.DONE if ready else Exit.DIFFERENCES

    run(context, show)

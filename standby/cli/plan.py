"""`standby plan`: what a replication would do."""

from __future__ import annotations

from typing import Annotated

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.render import plan_lines
from standby.cli.running import PlanName, run
from standby.replication.actions import Action
from standby.replication.planning import Selection
from standby.replication.replicate import open_run, survey
from standby.replication.report import plan_document


def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Annotated[
        list[str] | None, typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers.")
    ] = None,
) -> None:
    """Show what a replication would do. Exit 0: nothing. Exit 2: something."""

    async def show(output: Output) -> Exit:
        async with open_run(output.load(), plan) as run_context:
            proposal = await survey(run_context, Selection(tuple(analyzer or ["*"])))
        for line in plan_lines(proposal, verbose=output.verbose):
            output.result(line)
        output.document(plan_document(proposal))
        idle = all(item.action is Action.SKIP for item in proposal.items) and not proposal.added_defaults
        return Exit.DONE if idle else Exit.DIFFERENCES

    run(context, show)

"""`standby plan`: what a replication would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.render import plan_lines
from standby.cli.running import PlanName, run
from standby.cli.selecting import Analyzers, Existing, Targets, selection
from standby.replication.actions import Action
from standby.replication.replicate import open_run, survey
from standby.replication.report import plan_document
from standby.replication.saved_plan import save_plan


def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Analyzers = None,
    target: Targets = None,
    on_existing: Existing = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save it, to be applied later.")
    ] = None,
) -> None:
    """Show what a replication would do. Exit 0: nothing. Exit 2: something."""
    asked = selection(analyzer, target, on_existing)

    async def show(output: Output) -> Exit:
        async with open_run(output.load(), plan) as run_context:
            proposal = await survey(run_context, asked)
        for line in plan_lines(proposal, verbose=output.verbose):
            output.result(line)
        if out is not None:
            save_plan(out, proposal, asked)
            output.say(f"Saved. Do it with: standby replicate {plan} --apply {out}")
        output.document(plan_document(proposal))
        idle = all(item.action is Action.SKIP for item in proposal.items) and not proposal.added_defaults
        return Exit.DONE if idle else Exit.DIFFERENCES

    run(context, show)

"""`standby plan`: what a replication would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from standby.cli.options import Analyzers, Existing, Forced, PlanName, Targets, selection
from standby.cli.output import Output
from standby.cli.render import plan_lines
from standby.cli.run import Exit, run
from standby.document import JsonValue
from standby.replication.forecast import Forecast, forecast
from standby.replication.replicate import open_run, survey
from standby.replication.report import plan_document
from standby.replication.saved_plan import save_plan
from standby.replication.verdict import Action


def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Analyzers = None,
    target: Targets = None,
    on_existing: Existing = None,
    force: Forced = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Save it, to be applied later.")] = None,
) -> None:
    """Show what a replication would do.

    Exit status: 0 nothing to do, 2 something to do.
    """
    asked = selection(analyzer, target, on_existing, force)

    async def show(output: Output) -> Exit:
        configuration = output.load()
        async with open_run(configuration, plan) as run_context:
            proposal = await survey(run_context, asked)
        expected = forecast(proposal, configuration.resources)
        if out is not None:
            save_plan(out, proposal, asked)
        output.results(plan_lines(proposal, expected, verbose=output.verbose))
        if out is not None:
            output.say(f"Saved. Do exactly that with: standby replicate {plan} --apply {out}")
        output.document({**plan_document(proposal), "forecast": _document(expected)})
        idle = all(item.action is Action.SKIP for item in proposal.items) and not proposal.added_defaults
        return Exit.DONE if idle else Exit.DIFFERENCES

    run(context, show)


def _document(expected: Forecast | None) -> JsonValue:
    if expected is None:
        return None
    return {
        "calls": dict(expected.calls),
        "quota_share": {name: round(share, 4) for name, share in expected.quota_share.items()},
        "seconds": [round(expected.shortest, 1), round(expected.longest, 1)],
    }

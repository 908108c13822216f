"""`standby commit`: commit a failover."""

from __future__ import annotations

import typer

from standby.cli.failover import commit_lines
from standby.cli.options import PlanName, Primary, Via
from standby.cli.output import Output
from standby.cli.run import Exit, exit_of
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.failover.failover import commit
from standby.recovery.failover.report import CommitReport


async def command(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    via: Via = "direct",
) -> Exit:
    """Commit a failover: from then on only a failback, which copies edits back, returns to the primary.

    The active map is published to every sink once more, so a sink that did not take it before gets it now.

    Exit status: 0 done and every sink has the active map, 3 a sink does not.
    """
    output: Output = context.obj
    configuration = output.load()
    configuration.plan(plan)
    if via == "prefect":
        report = await run_flow(CommitReport, configuration, plan, "commit", {"home": primary})
    else:
        async with open_recovery(configuration, plan) as recovery:
            report = await commit(recovery, primary or None)
    output.report(commit_lines(report), report)
    return exit_of(complete=report.complete)

"""`standby commit`: commit a failover."""

from __future__ import annotations

import typer

from standby.cli.failover import commit_lines
from standby.cli.options import PlanName, Primary, Via
from standby.cli.output import Output
from standby.cli.run import Exit, run
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.failover.failover import commit
from standby.recovery.failover.report import CommitReport


def command(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    via: Via = "direct",
) -> None:
    """Commit a failover: from then on only a failback, which copies edits back, returns to the primary.

    The active map is published to every sink once more, so a sink that did not take it before gets it now.

    Exit status: 0 done and every sink has the active map, 3 a sink does not.
    """

    async def commit_it(output: Output) -> Exit:
        configuration = output.load()
        configuration.plan(plan)
        if via == "prefect":
            report = await run_flow(CommitReport, configuration, plan, "commit", {"home": primary})
        else:
            async with open_recovery(configuration, plan) as recovery:
                report = await commit(recovery, primary or None)
        output.report(commit_lines(report), report)
        return Exit.DONE if report.complete else Exit.PARTIAL

    run(context, commit_it)

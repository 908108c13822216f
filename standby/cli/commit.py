"""`standby commit`: make a failover final."""

from __future__ import annotations

import typer

from standby.cli.failover import commit_lines
from standby.cli.options import PlanName, Primary, Via
from standby.cli.output import Output
from standby.cli.run import Exit, run
from standby.orchestrator import run_flow
from standby.recovery.context import must_be_the_books, open_recovery
from standby.recovery.failover.failover import commit
from standby.recovery.failover.report import CommitReport


def command(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    via: Via = "direct",
) -> None:
    """Make a failover final: from then on the way back is a failback, which brings edits along.

    Every sink is told once more what serves, so one that could not be told before is brought up to date.

    Exit status: 0 done and every sink was told, 3 a sink was not.
    """

    async def make_final(output: Output) -> Exit:
        configuration = output.load()
        configuration.plan(plan)
        if via == "prefect":
            report = await run_flow(CommitReport, configuration, plan, "commit", {"home": primary})
        else:
            async with open_recovery(configuration, plan) as recovery:
                await must_be_the_books(recovery)
                report = await commit(recovery, primary or None)
        output.report(commit_lines(report), report)
        return Exit.DONE if report.complete else Exit.PARTIAL

    run(context, make_final)

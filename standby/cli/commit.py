"""`standby commit`: make a failover final."""

from __future__ import annotations

import typer

from standby.cli.failover import commit_lines
from standby.cli.options import PlanName, Primary, Via
from standby.cli.output import Output
from standby.cli.run import Exit, run
from standby.config.configuration import Configuration
from standby.orchestrator import load_orchestrator
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
            report = await _by_prefect(configuration, plan, primary)
        else:
            async with open_recovery(configuration, plan) as recovery:
                await must_be_the_books(recovery)
                report = await commit(recovery, primary or None)
        output.results(commit_lines(report))
        output.document(report.model_dump(mode="json"))
        return Exit.DONE if report.complete else Exit.PARTIAL

    run(context, make_final)


async def _by_prefect(configuration: Configuration, plan: str, primary: str) -> CommitReport:
    parameters = {"plan": plan, "home": primary}
    told = await load_orchestrator().recover(configuration, plan, "commit", {**parameters})
    return CommitReport.model_validate(told)

"""`standby replicate`: do what the plan says, with Prefect or without."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import uuid4

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.progress import show_progress
from standby.cli.render import report_lines
from standby.cli.running import PlanName, Via, run
from standby.config.plan import OnExisting
from standby.orchestrator import load_orchestrator
from standby.replication.direct import DirectSteps
from standby.replication.planning import Selection
from standby.replication.replicate import open_run, prepare, survey
from standby.replication.report import Report, make_report


def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Annotated[
        list[str] | None, typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", metavar="RESOURCE", help="Only these targets.")
    ] = None,
    on_existing: Annotated[
        OnExisting | None, typer.Option("--on-existing", help="For older or different analyzers at a target.")
    ] = None,
    via: Annotated[Via, typer.Option("--via", help="'direct' needs no Prefect at all.")] = "direct",
) -> None:
    """Copy what is missing or older at the targets of a plan."""
    selection = Selection(tuple(analyzer or ["*"]), tuple(target or []), on_existing)

    async def replicate(output: Output) -> Exit:
        if via == "prefect":
            report = await load_orchestrator().replicate(output.load(), plan, selection)
            return finish(output, report)
        return await _directly(output, plan, selection)

    run(context, replicate)


def finish(output: Output, report: Report, *, interrupted: bool = False) -> Exit:
    """Show a report and choose the exit status."""
    for line in report_lines(report):
        output.result(line)
    output.document(report.model_dump(mode="json"))
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.DONE if report.complete else Exit.PARTIAL


async def _directly(output: Output, plan: str, selection: Selection) -> Exit:
    async with open_run(output.load(), plan) as run_context:
        proposal = await survey(run_context, selection)
        started = run_context.clock.monotonic()
        interrupted = False
        with (
            show_progress(output.stderr, quiet=output.quiet) as show,
            prepare(proposal, run_context, DirectSteps(run_context), show) as replication,
        ):
            try:
                await replication.run()
            except asyncio.CancelledError:
                interrupted = True
        report = make_report(
            plan=plan,
            run_id=str(uuid4()),
            via="direct",
            seconds=run_context.clock.monotonic() - started,
            results=replication.results(),
        )
    return finish(output, report, interrupted=interrupted)

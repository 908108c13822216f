"""`standby replicate`: do what the plan says, with Prefect or without."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from standby.cli.options import Analyzers, Existing, Forced, PlanName, Reason, Targets, Via, selection
from standby.cli.output import Line, Output, failure_lines, named, problem_lines, warning_lines
from standby.cli.plan import MARKS
from standby.cli.progress import show_progress
from standby.cli.run import Exit, exit_of
from standby.config.configuration import Configuration
from standby.orchestrator import load_orchestrator
from standby.recovery.context import open_recovery
from standby.recovery.runs import remember_run
from standby.recovery.witnesses import FENCE, except_fence, settle
from standby.replication.items import GOOD, Progress, Selection, Status, count
from standby.replication.replicate import begin
from standby.replication.report import Ended, Report, ReportItem, run_to_report, unseen_words
from standby.replication.saved_plan import load_plan
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Action
from standby.text import lasting, totals
from standby.vault.signing import signer_for


def report_lines(report: Report, *, verbose: bool = False) -> Iterator[Line]:
    """Show what a run did: whatever did not succeed by name, the rest as a count."""
    for pair, group in groupby(report.items, key=lambda item: (item.source, item.target)):
        items = list(group)
        bad = any(item.status not in GOOD for item in items)
        yield Line(f"{pair[0]} → {pair[1]}: {totals(count(items))}", wrong=bad)
        if verbose:
            yield from (_done_line(item) for item in items if item.status in GOOD)
        yield from failure_lines(items, verbose=verbose)
        yield from warning_lines((item.analyzer, item.warnings) for item in items)
    yield from problem_lines(unseen_words(report.unseen))
    yield Line(report.summary, wrong=not report.complete)


def _done_line(item: ReportItem) -> Line:
    if item.status is Status.SKIPPED:
        return Line(f"{named(item)}: was in sync.", 2, *MARKS[Action.SKIP])
    done = {Action.REPLACE: "replaced", Action.ADOPT: "its copy was under way"}.get(item.action, "copied")
    return Line(f"{named(item)}: {done}, {lasting(item.seconds)}.", 2, *MARKS[item.action])


async def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Analyzers = None,
    target: Targets = None,
    on_existing: Existing = None,
    force: Forced = None,
    apply: Annotated[
        Path | None, typer.Option("--apply", metavar="FILE", help="Do exactly what this saved plan says, or refuse.")
    ] = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Copy what is missing or older at the targets of a plan.

    Exit status: 0 all of it is usable at its targets, 3 some of it is not, 4 the saved plan no longer holds.
    """
    if apply and (analyzer or target or on_existing or except_fence(force or [])):
        text = "a saved plan already says what to do; leave out --analyzer, --target and --on-existing"
        raise typer.BadParameter(text, param_hint="--apply")
    approved = apply.absolute() if apply else None
    asked = selection(analyzer, target, on_existing, force)
    past_loss = reason if FENCE in (force or []) else None

    output: Output = context.obj
    configuration = output.load()
    with show_progress(output.stderr, quiet=output.quiet) as on_progress:
        if via == "prefect":
            ended = await load_orchestrator().replicate(
                configuration, plan, asked, apply=approved, on_progress=on_progress, past_loss=past_loss
            )
        else:
            ended = await replicate_directly(configuration, plan, asked, approved, on_progress, past_loss)
    output.report(report_lines(ended.report, verbose=output.verbose), ended.report)
    if apply and all(item.action in {Action.SKIP, Action.REFUSE} for item in ended.report.items):
        output.say(f"Nothing of {apply} was left to do: it was applied before, or the targets had all of it.")
    if ended.interrupted:
        output.say("Interrupted. Run it again to continue: no copy is started twice.")
    return exit_of(complete=ended.report.complete, interrupted=ended.interrupted)


async def replicate_directly(
    configuration: Configuration,
    plan: str,
    asked: Selection,
    apply: Path | None,
    on_progress: Callable[[Progress], None],
    past_loss: str | None = None,
) -> Ended:
    """Replicate without Prefect; an interruption ends it early, with a true report."""
    approved = load_plan(apply, plan, signer_for(configuration.vault.signing)) if apply else None
    chosen = approved.selection if approved else asked
    async with open_recovery(configuration, plan) as opened:
        context = (await settle(opened, [] if past_loss is None else [FENCE], past_loss or "")).run
        steps = DirectSteps(context)
        async with begin(context, chosen, steps, approved=approved, on_progress=on_progress) as replication:
            ended = await run_to_report(replication, run_id=str(uuid4()), via="direct")
            await remember_run(context.vault, ended.report, chosen, replication.plan.made_at)
            return ended

"""`standby restore`: rebuild analyzers from the vault, without their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from standby.cli.options import Analyzers, PastLoss, PlanName, Reason, Via
from standby.cli.output import Line, Output, failure_lines, named, problem_lines
from standby.cli.progress import show_progress
from standby.cli.run import Exit, exit_of
from standby.config.durations import moment_of
from standby.document import JsonObject
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.loss import settle
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.replication.items import GOOD, Status
from standby.text import utc

_MARKS = {
    RestoreAction.CREATE: ("+", "green"),
    RestoreAction.KEEP: ("=", ""),
    RestoreAction.REFUSE: ("!", "red"),
}
_MEANINGS = {
    Fidelity.EXACT: "exact: a verified copy is there",
    Fidelity.EQUIVALENT: "equivalent: the same definition, rebuilt",
    Fidelity.UNFAITHFUL: "unfaithful: labelled data changed, gone or unknown; or something else is there",
}


def plan_lines(plan: RestorePlan) -> Iterator[Line]:
    """Show, before anything is done, how true each analyzer will be to the one that the snapshot has."""
    yield Line(f"Snapshot {plan.snapshot_id} of {utc(plan.taken_at)} → {plan.to}")
    yield from problem_lines(plan.problems)
    for name, deployment in plan.added_defaults.items():
        yield Line(f"default {name} = {deployment}: the target's defaults lack it.", 2, "+", "green")
    for item in plan.items:
        yield from _item_lines(item)
    counts = Counter(item.fidelity for item in plan.items)
    for fidelity in Fidelity:
        if counts[fidelity]:
            yield Line(f"{counts[fidelity]} {_MEANINGS[fidelity]}", 2)
    yield Line("")


def report_lines(report: RestoreReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what a restore did: whatever did not succeed by name, the rest as a count."""
    for item in report.items:
        if verbose and item.status in GOOD:
            done = f"built, {item.seconds:.1f} s" if item.status is Status.SUCCEEDED else "was there"
            yield Line(f"{named(item)}: {done} ({item.fidelity}).", 2, "+", "green")
    yield from failure_lines(report.items, verbose=verbose)
    yield from problem_lines(report.problems)
    yield Line(report.summary, wrong=not report.complete)


def _item_lines(item: RestoreItem) -> Iterator[Line]:
    mark, style = _MARKS[item.action]
    wrong = item.action is not RestoreAction.CREATE and not item.met
    text = f"{named(item)}: {item.fidelity}. {item.reason}"
    yield Line(text, 2, "!" if wrong else mark, "red" if wrong else style, wrong)
    for warning in item.warnings:
        yield Line(warning, 6, "?", "yellow")


async def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="Resource at which they are rebuilt.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="From the newest snapshot before a time such as 2026-01-31T12:00, or before 2d (two days ago).",
        ),
    ] = None,
    analyzer: Analyzers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    force: PastLoss = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Rebuild analyzers from the vault; their source is not asked, and nothing is overwritten.

    Exit status: 0 all of it is usable there, 3 some of it is not; with --dry-run 0 nothing to do, 2 something
    to do.
    """
    if dry_run and via == "prefect":
        raise typer.BadParameter("a dry run needs no Prefect; leave out one of the two", param_hint="--dry-run")
    try:
        moment = moment_of(as_of, datetime.now(UTC)) if as_of is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None
    globs = tuple(analyzer or ["*"])

    output: Output = context.obj
    configuration = output.load()
    if via == "prefect":
        asked: JsonObject = {"to": to, "as_of": moment.isoformat() if moment else None, "analyzers": [*globs]}
        asked |= {"force": [force] if force else [], "reason": reason}
        report = await run_flow(RestoreReport, configuration, plan, "restore", asked)
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, [force] if force else [], reason)
            snapshot = await open_snapshot(recovery, as_of=moment)
            proposal = await plan_restore(recovery, snapshot, to, analyzers=globs)
            output.results(plan_lines(proposal))
            if dry_run:
                output.document(proposal.to_json())
                idle = all(item.met for item in proposal.items)
                return Exit.DONE if idle else Exit.DIFFERENCES
            with show_progress(output.stderr, quiet=output.quiet) as on_progress:
                report = await restore(recovery, proposal, on_progress=on_progress)
    output.report(report_lines(report, verbose=output.verbose), report)
    if report.interrupted:
        output.say("Interrupted. Run it again to continue: nothing is built twice.")
    return exit_of(complete=report.complete, interrupted=report.interrupted)

"""`standby check`: where the copies differ from their sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import typer

from standby.cli.options import PlanName
from standby.cli.output import Line, Output, named, warning_lines
from standby.cli.plan import under_pair
from standby.cli.run import Exit
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.replicate import open_run, survey
from standby.replication.report import drift_document, drift_totals, is_in_sync, recovery_points, rpo_words
from standby.replication.verdict import Action, Verdict

MOST_PATHS = 5
"""Differences of one analyzer that are shown unless all are asked for."""


def drift_lines(plan: ReplicationPlan, *, verbose: bool) -> Iterator[Line]:
    """Show what differs between the resources, and what would not work though it does not differ."""
    for pair, items in groupby(plan.items, key=lambda item: (item.source, item.target)):
        yield from under_pair(pair, list(_pair_lines(list(items), verbose=verbose)))
    wrong = not is_in_sync(plan)
    yield Line(f"Plan {plan.recovery_plan.name}: {drift_totals(plan)}.", wrong=wrong)
    if rpo := plan.recovery_plan.objectives.rpo:
        points = recovery_points(plan)
        yield Line(rpo_words(points, rpo), wrong=not all(point.met for point in points))


def _pair_lines(items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    for item in items:
        if item.verdict is Verdict.IN_SYNC and item.action is not Action.REFUSE:
            continue
        yield Line(f"{named(item)}: {item.verdict.words}. {item.reason}", 2, "≠", "yellow", wrong=True)
        paths = item.differences if verbose else item.differences[:MOST_PATHS]
        yield from (Line(path, 6, wrong=True) for path in paths)
        if len(paths) < len(item.differences):
            yield Line(f"and {len(item.differences) - len(paths)} more (-v shows all)", 6, wrong=True)
    yield from warning_lines((item.analyzer, item.warnings) for item in items)


async def command(context: typer.Context, plan: PlanName) -> Exit:
    """Show where the targets differ from their sources, without changing anything.

    Exit status: 0 in sync, 2 drift.
    """
    output: Output = context.obj
    async with open_run(output.load(), plan) as run_context:
        proposal = await survey(run_context, Selection())
    output.results(drift_lines(proposal, verbose=output.verbose))
    output.document(drift_document(proposal))
    return Exit.DONE if is_in_sync(proposal) else Exit.DIFFERENCES

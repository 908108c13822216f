"""`standby plan` and `standby check`: what a replication would do, and where the copies differ."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from standby.cli.options import Analyzers, Existing, Forced, PlanName, Targets, selection
from standby.cli.output import (
    Line,
    Output,
    grouped_lines,
    loss_lines,
    must_be_writable,
    named,
    problem_lines,
    warning_lines,
)
from standby.cli.run import Exit
from standby.recovery.context import open_recovery
from standby.recovery.runs import Durations, Kind
from standby.recovery.witnesses import look
from standby.replication import report
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.pacing import Forecast, forecast
from standby.replication.replicate import survey
from standby.replication.saved_plan import save_plan
from standby.replication.verdict import Action, Verdict
from standby.vault.signing import signer_for

MARKS = {
    Action.COPY: ("+", "green"),
    Action.REPLACE: ("~", "yellow"),
    Action.COPY_AS_VERSION: ("»", "green"),
    Action.ADOPT: ("…", "cyan"),
    Action.SKIP: ("=", ""),
    Action.REFUSE: ("!", "red"),
}
"""Symbol and colour of each action."""

_MEANINGS = {
    Action.COPY: "copy",
    Action.REPLACE: "replace",
    Action.COPY_AS_VERSION: "copy as a new version",
    Action.ADOPT: "wait for a copy under way",
    Action.SKIP: "in sync",
    Action.REFUSE: "leave alone",
}


def plan_lines(plan: ReplicationPlan, expected: Forecast | None, *, verbose: bool) -> Iterator[Line]:
    """Show what a run would do: a legend, a line per object, a summary."""
    used = {item.action for item in plan.items if verbose or item.action is not Action.SKIP}
    if plan.added_defaults:
        used.add(Action.COPY)
    if used:
        yield Line("   ".join(f"{MARKS[action][0]} {_MEANINGS[action]}" for action in Action if action in used))
        yield Line("")
    yield from _by_pair(plan, lambda target, items: _pair_lines(plan, target, items, verbose=verbose))
    summary = f"Plan {plan.recovery_plan.name}: {report.plan_totals(plan)}."
    yield Line(f"{summary} {expected.summary}" if expected else summary)


def _by_pair(plan: ReplicationPlan, shown: Callable[[str, Sequence[PlanItem]], Iterable[Line]]) -> Iterator[Line]:
    """Put what is shown of a target's items under source and target, and what could not be read below all."""
    for (source, target), items in groupby(plan.items, key=lambda item: (item.source, item.target)):
        if lines := [*shown(target, [*items])]:
            wrong = any(line.wrong for line in lines)
            yield Line(f"{source} → {target}", wrong=wrong)
            yield from lines
            yield Line("", wrong=wrong)
    yield from problem_lines(report.unseen_words(plan.unseen))


def _pair_lines(plan: ReplicationPlan, target: str, items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    for name, deployment in plan.added_defaults.get(target, {}).items():
        yield Line(f"default {name} = {deployment}: the target's defaults lack it.", 2, *MARKS[Action.COPY])
    yield from grouped_lines(
        (
            (*MARKS[item.action], item.action is Action.REFUSE, item.differences if verbose else ()),
            named(item),
            item.reason,
        )
        for item in items
        if verbose or item.action is not Action.SKIP
    )
    yield from warning_lines((item.analyzer, item.warnings) for item in items)


async def command(
    context: typer.Context,
    plan: PlanName,
    analyzer: Analyzers = None,
    target: Targets = None,
    on_existing: Existing = None,
    force: Forced = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Save the plan, to apply it later.")] = None,
) -> Exit:
    """Show what a replication would do.

    Exit status: 0 nothing to do, 2 something to do, or it is unknown what serves.
    """
    asked = selection(analyzer, target, on_existing, force)

    output: Output = context.obj
    configuration = output.load()
    if out is not None:
        configuration.plan(plan)
        must_be_writable(out)
    async with open_recovery(configuration, plan) as recovery:
        finding = await look(recovery)
        proposal = await survey(recovery.run, asked)
        durations = await Durations.read(recovery.vault, plan)
    expected = forecast(proposal, configuration.resources, durations.of(Kind.COPY))
    if out is not None:
        save_plan(out, proposal, asked, signer_for(configuration.vault.signing))
    output.results([*loss_lines(finding), *plan_lines(proposal, expected, verbose=output.verbose)])
    if out is not None:
        output.say(f"Saved. Do exactly that with: standby replicate {plan} --apply {out}")
    if output.json:
        document = {**report.plan_document(proposal), "forecast": expected.to_json() if expected else None}
        output.document(document | {"fence": finding.to_json()})
    idle = all(item.action is Action.SKIP for item in proposal.items) and not proposal.added_defaults
    return Exit.DONE if idle and not finding.problem and not proposal.unseen else Exit.DIFFERENCES


MOST_PATHS = 5  # Differences of one analyzer that are shown unless all are asked for


def drift_lines(plan: ReplicationPlan, *, verbose: bool) -> Iterator[Line]:
    yield from _by_pair(plan, lambda _, items: _drift_of_pair(items, verbose=verbose))
    wrong = not report.is_in_sync(plan)
    yield Line(f"Plan {plan.recovery_plan.name}: {report.drift_totals(plan)}.", wrong=wrong)
    if rpo := plan.recovery_plan.objectives.rpo:
        points = report.recovery_points(plan)
        yield Line(report.rpo_words(points, rpo), wrong=not all(point.met for point in points))


def _drift_of_pair(items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    def below(item: PlanItem) -> tuple[str, ...]:
        shown = item.differences if verbose else item.differences[:MOST_PATHS]
        left = len(item.differences) - len(shown)
        return (*shown, f"and {left} more (-v shows all)") if left else shown

    def words(item: PlanItem) -> str:
        return "serving elsewhere" if item.verdict is Verdict.IN_SYNC else item.verdict.words

    yield from grouped_lines(
        (("≠", "yellow", True, below(item)), named(item), f"{words(item)}. {item.reason}")
        for item in items
        if not item.is_in_sync
    )
    yield from warning_lines((item.analyzer, item.warnings) for item in items)


async def check(context: typer.Context, plan: PlanName) -> Exit:
    """Show where the targets differ from their sources, without changing anything.

    Exit status: 0 in sync, 2 drift, or it is unknown what serves.
    """
    output: Output = context.obj
    async with open_recovery(output.load(), plan) as recovery:
        finding = await look(recovery)
        proposal = await survey(recovery.run, Selection())
    output.results([*loss_lines(finding), *drift_lines(proposal, verbose=output.verbose)])
    if output.json:
        output.document(report.drift_document(proposal) | {"fence": finding.to_json()})
    return Exit.DONE if report.is_in_sync(proposal) and not finding.problem else Exit.DIFFERENCES

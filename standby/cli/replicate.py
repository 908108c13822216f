"""`standby plan`, `standby check` and `standby replicate`: what would be done, where copies differ, and to do it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from standby.cli import shown
from standby.cli.output import Line, Output, must_be_writable
from standby.cli.run import Analyzers, Existing, Exit, Forced, PlanName, Reason, Targets, Via, exit_of, selection
from standby.config.configuration import Configuration
from standby.orchestrator import load_orchestrator
from standby.recovery.context import open_recovery
from standby.recovery.runs import Durations, Kind, remember_run
from standby.recovery.witnesses import FENCE, except_fence, look, settle
from standby.replication import report
from standby.replication.items import GOOD, PlanItem, Progress, ReplicationPlan, Selection, Status, count
from standby.replication.pacing import Forecast, forecast
from standby.replication.replicate import begin, survey
from standby.replication.saved_plan import load_plan, save_plan
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Action, Verdict
from standby.text import lasting, totals
from standby.vault.signing import signer_for

MARKS = {
    Action.COPY: ("+", "green"),
    Action.REPLACE: ("~", "yellow"),
    Action.COPY_AS_VERSION: ("»", "green"),
    Action.ADOPT: ("…", "cyan"),
    Action.SKIP: ("=", ""),
    Action.REFUSE: ("!", "red"),
}

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


def _by_pair(plan: ReplicationPlan, lines_of: Callable[[str, Sequence[PlanItem]], Iterable[Line]]) -> Iterator[Line]:
    """Put what is shown of a target's items under source and target, and what could not be read below all."""
    for (source, target), items in groupby(plan.items, key=lambda item: (item.source, item.target)):
        if lines := [*lines_of(target, [*items])]:
            wrong = any(line.wrong for line in lines)
            yield Line(f"{source} → {target}", wrong=wrong)
            yield from lines
            yield Line("", wrong=wrong)
    yield from shown.problems(report.unseen_words(plan.unseen))


def _pair_lines(plan: ReplicationPlan, target: str, items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    for name, deployment in plan.added_defaults.get(target, {}).items():
        yield Line(f"default {name} = {deployment}: the target's defaults lack it.", 2, *MARKS[Action.COPY])
    yield from shown.grouped(
        (
            (*MARKS[item.action], item.action is Action.REFUSE, item.differences if verbose else ()),
            shown.named(item),
            item.reason,
        )
        for item in items
        if verbose or item.action is not Action.SKIP
    )
    yield from shown.warnings((item.analyzer, item.warnings) for item in items)


async def show(
    output: Output,
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
    output.results([*shown.losses(finding), *plan_lines(proposal, expected, verbose=output.verbose)])
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
        paths = item.differences if verbose else item.differences[:MOST_PATHS]
        left = len(item.differences) - len(paths)
        return (*paths, f"and {left} more (-v shows all)") if left else paths

    def words(item: PlanItem) -> str:
        return "serving elsewhere" if item.verdict is Verdict.IN_SYNC else item.verdict.words

    yield from shown.grouped(
        (("≠", "yellow", True, below(item)), shown.named(item), f"{words(item)}. {item.reason}")
        for item in items
        if not item.is_in_sync
    )
    yield from shown.warnings((item.analyzer, item.warnings) for item in items)


async def check(output: Output, plan: PlanName) -> Exit:
    """Show where the targets differ from their sources, without changing anything.

    Exit status: 0 in sync, 2 drift, or it is unknown what serves.
    """
    async with open_recovery(output.load(), plan) as recovery:
        finding = await look(recovery)
        proposal = await survey(recovery.run, Selection())
    output.results([*shown.losses(finding), *drift_lines(proposal, verbose=output.verbose)])
    if output.json:
        output.document(report.drift_document(proposal) | {"fence": finding.to_json()})
    return Exit.DONE if report.is_in_sync(proposal) and not finding.problem else Exit.DIFFERENCES


def report_lines(done: report.Report, *, verbose: bool = False) -> Iterator[Line]:
    """Show what a run did: whatever did not succeed by name, the rest as a count."""
    for pair, group in groupby(done.items, key=lambda item: (item.source, item.target)):
        items = list(group)
        bad = any(item.status not in GOOD for item in items)
        yield Line(f"{pair[0]} → {pair[1]}: {totals(count(items))}", wrong=bad)
        if verbose:
            yield from (_done_line(item) for item in items if item.status in GOOD)
        yield from shown.failures(items, verbose=verbose)
        yield from shown.warnings((item.analyzer, item.warnings) for item in items)
    yield from shown.problems(report.unseen_words(done.unseen))
    yield Line(done.summary, wrong=not done.complete)


def _done_line(item: report.ReportItem) -> Line:
    if item.status is Status.SKIPPED:
        return Line(f"{shown.named(item)}: was in sync.", 2, *MARKS[Action.SKIP])
    done = {Action.REPLACE: "replaced", Action.ADOPT: "its copy was under way"}.get(item.action, "copied")
    return Line(f"{shown.named(item)}: {done}, {lasting(item.seconds)}.", 2, *MARKS[item.action])


async def command(
    output: Output,
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

    configuration = output.load()
    with shown.progress(output.stderr, quiet=output.quiet) as on_progress:
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
) -> report.Ended:
    """Replicate without Prefect; an interruption ends it early, with a true report."""
    approved = load_plan(apply, plan, signer_for(configuration.vault.signing)) if apply else None
    chosen = approved.selection if approved else asked
    async with open_recovery(configuration, plan) as opened:
        context = (await settle(opened, [] if past_loss is None else [FENCE], past_loss or "")).run
        steps = DirectSteps(context)
        async with begin(context, chosen, steps, approved=approved, on_progress=on_progress) as replication:
            ended = await report.run_to_report(replication, run_id=str(uuid4()), via="direct")
            await remember_run(context.vault, ended.report, chosen, replication.plan.made_at)
            return ended

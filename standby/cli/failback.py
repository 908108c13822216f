"""`standby failback`: let the primary serve again, with the edits of both resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from standby.cli.options import PlanName, Primary, Reason, Via, Yes
from standby.cli.output import Line, Output, confirm, problem_lines
from standby.cli.progress import ShownStages
from standby.cli.replicate import report_lines
from standby.cli.run import Exit, exit_of
from standby.document import JsonObject
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.failback.failback import fail_back, report_divergence
from standby.recovery.failback.report import CHOICES, WORDS, Choice, Divergence, DivergenceReport, FailbackReport
from standby.recovery.failover.begin import SHARED
from standby.recovery.loss import except_fence, settle
from standby.text import some_of

MOST_NAMED = 10
"""Analyzers of one kind that are named unless all are asked for."""

MARKS = {None: ("?", "yellow"), "standby": ("←", "green"), "home": ("→", "cyan")}


def divergence_lines(report: DivergenceReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show how primary and standby differ, and whose version is kept."""
    yield Line(f"{report.primary} and {report.standby} since the last copies:")
    for kind in WORDS:
        if kind is not Divergence.IN_SYNC:
            yield from _of_kind(report, kind, verbose=verbose)
    yield Line(f"{report.totals[Divergence.IN_SYNC]} in sync", 2, "=")
    yield from _staying("older copies beside a newer one", report.superseded, report.standby)
    yield from _staying("not in this plan", report.outside, report.standby)
    yield from untrained_lines(report)
    if report.unforced:
        names, first = some_of(report.unforced, MOST_NAMED), report.unforced[0]
        yield Line(f"trained at {report.primary}, and not as it was at {report.standby}: {names}", wrong=True)
        yield Line(
            f"Keep it with --keep {first}=primary, or replace it with --keep {first}=standby --force {first}.",
            wrong=True,
        )
    undecided = [name for name in report.undecided if name not in report.unforced]
    if undecided:
        first = undecided[0]
        yield Line(f"Decide which one to keep, for each: --keep {first}=primary or --keep {first}=standby.", wrong=True)


def untrained_lines(report: DivergenceReport) -> Iterator[Line]:
    """Warn of what is copied to the primary without the training that it had there."""
    if report.untrained:
        names = some_of(report.untrained, MOST_NAMED)
        yield Line(f"rebuilt at {report.standby}, so not trained as before: {names}", 2, "!", "yellow")
        yield Line(f"Train again at {report.primary} once it serves, from the labelled data.", 4, "→")


def failback_lines(report: FailbackReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what was copied which way, what serves now, and what to do next."""
    for copies in (report.sync, report.forward):
        if copies is not None and copies.items:
            yield from report_lines(copies, verbose=verbose)
    if report.divergence is not None:
        yield from untrained_lines(report.divergence)
    yield from problem_lines(dict.fromkeys(report.problems))
    yield Line(report.ending, wrong=not report.complete)
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _of_kind(report: DivergenceReport, kind: Divergence, *, verbose: bool) -> Iterator[Line]:
    items = [item for item in report.items if item.divergence is kind]
    for keep, (mark, style) in MARKS.items():
        same = [item for item in items if item.keep == keep]
        if same:
            names = some_of([item.name for item in same], len(same) if verbose else MOST_NAMED)
            kept = f" ({report.what_is_kept(kind, same[0].keep)})" if keep else ""
            yield Line(f"{report.what_became(kind)}: {names}{kept}", 2, mark, style, keep is None)
            if verbose:
                yield from (Line(f"{item.analyzer} {path}", 6) for item in same for path in item.differences)


def _staying(words: str, names: Iterable[str], standby: str) -> Iterator[Line]:
    if some := some_of(names, MOST_NAMED):
        yield Line(f"{words}: {some} (stay at {standby})", 2, "·")


Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Replace this trained one at the primary by an untrained one; it is kept under another id. "
        f"{SHARED} goes on although another plan has the standby serve as well; fence, with --reason, although the "
        "fence or the audit log was lost.",
    ),
]


async def command(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="ID=primary|standby",
            help="Which analyzer to keep where both were edited, by its id at the primary; can be repeated.",
        ),
    ] = None,
    force: Forced = None,
    reason: Reason = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only compare primary and standby; change nothing.")
    ] = False,
    yes: Yes = False,
    via: Via = "direct",
) -> Exit:
    """Let the primary serve again after a failover: compare, copy the edits to it, make it serve, commit.

    It shows first what was edited where. Nothing is deleted, and what is replaced is kept in the vault. Run it
    again after an interruption: it continues.

    Exit status: 0 the primary serves, 3 not everything could be done, 4 refused: an analyzer was edited at both
    and --keep must decide, a training would be lost without --force, or the primary could not serve.
    """
    choices = _choices(keep or [])

    output: Output = context.obj
    configuration = output.load()
    configuration.plan(plan)
    if via == "prefect" and not dry_run:
        await confirm(output, f"Fail plan {plan} back?", yes=yes)
        asked: JsonObject = {"home": primary, "keep": {**choices}, "force": [*(force or [])], "reason": reason}
        report = await run_flow(FailbackReport, configuration, plan, "failback", asked)
        if report.divergence is not None:
            output.results(divergence_lines(report.divergence, verbose=output.verbose))
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, force or [], reason)
            replaced = except_fence(force or [])
            found = await report_divergence(recovery, primary, keep=choices, force=replaced)
            if found is not None:
                output.results(divergence_lines(found, verbose=output.verbose))
            if dry_run:
                return _compared(output, plan, found)
            if found is not None and found.is_settled:
                await confirm(output, f"Fail plan {plan} back from {found.standby} to {found.primary}?", yes=yes)
            report = await fail_back(recovery, primary, ShownStages(output), keep=choices, force=replaced)
    output.report(failback_lines(report, verbose=output.verbose), report)
    if report.state == "refused":
        return Exit.REFUSED
    return exit_of(complete=report.complete, interrupted=report.state == "interrupted")


def _compared(output: Output, plan: str, found: DivergenceReport | None) -> Exit:
    if found is None:
        output.result(f"Every primary of plan {plan} serves; there is nothing to compare.")
        output.document(None)
        return Exit.DONE
    output.document(found.model_dump(mode="json"))
    return Exit.DONE if found.is_settled else Exit.REFUSED


def _choices(keep: list[str]) -> dict[str, Choice]:
    choices: dict[str, Choice] = {}
    for each in keep:
        analyzer, _, word = each.partition("=")
        choice = CHOICES.get(word)
        if not analyzer or choice is None:
            raise typer.BadParameter(
                f"{each} does not say which analyzer to keep; write ID=primary or ID=standby",
                param_hint="--keep",
            )
        if choices.setdefault(analyzer, choice) != choice:
            raise typer.BadParameter(f"it says both primary and standby for {analyzer}", param_hint="--keep")
    return choices

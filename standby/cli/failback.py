"""`standby failback`: bring a plan back to where it came from, edits included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, cast

import typer

from standby.cli.options import PlanName, Primary, Via, Yes
from standby.cli.output import Line, Output, confirm, may_ask
from standby.cli.progress import ToldStages
from standby.cli.render import report_lines
from standby.cli.run import Exit, run
from standby.config.configuration import Configuration
from standby.document import JsonValue
from standby.errors import sentence
from standby.orchestrator import load_orchestrator
from standby.recovery.context import must_be_the_books, open_recovery
from standby.recovery.failback.divergence import Divergence
from standby.recovery.failback.failback import divergence, fail_back
from standby.recovery.failback.report import DivergenceItem, DivergenceReport, FailbackReport, Kept

MOST_NAMED = 10
"""Analyzers of one kind that are named unless all are asked for."""

_TOLD = {
    Divergence.EDITED_AT_BOTH: "edited at {primary} and at {standby}",
    Divergence.DIFFERENT: "different, and no copy of one to the other is known",
    Divergence.EDITED_AT_STANDBY: "edited at {standby}",
    Divergence.NEW_AT_STANDBY: "new at {standby}",
    Divergence.DELETED_AT_PRIMARY: "gone from {primary}",
    Divergence.UNUSABLE_AT_PRIMARY: "not ready at {primary}",
    Divergence.UNDER_WAY: "being copied to {primary}",
    Divergence.EDITED_AT_PRIMARY: "edited at {primary}",
    Divergence.NEW_AT_PRIMARY: "new at {primary}",
    Divergence.DELETED_AT_STANDBY: "gone from {standby}",
}

_MARKS = {None: ("?", "yellow"), "standby": ("←", "green"), "home": ("→", "cyan")}


def divergence_lines(report: DivergenceReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what became of both sides, and whose analyzers go on."""
    yield Line(f"{report.primary} and {report.standby} since the last copies:")
    for kind, words in _TOLD.items():
        yield from _of_kind(report, kind, words.format(primary=report.primary, standby=report.standby), verbose)
    equal = report.totals[Divergence.IN_SYNC]
    yield Line(f"{equal} in sync", 2, "=")
    yield from _staying("older copies beside a newer one", report.superseded, report.standby)
    yield from _staying("none of the plan's concern", report.outside, report.standby)
    if report.untrained:
        yield from untrained_lines(report)
    if report.unsettled:
        first = report.unsettled[0]
        text = f"Say whose goes on: --keep {first}=home or --keep {first}=standby, for each."
        yield Line(text, wrong=True)


def untrained_lines(report: DivergenceReport) -> Iterator[Line]:
    """Warn of what comes home without the training that it had there."""
    names = list(report.untrained)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    text = f"rebuilt at {report.standby}, so not trained as before: {', '.join(names[:MOST_NAMED])}{more}"
    yield Line(text, 2, "!", "yellow")
    yield Line(f"Train again at {report.primary} once it serves, from the labelled data.", 4, "→")


def failback_lines(report: FailbackReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what was copied which way, what serves now, and what to do next."""
    for copies in (report.sync, report.forward):
        if copies is not None and copies.items:
            yield from report_lines(copies, verbose=verbose)
    if report.divergence is not None and report.divergence.untrained:
        yield from untrained_lines(report.divergence)
    for problem in dict.fromkeys(report.problems):
        yield Line(sentence(problem), 2, "!", "red", True)
    yield Line(_ending(report), wrong=not report.complete)
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _of_kind(report: DivergenceReport, kind: Divergence, words: str, verbose: bool) -> Iterator[Line]:
    items = [item for item in report.items if item.divergence is kind]
    for keep in (None, "standby", "home"):
        same = [item for item in items if item.keep == keep]
        if same:
            mark, style = _MARKS[keep]
            names = _names(same, everything=verbose)
            yield Line(f"{words}: {names}{_goes_on(report, kind, keep)}", 2, mark, style, keep is None)
            if verbose:
                yield from (Line(f"{item.analyzer} {path}", 6) for item in same for path in item.differences)


def _goes_on(report: DivergenceReport, kind: Divergence, keep: str | None) -> str:
    if keep is None:
        return ""
    side = report.primary if keep == "home" else report.standby
    if keep == "home" and kind in {Divergence.DELETED_AT_PRIMARY, Divergence.NEW_AT_STANDBY}:
        return f" (stays at {report.standby} only)"
    return f" (that of {side} goes on)"


def _names(items: Sequence[DivergenceItem], *, everything: bool) -> str:
    names = [
        item.analyzer
        if item.standby_analyzer in (None, item.analyzer)
        else f"{item.analyzer} ({item.standby_analyzer})"
        for item in items
    ]
    if everything or len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"


def _staying(words: str, names: Iterable[str], standby: str) -> Iterator[Line]:
    if told := list(names):
        more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
        yield Line(f"{words}: {', '.join(told[:MOST_NAMED])}{more} (stay at {standby})", 2, "·")


def _ending(report: FailbackReport) -> str:
    about = f"plan {report.plan}, epoch {report.epoch}"
    match report.state:
        case "failed_back":
            return f"{report.primary} serves again, for good ({about}), after {report.seconds:.1f} s."
        case "at_home":
            return f"{report.primary} serves already; there is nothing to bring back ({about})."
        case "refused" | "incomplete":
            return f"Not brought back to {report.primary}: {report.standby} still serves ({about})."
        case "unfinished":
            return f"The switch back to {report.primary} has not ended ({about})."
        case "interrupted":
            return f"Interrupted on the way back to {report.primary} ({about})."


def command(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="ID=SIDE",
            help="Whose analyzer goes on, home or standby, where both were edited; can be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare both sides, and do nothing.")] = False,
    yes: Yes = False,
    via: Via = "direct",
) -> None:
    """Bring a plan back to where it came from: compare, copy the edits home, switch, commit.

    It shows first what was edited where. Nothing is deleted, and what is replaced is kept in the vault. Run
    again, it goes on where it was interrupted.

    Exit status: 0 home serves, 3 not everything could be done, 4 refused: an edit on both sides is to be
    settled with --keep, or home could not serve.
    """
    said = _parsed(keep or [])

    async def bring_back(output: Output) -> Exit:
        configuration = output.load()
        configuration.plan(plan)
        if via == "prefect" and not dry_run:
            if not yes and may_ask(output):
                await confirm(output, f"Bring plan {plan} back?")
            report = await _by_prefect(configuration, plan, primary, said)
            if report.divergence is not None:
                output.results(divergence_lines(report.divergence, verbose=output.verbose))
            return finish(output, report)
        async with open_recovery(configuration, plan) as recovery:
            await must_be_the_books(recovery)
            found = await divergence(recovery, primary or None, keep=said)
            if found is not None:
                output.results(divergence_lines(found, verbose=output.verbose))
            if dry_run:
                return _compared(output, plan, found)
            if found is not None and not found.unsettled and not yes and may_ask(output):
                await confirm(output, f"Bring plan {plan} back from {found.standby} to {found.primary}?")
            stages = ToldStages(output)
            return finish(output, await fail_back(recovery, primary or None, stages, keep=said))

    run(context, bring_back)


def finish(output: Output, report: FailbackReport) -> Exit:
    """Show a report and choose the exit status."""
    output.results(failback_lines(report, verbose=output.verbose))
    output.document(report.model_dump(mode="json"))
    if report.state == "interrupted":
        return Exit.INTERRUPTED
    if report.state == "refused":
        return Exit.REFUSED
    return Exit.DONE if report.complete else Exit.PARTIAL


def _compared(output: Output, plan: str, found: DivergenceReport | None) -> Exit:
    if found is None:
        output.result(f"Plan {plan} is at home; there is nothing to compare.")
        output.document(None)
        return Exit.DONE
    output.document(found.model_dump(mode="json"))
    return Exit.REFUSED if found.unsettled else Exit.DONE


def _parsed(keep: list[str]) -> dict[str, Kept]:
    said: dict[str, Kept] = {}
    for each in keep:
        analyzer, _, side = each.partition("=")
        if not analyzer or side not in ("home", "standby"):
            raise typer.BadParameter(
                f"{each} does not say whose analyzer goes on; write ID=home or ID=standby",
                param_hint="--keep",
            )
        if said.get(analyzer, side) != side:
            raise typer.BadParameter(f"it says both of {analyzer}", param_hint="--keep")
        said[analyzer] = cast(Kept, side)
    return said


async def _by_prefect(configuration: Configuration, plan: str, primary: str, keep: dict[str, Kept]) -> FailbackReport:
    parameters: dict[str, JsonValue] = {"plan": plan, "home": primary, "keep": {**keep}}
    told = await load_orchestrator().recover(configuration, plan, "failback", parameters)
    return FailbackReport.model_validate(told)

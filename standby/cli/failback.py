"""`standby failback`: let the primary serve again, with the edits of both resources."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from standby.cli import shown
from standby.cli.failover import ask, saying_what_was_told, settled
from standby.cli.output import Line, Output, must_be_confirmed
from standby.cli.replicate import report_lines
from standby.cli.run import Exit, PlanName, Primary, Reason, Via, Yes, exit_of
from standby.document import JsonObject
from standby.errors import sentence
from standby.fencing import read_fence
from standby.orchestrator import run_flow
from standby.recovery.assignments import choose_primary, present_words
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.failback.failback import fail_back, report_divergence
from standby.recovery.failback.report import CHOICES, WORDS, Choice, Divergence, DivergenceReport, FailbackReport
from standby.recovery.failover.begin import SHARED
from standby.recovery.witnesses import except_fence
from standby.text import some_of

MOST_NAMED = 10  # Analyzers of one kind that are named unless all are asked for
MARKS = {None: ("?", "yellow"), "standby": ("←", "green"), "home": ("→", "cyan")}


def divergence_lines(report: DivergenceReport, *, verbose: bool = False) -> Iterator[Line]:
    yield Line(f"{report.primary} and {report.standby} since the last copies:")
    for kind in WORDS:
        if kind is not Divergence.IN_SYNC:
            yield from _of_kind(report, kind, verbose=verbose)
    yield Line(f"{report.totals[Divergence.IN_SYNC]} in sync", 2, "=")
    staying = {"older copies beside a newer one": report.superseded, "not in this plan": report.outside}
    for words, left in staying.items():
        if left:
            yield Line(f"{words}: {some_of(left, MOST_NAMED)} (stay at {report.standby})", 2, "·")
    yield from untrained_lines(report)
    if report.unforced:
        names, first = some_of(report.unforced, MOST_NAMED), report.unforced[0]
        yield Line(f"trained at {report.primary}, but not at {report.standby}: {names}", wrong=True)
        choice = f"Keep it with --keep {first}=primary, or replace it with --keep {first}=standby --force {first}."
        yield Line(choice, wrong=True)
    if first := next((name for name in report.undecided if name not in report.unforced), ""):
        yield Line(f"Decide which one to keep, for each: --keep {first}=primary or --keep {first}=standby.", wrong=True)


def untrained_lines(report: DivergenceReport) -> Iterator[Line]:
    """Warn of what is copied to the primary without the training that it had there."""
    if report.untrained:
        names = some_of(report.untrained, MOST_NAMED)
        yield Line(f"rebuilt at {report.standby}, so not trained as before: {names}", 2, "!", "yellow")
        yield Line(f"Train again at {report.primary} once it serves, from the labelled data.", 4, "→")


def failback_lines(report: FailbackReport, *, verbose: bool = False) -> Iterator[Line]:
    for copies in (report.sync, report.forward):
        if copies is not None and copies.items:
            yield from report_lines(copies, verbose=verbose)
    if report.divergence is not None:
        yield from untrained_lines(report.divergence)
    yield from shown.problems(dict.fromkeys(report.problems))
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


Kept = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="ID=primary|standby",
        help="Which analyzer to keep where both were edited, by its id at the primary; can be repeated.",
    ),
]
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Replace this trained analyzer at the primary by an untrained one; the trained one is kept under another "
        f"id. The value {SHARED} continues although the standby also serves in another plan. With --reason, the value "
        "fence continues after the loss of the fence or the audit log.",
    ),
]


async def command(
    output: Output,
    plan: PlanName,
    primary: Primary = "",
    keep: Kept = None,
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
    and --keep must decide, a training would be lost without --force, the primary could not serve, or it was not
    confirmed.
    """
    choices = _choices(keep or [])

    configuration = output.load()
    configuration.plan(plan)
    if not dry_run:
        must_be_confirmed(output, yes=yes)
    forced = force or []
    if via == "direct" or dry_run or not yes:
        async with open_recovery(configuration, plan, via=via) as opened:
            recovery = await settled(output, opened, forced, reason, yes=yes or dry_run)
            replaced = except_fence(forced)
            found = await report_divergence(recovery, primary, keep=choices, force=replaced)
            compared = list(divergence_lines(found, verbose=output.verbose)) if found is not None else []
            output.results(compared)
            if dry_run:
                if found is None:
                    output.result(f"Every primary of plan {plan} serves; there is nothing to compare.")
                output.document(found)
                return Exit.DONE if found is None or found.is_settled else Exit.REFUSED
            if not yes and (found is None or found.is_settled):
                await _confirm(output, recovery, primary, found, [] if output.shows_results else compared)
            if via == "direct":
                async with saying_what_was_told(output, recovery):
                    report = await fail_back(recovery, primary, shown.Stages(output), keep=choices, force=replaced)
    if via == "prefect":
        asked: JsonObject = {"home": primary, "keep": {**choices}, "force": [*forced], "reason": reason}
        report = await run_flow(FailbackReport, configuration, plan, "failback", asked)
        if report.divergence is not None and yes:
            output.results(divergence_lines(report.divergence, verbose=output.verbose))
    output.report(failback_lines(report, verbose=output.verbose), report)
    if report.state == "refused":
        return Exit.REFUSED
    return exit_of(complete=report.complete, interrupted=report.state == "interrupted")


async def _confirm(
    output: Output, recovery: RecoveryContext, primary: str, found: DivergenceReport | None, compared: Sequence[Line]
) -> None:
    """Say what serves, and ask; the comparison too, where it is not seen already."""
    plan, fence = recovery.plan, await read_fence(recovery.vault, recovery.plan)
    chosen = found.primary if found is not None else choose_primary(plan, fence, named=primary)
    question = f"{chosen} serves. Complete an earlier failback of plan {plan.name}?"
    if found is not None:
        question = f"Fail plan {plan.name} back from {found.standby} to {found.primary}?"
    present = Line(sentence(present_words(fence, chosen)))
    facts: JsonObject = {"home": chosen, "from": found.standby if found is not None else ""}
    await ask(output, recovery, question, "failback", facts, [present, *compared])


def _choices(keep: list[str]) -> dict[str, Choice]:
    choices: dict[str, Choice] = {}
    for each in keep:
        analyzer, _, word = each.partition("=")
        choice = CHOICES.get(word)
        if not analyzer or choice is None:
            text = f"{each} does not say which analyzer to keep; write ID=primary or ID=standby"
            raise typer.BadParameter(text, param_hint="--keep")
        if choices.setdefault(analyzer, choice) != choice:
            raise typer.BadParameter(f"it says both primary and standby for {analyzer}", param_hint="--keep")
    return choices

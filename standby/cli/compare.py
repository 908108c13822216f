"""`standby compare`: let analyzers and their copies read sample documents, and say whether they agree."""

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated

import typer

from standby.cli import shown
from standby.cli.output import Line, Output, can_ask, confirm, must_be_confirmed
from standby.cli.run import Analyzers, Exit, PlanName, Via, Yes, resource_option
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.context import PlainStages, open_recovery
from standby.recovery.proof.compare import compare_plan, forecast
from standby.recovery.proof.records import (
    CompareReport,
    CompareRequest,
    Forecast,
    Share,
    Verdict,
    budget_words,
    waiting_words,
)
from standby.recovery.proof.samples import NoSamples
from standby.text import counted, some_of

MARKS = {
    Verdict.AGREES: ("✓", "green"),
    Verdict.DIFFERS: ("≠", "red"),
    Verdict.NO_VERDICT: ("?", "yellow"),
    Verdict.TOO_FEW: ("?", "yellow"),
}


def forecast_lines(expected: Forecast) -> Iterator[Line]:
    yield Line(
        f"{counted(expected.samples, 'document')} of {counted(expected.analyzers, 'analyzer')} will be read at sources "
        f"and targets: {expected.analyses} analyses, {counted(expected.pages, 'page')}, about {expected.tokens:,} "
        f"tokens. The budget of the plan allows {expected.share.most} analyses now."
    )
    yield from waiting_lines(expected.share)
    yield Line("The service bills them, and keeps each result until it is deleted here, as soon as it is read.")


def waiting_lines(share: Share) -> Iterator[Line]:
    """Say what has to wait for its turn, and what would spare that."""
    yield from map(Line, waiting_words(share.waiting))
    if share.one_run is not None:
        turns = f"All take {share.whole} analyses, in {counted(share.runs, 'run')}"
        yield Line(f"{turns}; in one with {budget_words(share.one_run)}.")


def compare_lines(report: CompareReport) -> Iterator[Line]:
    for (source, target), items in groupby(report.items, key=lambda item: (item.source, item.target)):
        of_pair = [*items]
        yield Line(f"{source} → {target}", wrong=any(item.verdict is not Verdict.AGREES for item in of_pair))
        for item in of_pair:
            wrong = item.verdict is not Verdict.AGREES
            yield Line(f"{item.verdict.replace('_', ' ')}: {item.words}.", 2, *MARKS[item.verdict], wrong=wrong)
            if item.reason:
                yield Line(item.reason, 6, wrong=wrong)
    if report.without_samples:
        yield Line(f"Without samples, and not compared: {some_of(report.without_samples)}.")
    yield from map(Line, waiting_words(report.waiting))
    yield from shown.problems(report.problems)
    yield from shown.problems(f"A result is left at the service: {each}" for each in report.left)
    yield Line(report.summary, wrong=exit_of(report) is not Exit.DONE)
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def exit_of(report: CompareReport) -> Exit:
    """Choose the exit status: differences come first, then missing verdicts."""
    if report.interrupted:
        return Exit.INTERRUPTED
    if report.totals[Verdict.DIFFERS]:
        return Exit.DIFFERENCES
    return Exit.DONE if report.totals[Verdict.AGREES] == len(report.items) else Exit.PARTIAL


async def command(
    output: Output,
    plan: PlanName,
    to: Annotated[list[str] | None, resource_option("--to", "Only this target; can be repeated.", "--target")] = None,
    analyzer: Analyzers = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, metavar="N", help="At most so many documents of each analyzer.")
    ] = None,
    yes: Yes = False,
    via: Via = "direct",
) -> Exit:
    """Let analyzers and their copies read sample documents, and say whether they agree.

    Documents are sent to the service, which bills it; each result is deleted when it was read.

    What the budget has no room for waits for the next run, and does not count for the exit status.

    Exit status: 0 all that were compared agree, 2 at least one differs, 3 at least one has no verdict, 4 not confirmed,
    or the budget has no room for even one.
    """
    configuration = output.load()
    if configuration.plan(plan).samples is None:
        raise NoSamples(plan)  # As a flow cannot: it ends well, so that a schedule of a plan without samples is green.
    request = CompareRequest(targets=tuple(to or ()), analyzers=tuple(analyzer or ["*"]), samples=samples)
    async with open_recovery(configuration, plan) as recovery:
        if not yes or via == "direct":  # The flow looks for itself, and asks nobody.
            expected = await forecast(recovery, request)
            if expected.analyses and not yes and can_ask(output):
                await confirm(output, "Start?", forecast_lines(expected))
            elif expected.analyses:
                for line in forecast_lines(expected):
                    output.say(line.text)
                must_be_confirmed(output, yes=yes, what="sends documents to the service, which bills it")
        if via == "direct":
            with shown.progress(output.stderr, quiet=output.quiet, done="analysed") as on_progress:
                report = await compare_plan(recovery, request, PlainStages(), on_progress)
    if via == "prefect":
        report = await run_flow(CompareReport, configuration, plan, "compare", request.model_dump(mode="json"))
    output.report(compare_lines(report), report)
    return exit_of(report)

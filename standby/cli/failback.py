"""`standby failback`: bring a plan back to where it came from, edits included."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from standby.cli.asking import confirm, may_ask
from standby.cli.exits import Exit
from standby.cli.failback_lines import divergence_lines, failback_lines
from standby.cli.output import Output
from standby.cli.phases import ToldStages
from standby.cli.running import PlanName, Via, run
from standby.config.configuration import Configuration
from standby.orchestrator import load_orchestrator
from standby.recovery.books import must_be_the_books
from standby.recovery.context import open_recovery
from standby.recovery.failback.failing_back import divergence, fail_back
from standby.recovery.failback.report import DivergenceReport, FailbackReport, Kept
from standby.service.models import JsonValue


def command(
    context: typer.Context,
    plan: PlanName,
    home: Annotated[
        str, typer.Option("--home", metavar="SOURCE", help="Which source to bring back, if several.")
    ] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="ID=SIDE",
            help="Whose analyzer goes on, home or standby, where both were edited; can be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare both sides, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    via: Annotated[Via, typer.Option("--via", help="'direct' needs no Prefect at all.")] = "direct",
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
            report = await _by_prefect(configuration, plan, home, said)
            if report.divergence is not None:
                output.results(divergence_lines(report.divergence, verbose=output.verbose))
            return finish(output, report)
        async with open_recovery(configuration, plan) as recovery:
            await must_be_the_books(recovery)
            found = await divergence(recovery, home or None, keep=said)
            if found is not None:
                output.results(divergence_lines(found, verbose=output.verbose))
            if dry_run:
                return _compared(output, plan, found)
            if found is not None and not found.unsettled and not yes and may_ask(output):
                await confirm(output, f"Bring plan {plan} back from {found.standby} to {found.home}?")
            stages = ToldStages(output)
            return finish(output, await fail_back(recovery, home or None, stages, keep=said))

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


async def _by_prefect(
    configuration: Configuration, plan: str, home: str, keep: dict[str, Kept]
) -> FailbackReport:
    parameters: dict[str, JsonValue] = {"plan": plan, "home": home, "keep": {**keep}}
    told = await load_orchestrator().recover(configuration, plan, "failback", parameters)
    return FailbackReport.model_validate(told)

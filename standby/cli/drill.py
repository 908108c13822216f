"""`standby drill`: rehearse a failover, remove what an earlier one left, or check the evidence of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from standby.cli.drill_lines import clean_up_lines, drill_lines, evidence_document, evidence_lines
from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.phases import ToldStages
from standby.cli.running import PlanName, Via, run
from standby.config.configuration import Configuration
from standby.fencing import read_fence
from standby.orchestrator import load_orchestrator
from standby.recovery.context import open_recovery
from standby.recovery.drill.drilling import drill
from standby.recovery.drill.evidence import SEAL, EvidenceCheck, check_evidence, verify_evidence
from standby.recovery.drill.leftovers import clean_up
from standby.recovery.drill.report import DrillReport
from standby.recovery.failover.ordering import Ask, choose_home
from standby.recovery.signing import signer_for
from standby.vault.opening import open_folder


def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="What is to serve.")] = "",
    home: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="In the place of which source, if several.")
    ] = "",
    scratch: Annotated[
        str,
        typer.Option(
            "--scratch", metavar="RESOURCE", help="Rehearse at this resource, which is in no plan, instead."
        ),
    ] = "",
    clean: Annotated[
        bool, typer.Option("--clean-up", help="Only remove what unfinished drills left, and prove it.")
    ] = False,
    verify: Annotated[
        str, typer.Option("--verify", metavar="FILE|RUN", help="Only check the evidence of a drill.")
    ] = "",
    via: Annotated[Via, typer.Option("--via", help="'direct' needs no Prefect at all.")] = "direct",
) -> None:
    """Rehearse a failover under ids of its own, measure it, remove everything it made, and keep the evidence.

    The real fence, log and sinks have no part in it, and the source is not called.

    Exit status: 0 passed, 3 not passed, 4 refused by a guard. With --clean-up 3 says that something is left;
    with --verify 1 says that the evidence is not genuine.
    """
    _must_fit(to=to, home=home, scratch=scratch, clean=clean, verify=verify, via=via)
    # As the person who typed it sees it, wherever the configuration is.
    file = Path(verify).absolute() if verify else None

    async def rehearse(output: Output) -> Exit:
        configuration = output.load()
        configuration.plan(plan)
        if file is not None:
            return _checked(output, await _check(configuration, plan, verify, file))
        if clean:
            return await _clean(output, configuration, plan)
        if via == "prefect":
            parameters = {"plan": plan, "to": to, "scratch": scratch}
            told = await load_orchestrator().recover(configuration, plan, "drill", parameters)
            return finish(output, DrillReport.model_validate(told))
        async with open_recovery(configuration, plan) as recovery:
            fence = await read_fence(recovery.vault, recovery.plan)
            source = choose_home(recovery.plan, fence, Ask(to=to, home=home))
            report = await drill(recovery, source, to, ToldStages(output), scratch=scratch or None)
        return finish(output, report)

    run(context, rehearse)


def finish(output: Output, report: DrillReport) -> Exit:
    """Show a report and choose the exit status."""
    output.results(drill_lines(report, verbose=output.verbose))
    output.document(report.model_dump(mode="json"))
    if report.interrupted:
        return Exit.INTERRUPTED
    return Exit.DONE if report.passed else Exit.PARTIAL


def _must_fit(*, to: str, home: str, scratch: str, clean: bool, verify: str, via: Via) -> None:
    if clean and verify:
        raise typer.BadParameter("clean up or verify, not both", param_hint="--verify")
    if clean or verify:
        if to or home or scratch or via == "prefect":
            hint = "--clean-up" if clean else "--verify"
            raise typer.BadParameter("nothing is rehearsed with it; leave the rest out", param_hint=hint)
    elif not to:
        raise typer.BadParameter("name the resource that is to serve", param_hint="--to")
    elif home and via == "prefect":
        raise typer.BadParameter("the flow finds the source by itself; leave it out", param_hint="--from")


async def _clean(output: Output, configuration: Configuration, plan: str) -> Exit:
    async with open_recovery(configuration, plan) as recovery:
        report = await clean_up(recovery, ToldStages(output))
    output.results(clean_up_lines(report))
    output.document(report.model_dump(mode="json"))
    return Exit.DONE if report.complete else Exit.PARTIAL


async def _check(configuration: Configuration, plan: str, asked: str, file: Path) -> EvidenceCheck:
    files, signer = open_folder(configuration.vault), signer_for(configuration.vault.signing)
    handed_in = _handed_in(file)
    if handed_in is None:
        return await verify_evidence(files, plan, asked, signer)
    return await check_evidence(files, plan, signer, str(file), *handed_in)


def _handed_in(file: Path) -> tuple[bytes, bytes | None] | None:
    """Read evidence that was named by its file, and the signature beside it; `None` where it is no file."""
    if not file.is_file():
        return None
    beside = file.with_name(f"{file.name}{SEAL}")
    return file.read_bytes(), beside.read_bytes() if beside.is_file() else None


def _checked(output: Output, check: EvidenceCheck) -> Exit:
    output.results(evidence_lines(check))
    output.document(evidence_document(check))
    return Exit.ERROR if check.problems else Exit.DONE

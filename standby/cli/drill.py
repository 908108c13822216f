"""`standby drill`: test a failover, remove what an earlier drill left, or check the evidence of one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from standby.cli import shown
from standby.cli.output import Line, Output
from standby.cli.run import Exit, PastLoss, PlanName, Primary, Reason, Via, exit_of, resource_option, with_home
from standby.config.configuration import Configuration
from standby.document import JsonObject
from standby.errors import sentence
from standby.fencing import read_fence
from standby.orchestrator import run_flow
from standby.recovery.assignments import choose_primary
from standby.recovery.context import open_recovery
from standby.recovery.drill.cleanup import CleanUpReport, clean_up
from standby.recovery.drill.drill import drill
from standby.recovery.drill.findings import SEAL, DrillReport, EvidenceCheck, check_evidence, facts, verify_evidence
from standby.recovery.witnesses import settle
from standby.text import lasting
from standby.vault.signing import OTHER_KEY, PUT_IT_BACK, signer_for
from standby.vault.vault import open_vault

OF_A_DRILL = "drill, no real failover: "


def drill_lines(report: DrillReport, *, verbose: bool = False) -> Iterator[Line]:
    for phase in report.phases:
        failed = phase.outcome != "done"
        if verbose or failed:
            yield Line(f"{phase.name}: {phase.outcome} ({lasting(phase.seconds)})", 2, wrong=failed)
    for fact in facts(report):
        yield Line(f"{fact.label}: {fact.text}.", 2, wrong=fact.is_wrong)
    yield from shown.problems(report.reasons)
    mark, style = ("✓", "green") if report.passed else ("✗", "red")
    yield Line(f"{report.title}: {report.ending}.", mark=mark, style=style, wrong=not report.passed)
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def clean_up_lines(report: CleanUpReport) -> Iterator[Line]:
    for cleaned in report.drills:
        proven = cleaned.cleanup.proven
        mark, style = ("✓", "green") if proven else ("✗", "red")
        drill = f"Drill {cleaned.run_id} of {cleaned.begun_at:%Y-%m-%d %H:%M} UTC at {cleaned.to}"
        yield Line(f"{drill}: {cleaned.cleanup.outcome}.", 0, mark, style, wrong=not proven)
        if not proven:
            yield Line(sentence(cleaned.cleanup.problem), 2, wrong=True)
    if not report.drills:
        yield Line(f"No drill of plan {report.plan} is unfinished: nothing is left.")


def evidence_lines(check: EvidenceCheck) -> Iterator[Line]:
    if check.problems:
        other_key = all(OTHER_KEY in problem for problem in check.problems)
        ending = "checked" if other_key else "trusted"
        yield Line(f"{check.where} cannot be {ending}.", mark="✗", style="red", wrong=True)
        for problem in check.problems:
            yield Line(sentence(problem), 2, wrong=True)
        if other_key:
            yield Line(sentence(PUT_IT_BACK), 2, "→", wrong=True)
        return
    signed = f", signed with key {check.signed_with}" if check.signed_with else ""
    yield Line(f"{check.where} is unchanged since it was written{signed}.", mark="✓", style="green")
    for note in check.notes:
        yield Line(sentence(note), 2)
    if check.evidence is not None:
        report = check.evidence.report
        yield Line(f"{report.title}: {report.ending}, on {report.ended_at:%Y-%m-%d %H:%M} UTC.", 2)


async def command(
    output: Output,
    plan: PlanName,
    to: Annotated[str, resource_option("--to", "Resource that is to serve.")] = "",
    primary: Primary = "",
    scratch: Annotated[
        str, resource_option("--scratch", "Run at this resource, which no plan uses, under the real ids.")
    ] = "",
    clean: Annotated[
        bool, typer.Option("--clean-up", help="Only remove what unfinished drills left, and check that it is gone.")
    ] = False,
    verify: Annotated[
        str, typer.Option("--verify", metavar="FILE|RUN", help="Only check the evidence of a drill.")
    ] = "",
    force: PastLoss = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Test a failover: restore under temporary ids, measure, remove all it made, and keep the evidence.

    The real fence, audit log and sinks are not changed, and the primary is not called.

    Exit status: 0 passed, 3 not passed, 4 refused by a guard. With --clean-up, 3 means that something is
    left; with --verify, 1 means that the evidence is not genuine.
    """
    _must_fit(to=to, primary=primary, scratch=scratch, clean=clean, verify=verify, via=via)
    configuration = output.load()
    configuration.plan(plan)
    if verify:
        return await _check(output, configuration, plan, verify)
    if clean:
        async with open_recovery(configuration, plan) as recovery:
            left = await clean_up(recovery, shown.Stages(output, OF_A_DRILL))
        output.report(clean_up_lines(left), left)
        return exit_of(complete=left.complete)
    if via == "prefect":
        asked: JsonObject = {"to": to, "home": primary, "scratch": scratch, "reason": reason}
        asked["force"] = [force] if force else []
        report = await run_flow(DrillReport, configuration, plan, "drill", asked)
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, [force] if force else [], reason)
            fence = await read_fence(recovery.vault, recovery.plan)
            lost = choose_primary(recovery.plan, fence, to=to, named=primary)
            report = await drill(recovery, lost, to, shown.Stages(output, OF_A_DRILL), scratch=scratch or None)
    output.report(drill_lines(report, verbose=output.verbose), report)
    return exit_of(complete=report.passed, interrupted=report.interrupted)


def _must_fit(*, to: str, primary: str, scratch: str, clean: bool, verify: str, via: Via) -> None:
    if clean and verify:
        raise typer.BadParameter("use --clean-up or --verify, not both", param_hint="--verify")
    if clean or verify:
        if to or primary or scratch or via == "prefect":
            hint = "--clean-up" if clean else "--verify"
            raise typer.BadParameter("it runs no drill, so leave out the other options", param_hint=hint)
    elif not to:
        raise typer.BadParameter("name the resource that is to serve", param_hint="--to")


async def _check(output: Output, configuration: Configuration, plan: str, asked: str) -> Exit:
    signer = signer_for(configuration.vault.signing)
    file = with_home(Path(asked))
    async with open_vault(configuration.vault) as vault:
        if file.is_file():
            beside = file.with_name(f"{file.name}{SEAL}")
            seal = beside.read_bytes() if beside.is_file() else None
            check = await check_evidence(vault, plan, signer, str(file.absolute()), file.read_bytes(), seal)
        else:
            check = await verify_evidence(vault, plan, asked, signer)
    output.report(
        evidence_lines(check),
        {
            "where": check.where,
            "sha256": check.digest,
            "genuine": not check.problems,
            "signed_with": check.signed_with or None,
            "problems": check.problems,
            "notes": check.notes,
            "report": check.evidence.report if check.evidence else None,
        },
    )
    return Exit.ERROR if check.problems else Exit.DONE

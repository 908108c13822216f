"""`standby drill`: rehearse a failover, remove what an earlier one left, or check the evidence of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from standby.cli.options import PlanName, Primary, Via
from standby.cli.output import Line, Output
from standby.cli.progress import ToldStages
from standby.cli.run import Exit, run
from standby.config.configuration import Configuration
from standby.document import JsonValue
from standby.errors import sentence
from standby.fencing import read_fence
from standby.orchestrator import load_orchestrator
from standby.recovery.assignments import choose_primary
from standby.recovery.context import open_recovery
from standby.recovery.drill.cleanup import clean_up
from standby.recovery.drill.drill import drill
from standby.recovery.drill.evidence import SEAL, EvidenceCheck, check_evidence, verify_evidence
from standby.recovery.drill.report import CleanUp, CleanUpReport, DrillReport
from standby.recovery.signing import signer_for
from standby.text import some_of
from standby.vault.folder import open_folder


def drill_lines(report: DrillReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show how a drill ended, why it did not pass, and where its evidence is."""
    wrong = not report.passed
    for phase in report.phases:
        if verbose or phase.outcome != "done":
            failed = phase.outcome != "done"
            yield Line(f"{phase.name}: {phase.outcome} ({phase.seconds:.1f} s)", 2, wrong=failed)
    analyzers = report.analyzers
    fidelity = "".join(f", {count} {name}" for name, count in analyzers.fidelity.items())
    yield Line(f"analyzers: {analyzers.usable} of {analyzers.count} could serve{fidelity}.", 2)
    if report.snapshot_taken_at is not None:
        yield Line(f"snapshot: {report.snapshot_id} of {report.snapshot_taken_at:%Y-%m-%d %H:%M:%S} UTC.", 2)
    if report.recovery_seconds is not None:
        yield Line(f"recovery: {report.recovery_seconds:.1f} s{_objective(report)}.", 2)
    yield Line(f"clean-up: {_cleaned(report.cleanup)}.", 2, wrong=not report.cleanup.proven)
    signed = f"signed with key {report.key_id}" if report.key_id else "not signed: vault.signing has no key"
    yield Line(f"evidence: {report.evidence} ({signed}).", 2)
    for reason in report.reasons:
        yield Line(sentence(reason), 2, "!", "red", True)
    where = f"{report.scratch} for {report.to}" if report.scratch else report.to
    ending = "passed" if report.passed else "did not pass"
    yield Line(
        f"Drill {report.run_id} of plan {report.plan}, {report.primary} → {where}: {ending} in {report.seconds:.1f} s.",
        mark="✗" if wrong else "✓",
        style="red" if wrong else "green",
        wrong=wrong,
    )
    if not report.cleanup.proven:
        again = f"Mend that, then run standby drill {report.plan} --clean-up."
        yield Line(again, 2, "→", wrong=True)


def clean_up_lines(report: CleanUpReport) -> Iterator[Line]:
    """Show what became of what unfinished drills had left."""
    for cleaned in report.drills:
        proven = cleaned.cleanup.proven
        yield Line(
            f"Drill {cleaned.run_id} of {cleaned.begun_at:%Y-%m-%d %H:%M} UTC at {cleaned.to}: "
            f"{_cleaned(cleaned.cleanup)}.",
            mark="✓" if proven else "✗",
            style="green" if proven else "red",
            wrong=not proven,
        )
        if not proven:
            yield Line(sentence(cleaned.cleanup.problem), 2, wrong=True)
    if not report.drills:
        yield Line(f"No drill of plan {report.plan} is unfinished: nothing is left.")


def evidence_lines(check: EvidenceCheck) -> Iterator[Line]:
    """Show whether evidence is genuine, and what it is evidence of."""
    if check.problems:
        yield Line(f"{check.where} is not to be trusted.", mark="✗", style="red", wrong=True)
        for problem in check.problems:
            yield Line(sentence(problem), 2, wrong=True)
        return
    signed = f", signed with key {check.signed_with}" if check.signed_with else ""
    yield Line(f"{check.where} is as it was written{signed}.", mark="✓", style="green")
    for note in check.notes:
        yield Line(sentence(note), 2)
    if check.evidence is not None:
        report = check.evidence.report
        ending = "passed" if report.passed else "did not pass"
        yield Line(
            f"Drill {report.run_id} of plan {report.plan}, {report.primary} → {report.scratch or report.to}, "
            f"{ending} on {report.ended_at:%Y-%m-%d %H:%M} UTC.",
            2,
        )


def evidence_document(check: EvidenceCheck) -> dict[str, JsonValue]:
    """Give what a verification found as JSON."""
    return {
        "where": check.where,
        "sha256": check.digest,
        "genuine": not check.problems,
        "signed_with": check.signed_with or None,
        "problems": list(check.problems),
        "notes": list(check.notes),
        "report": check.evidence.report.model_dump(mode="json") if check.evidence else None,
    }


def _objective(report: DrillReport) -> str:
    if report.rto_seconds is None:
        return ""
    return f", {'within' if report.rto_met else 'beyond'} the RTO of {report.rto_seconds:.0f} s"


def _cleaned(cleanup: CleanUp) -> str:
    deleted = f"{len(cleanup.deleted)} of {len(cleanup.created)} deleted"
    if cleanup.proven:
        return f"{deleted}, proven complete"
    left = f"; {some_of(cleanup.left, 5)} left" if cleanup.left else ""
    return f"{deleted}, not proven complete{left}"


def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="What is to serve.")] = "",
    primary: Primary = "",
    scratch: Annotated[
        str,
        typer.Option("--scratch", metavar="RESOURCE", help="Rehearse at this resource, which is in no plan, instead."),
    ] = "",
    clean: Annotated[
        bool, typer.Option("--clean-up", help="Only remove what unfinished drills left, and prove it.")
    ] = False,
    verify: Annotated[
        str, typer.Option("--verify", metavar="FILE|RUN", help="Only check the evidence of a drill.")
    ] = "",
    via: Via = "direct",
) -> None:
    """Rehearse a failover under ids of its own, measure it, remove everything it made, and keep the evidence.

    The real fence, log and sinks have no part in it, and the source is not called.

    Exit status: 0 passed, 3 not passed, 4 refused by a guard. With --clean-up 3 says that something is left;
    with --verify 1 says that the evidence is not genuine.
    """
    _must_fit(to=to, primary=primary, scratch=scratch, clean=clean, verify=verify, via=via)
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
            source = choose_primary(recovery.plan, fence, to=to, named=primary)
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


def _must_fit(*, to: str, primary: str, scratch: str, clean: bool, verify: str, via: Via) -> None:
    if clean and verify:
        raise typer.BadParameter("clean up or verify, not both", param_hint="--verify")
    if clean or verify:
        if to or primary or scratch or via == "prefect":
            hint = "--clean-up" if clean else "--verify"
            raise typer.BadParameter("nothing is rehearsed with it; leave the rest out", param_hint=hint)
    elif not to:
        raise typer.BadParameter("name the resource that is to serve", param_hint="--to")
    elif primary and via == "prefect":
        raise typer.BadParameter("the flow finds the source by itself; leave it out", param_hint="--primary")


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

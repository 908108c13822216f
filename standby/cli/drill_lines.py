"""Drills, their clean-ups and their evidence, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from standby.cli.lines import Line
from standby.errors import sentence
from standby.recovery.drill.errors import some
from standby.recovery.drill.evidence import EvidenceCheck
from standby.recovery.drill.report import CleanUp, CleanUpReport, DrillReport
from standby.service.models import JsonValue


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
        f"Drill {report.run_id} of plan {report.plan}, {report.home} → {where}: {ending} "
        f"in {report.seconds:.1f} s.",
        mark="✗" if wrong else "✓",
        style="red" if wrong else "green",
        wrong=wrong,
    )
    if not report.cleanup.proven:
        again = f"Mend that, then run standby drill {report.plan} --clean-up."
        yield Line(again, 2, "→", wrong=True)


def clean_up_lines(report: CleanUpReport) -> Iterator[Line]:
    """Show what became of what unfinished drills had left."""
    for drill in report.drills:
        proven = drill.cleanup.proven
        yield Line(
            f"Drill {drill.run_id} of {drill.begun_at:%Y-%m-%d %H:%M} UTC at {drill.to}: "
            f"{_cleaned(drill.cleanup)}.",
            mark="✓" if proven else "✗",
            style="green" if proven else "red",
            wrong=not proven,
        )
        if not proven:
            yield Line(sentence(drill.cleanup.problem), 2, wrong=True)
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
            f"Drill {report.run_id} of plan {report.plan}, {report.home} → {report.scratch or report.to}, "
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
    left = f"; {some(cleanup.left)} left" if cleanup.left else ""
    return f"{deleted}, not proven complete{left}"

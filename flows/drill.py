"""Rehearse a failover, and prove that nothing of it is left."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.objects import State

from flows.events import DRILLED, PlanEvent
from flows.outcome import FlowOutcome, bullets, page, refused, seconds, table
from flows.recovery import TaskStages, recovering
from flows.run import to_its_report
from standby.document import JsonObject
from standby.errors import GuardRefused, sentence
from standby.fencing import read_fence
from standby.recovery.assignments import choose_assignment
from standby.recovery.drill import drill as drilling
from standby.recovery.drill.report import DrillReport


def drill_page(report: DrillReport) -> str:
    """Write what was rehearsed, what it took, and whether anything is left of it."""
    return page(
        f"# Drill of {report.plan}: {'passed' if report.passed else '**not passed**'}",
        bullets(report.reasons),
        table(
            ("", ""),
            (
                ("lost, as rehearsed", report.primary),
                ("served in its place", report.to),
                ("snapshot", report.snapshot_id or "none"),
                ("analyzers usable", f"{report.analyzers.usable} of {report.analyzers.count}"),
                ("a failover would have taken", seconds(report.recovery_seconds)),
                ("RTO objective", seconds(report.rto_seconds) if report.rto_seconds else "none"),
                (
                    "nothing is left",
                    "proven" if report.cleanup.proven else f"**not proven**: {_left(report)}",
                ),
                ("evidence", report.evidence or "not written"),
                ("signed with", report.key_id or "nothing"),
            ),
        ),
        "## Phases",
        table(
            ("phase", "began (UTC)", "took", "outcome"),
            (
                (phase.name, f"{phase.started_at:%H:%M:%S}", seconds(phase.seconds), phase.outcome)
                for phase in report.phases
            ),
        ),
    )


def _left(report: DrillReport) -> str:
    return report.cleanup.problem or f"{len(report.cleanup.left)} analyzer(s)"


@flow(name="drill", flow_run_name="drill-{plan}", persist_result=False)
async def drill(plan: str, to: str = "", scratch: str = "", home: str = "") -> State[Any]:
    """Rehearse the failover of a recovery plan, measure it, and remove everything it made.

    It is the code of a real failover, under ids of its own; neither the sinks nor the source take part in it.
    It passes only if its clean-up is proven. The evidence is kept in the vault, signed where there is a key.

    Args:
        plan: Name of a saved recovery-plan block.
        to: The target to rehearse with; empty means the one that an outage would choose.
        scratch: Name of another resource to rehearse at, under the real ids.
        home: In the place of which source, where there are several.
    """
    try:
        async with recovering(plan, scratch=scratch) as context:
            source, target = choose_assignment(
                context.plan, await read_fence(context.vault, context.plan), to=to, named=home
            )
            work = drilling.drill(context, source, target, TaskStages(), scratch=scratch or None)
            report = await to_its_report(work)
    except GuardRefused as error:
        return refused(error)
    message = _told(report)
    facts: JsonObject = {
        "home": report.primary,
        "to": report.to,
        "passed": report.passed,
        "evidence": report.evidence,
    }
    return await FlowOutcome(
        "Passed" if report.passed else "NotPassed",
        message,
        report,
        good=report.passed,
        interrupted=report.interrupted,
        artifact=MarkdownArtifact(key="drill-report", markdown=drill_page(report), description=message),
        event=PlanEvent(DRILLED, plan, facts),
    ).finish()


def _told(report: DrillReport) -> str:
    passed = "passed" if report.passed else "did not pass"
    return " ".join(
        sentence(part) for part in (f"The drill of {report.primary} to {report.to} {passed}", *report.reasons)
    )

"""Bring a plan back to where it came from, edits included."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import TableArtifact
from prefect.client.schemas.objects import State

from flows.events import FAILED_BACK, PlanEvent
from flows.outcome import FlowOutcome, refused
from flows.recovery import recovering
from flows.run import ProgressArtifact, to_its_report
from standby.errors import GuardRefused, sentence
from standby.recovery.failback.failback import fail_back
from standby.recovery.failback.report import DivergenceReport, FailbackReport, Kept
from standby.text import totals
from tasks.copy import TaskSteps
from tasks.stage import TaskStages

NOTHING_SAID: dict[str, Kept] = {}

NAMES = {
    "failed_back": "FailedBack",
    "at_home": "AtHome",
    "refused": "Refused",
    "incomplete": "PartiallyFailed",
    "unfinished": "Unfinished",
    "interrupted": "Interrupted",
}


@flow(name="failback", flow_run_name="failback-{plan}", persist_result=False)
async def failback(plan: str, home: str = "", keep: dict[str, Kept] = NOTHING_SAID) -> State[Any]:
    """Bring a recovery plan back to its source: compare both sides, copy home, switch, commit.

    No edit is lost: where both sides were edited, it stops until somebody says whose goes on.

    Args:
        plan: Name of a saved recovery-plan block.
        home: The source to bring back; empty means the one that is away.
        keep: Whose analyzer goes on, home or standby, by its id at home, where both were edited.
    """
    try:
        async with recovering(plan) as context, ProgressArtifact(f"Bringing plan {plan} back") as bar:
            work = fail_back(context, home or None, TaskStages(), keep=keep, steps=TaskSteps, on_progress=bar.show)
            report = await to_its_report(work)
    except GuardRefused as error:
        return refused(error)
    return await FlowOutcome(
        NAMES[report.state],
        _told(report),
        report,
        good=report.state in {"failed_back", "at_home"},
        interrupted=report.state == "interrupted",
        artifact=divergence_table(report.divergence) if report.divergence is not None else None,
        event=PlanEvent(FAILED_BACK, plan, {"home": report.primary, "epoch": report.epoch})
        if report.state == "failed_back"
        else None,
    ).finish()


def divergence_table(found: DivergenceReport) -> TableArtifact:
    """Make the table of what was edited at either resource."""
    return TableArtifact(
        key="divergence",
        table=[
            {
                "analyzer": item.analyzer,
                "at the standby": item.standby_analyzer or "",
                "divergence": item.divergence.value,
                "kept": item.keep or "nobody has said",
                "differences": " ".join(item.differences),
            }
            for item in found.items
        ]
        or [{"analyzer": "none"}],
        description=f"Plan **{found.plan}**, {found.primary} and {found.standby}: {totals(found.totals, 'nothing')}.",
    )


def _told(report: FailbackReport) -> str:
    said = {
        "failed_back": f"{report.primary} serves again, and {report.standby} stands by",
        "at_home": f"{report.primary} serves already",
        "refused": f"{report.standby} still serves: {report.primary} could not take something",
        "incomplete": "It is not done yet",
        "unfinished": f"The switch back to {report.primary} has not ended",
        "interrupted": "It was told to stop",
    }[report.state]
    return " ".join(sentence(part) for part in (said, *report.problems, report.next_action) if part)

"""A switch inside a flow run: its stages as task runs, its report as a page, an event and a final state."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.endings import ended, fell_short, stopped
from flows.events import ACTIVATED, REFUSED, tell_of_plan
from flows.failover_pages import ENDED, failover_page
from flows.listening import tell_report
from flows.stages import TaskStages
from flows.stopping import to_its_report
from standby.errors import sentence
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.ordering import Ordered, carry_out
from standby.recovery.failover.report import FailoverReport
from standby.recovery.synchronise import synchronise
from tasks.task_steps import TaskSteps


async def switch(context: RecoveryContext, ordered: Ordered) -> State[Any]:
    """Make another side serve, go on with that, or take it back, and tell everybody."""
    work = carry_out(context, ordered, TaskStages(), sync=partial(synchronise, steps=TaskSteps))
    report = await to_its_report(work, UUID(str(flow_run.id)))
    tell_report(report)
    await publish_failover(report)
    return state_of(report)


async def publish_failover(report: FailoverReport) -> None:
    """Leave a switch's page, and emit what came of it."""
    await acreate_markdown_artifact(
        key="failover-report",
        markdown=failover_page(report),
        description=f"Plan **{report.plan}**: {report.side} {ENDED[report.state]}.",
    )
    tell_of_plan(
        ACTIVATED if serves_as_asked(report) else REFUSED,
        report.plan,
        {
            "home": report.home,
            "from": report.from_resource,
            "to": report.to,
            "side": report.side,
            "mode": report.mode,
            "state": report.state,
            "epoch": report.epoch,
            "decision": report.decision_id,
            "detection_seconds": report.detection_seconds,
            "recovery_seconds": report.recovery_seconds,
            "rto_seconds": report.rto_seconds,
            "rto_met": report.rto_met,
            "sinks": {sink.name: sink.status for sink in report.sinks},
            "summary": summary_of(report),
        },
    )


def serves_as_asked(report: FailoverReport) -> bool:
    """Say whether the side serves now that was asked for, whoever knows of it."""
    return report.state in {"activated", "rolled_back"} and report.side == report.to


def summary_of(report: FailoverReport) -> str:
    """Say in a few sentences what a switch came to."""
    parts = [f"{report.side} {ENDED[report.state]} (plan {report.plan}, epoch {report.epoch})"]
    if report.rto_seconds is not None:
        parts.append(f"{report.rto_seconds:.0f} s from the beginning of the outage")
    if report.recovery_seconds is not None:
        parts.append(f"switched in {report.recovery_seconds:.0f} s")
    parts += [*report.problems, report.next_action]
    return " ".join(sentence(part) for part in parts if part)


def state_of(report: FailoverReport) -> State[Any]:
    """Tell by a run's state which side serves; the report is its result."""
    message = summary_of(report)
    if report.interrupted:
        return stopped(message)
    name = {"activated": "Activated", "rolled_back": "RolledBack", "fenced": "Fenced", "refused": "Refused"}[
        report.state
    ]
    if report.complete:
        return ended(name, message, report)
    return fell_short(f"Partially{name}" if serves_as_asked(report) else name, message, report)

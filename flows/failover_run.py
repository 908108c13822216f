"""A switch inside a flow run: its stages as task runs, its report as a page, an event and a final state."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.objects import State

from flows.events import ACTIVATED, REFUSED, PlanEvent
from flows.outcome import FlowOutcome, bullets, page, seconds, table
from flows.run import to_its_report
from standby.config.durations import roughly
from standby.errors import sentence
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import Decision, DecisionInput
from standby.recovery.decision.record import DecisionRecord
from standby.recovery.failover.failover import Ordered, carry_out
from standby.recovery.failover.report import FailoverReport
from standby.recovery.sync import synchronise
from tasks.copy import TaskSteps
from tasks.stage import TaskStages

LATEST = 20
"""Observations that are shown; the newest."""

ENDED = {
    "activated": "serves now",
    "rolled_back": "serves again",
    "fenced": "is the last side that served; nobody serves until this is run again",
    "refused": "still serves",
}

STATES = {"activated": "Activated", "rolled_back": "RolledBack", "fenced": "Fenced", "refused": "Refused"}
"""Names of the final state."""


def decision_page(record: DecisionRecord) -> str:
    """Write what a decision is, guard by guard, and what was observed."""
    given, decision = record.given, record.decision
    newest = sorted(given.observations, key=lambda each: each.at)[-LATEST:]
    return page(
        f"# {given.plan}: {_asked(given, decision)}",
        f"Decision `{record.id}`; `standby explain {record.id}` replays it.",
        table(
            ("guard", "says", "because"),
            ((result.guard.value, result.outcome.value, sentence(result.text)) for result in decision.reasons),
        ),
        f"## What was seen of {given.active}",
        table(
            ("at (UTC)", "by", "healthy", "evidence"),
            (
                (
                    f"{each.at:%H:%M:%S}",
                    each.observer,
                    {True: "yes", False: "no", None: "cannot be told"}[each.healthy],
                    each.summary,
                )
                for each in newest
            ),
        ),
    )


def proposal_text(given: DecisionInput, decision: Decision) -> str:
    """Say in a few lines what is proposed: shown beside the form that approves it."""
    lasted = f" for {roughly(given.asked_at - decision.unhealthy_since)}" if decision.unhealthy_since else ""
    return (
        f"{given.active} has been unhealthy{lasted}. It is proposed that {decision.to} serves in its place. "
        "Approve, name another target, or reject. It is looked at once more before anything is done."
    )


def failover_page(report: FailoverReport) -> str:
    """Write what a switch did, what it took, and what to do next."""
    return page(
        f"# {report.plan}: {report.serving} {ENDED[report.state]}",
        bullets([report.next_action]) if report.next_action else "",
        table(
            ("", ""),
            (
                ("from, to", f"{report.from_resource} → {report.to} ({report.mode}, epoch {report.epoch})"),
                ("why", report.reason or "no reason was given"),
                ("decision", report.decision_id or "none"),
                ("detected after", seconds(report.detection_seconds)),
                ("switched in", seconds(report.recovery_seconds)),
                ("from the beginning of the outage", seconds(report.rto_seconds)),
                ("RTO objective", _objective(report)),
                ("forced", ", ".join(report.forced) or "nothing"),
            ),
        ),
        bullets(report.problems),
        "## Phases",
        table(
            ("phase", "began (UTC)", "took", "outcome"),
            (
                (phase.name, f"{phase.started_at:%H:%M:%S}", seconds(phase.seconds), phase.outcome)
                for phase in report.phases
            ),
        ),
        "## Sinks",
        table(
            ("sink", "status", "was told", "reason"),
            ((sink.name, sink.status, sink.told, sink.reason) for sink in report.sinks),
        )
        or "None is configured: nobody was told.",
        _restored(report),
    )


def _asked(given: DecisionInput, decision: Decision) -> str:
    by = f"outage of {given.active}" if given.requested_by == "outage" else "an operator's order"
    return f"{decision.outcome.value} on {by}" + (f", to {decision.to}" if decision.to else "")


def _objective(report: FailoverReport) -> str:
    if report.rto_objective_seconds is None:
        return "none"
    met = {True: "met", False: "**missed**", None: "not known whether met"}[report.rto_met]
    return f"{seconds(report.rto_objective_seconds)}, {met}"


def _restored(report: FailoverReport) -> str:
    if report.restored is None:
        return ""
    restored = report.restored
    return page(
        f"## Restored from snapshot {restored.snapshot_id} of {restored.taken_at:%Y-%m-%d %H:%M} UTC",
        bullets(restored.created),
        table(("not restored", "reason"), restored.failed.items()),
    )


async def switch(context: RecoveryContext, ordered: Ordered) -> State[Any]:
    """Make another side serve, go on with that, or take it back, and tell everybody."""
    work = carry_out(context, ordered, TaskStages(), sync=partial(synchronise, steps=TaskSteps))
    return await outcome_of(await to_its_report(work)).finish()


def outcome_of(report: FailoverReport) -> FlowOutcome:
    """Say by the end of the run which resource serves."""
    name = STATES[report.state]
    return FlowOutcome(
        f"Partially{name}" if serves_as_asked(report) and not report.complete else name,
        summary_of(report),
        report,
        good=report.complete,
        interrupted=report.interrupted,
        artifact=MarkdownArtifact(
            key="failover-report",
            markdown=failover_page(report),
            description=f"Plan **{report.plan}**: {report.serving} {ENDED[report.state]}.",
        ),
        event=failover_event(report),
    )


def failover_event(report: FailoverReport) -> PlanEvent:
    """Make the event of what came of a switch."""
    return PlanEvent(
        ACTIVATED if serves_as_asked(report) else REFUSED,
        report.plan,
        {
            "home": report.primary,
            "from": report.from_resource,
            "to": report.to,
            "side": report.serving,
            "mode": report.mode,
            "state": report.state,
            "epoch": report.epoch,
            "decision": report.decision_id,
            "detection_seconds": report.detection_seconds,
            "recovery_seconds": report.recovery_seconds,
            "rto_seconds": report.rto_seconds,
            "rto_met": report.rto_met,
            "sinks": {sink.name: sink.status for sink in report.sinks},
        },
    )


def serves_as_asked(report: FailoverReport) -> bool:
    """Say whether the side serves now that was asked for, whoever knows of it."""
    return report.state in {"activated", "rolled_back"} and report.serving == report.to


def summary_of(report: FailoverReport) -> str:
    """Say in a few sentences what a switch came to."""
    parts = [f"{report.serving} {ENDED[report.state]} (plan {report.plan}, epoch {report.epoch})"]
    if report.rto_seconds is not None:
        parts.append(f"{report.rto_seconds:.0f} s from the beginning of the outage")
    if report.recovery_seconds is not None:
        parts.append(f"switched in {report.recovery_seconds:.0f} s")
    parts += [*report.problems, report.next_action]
    return " ".join(sentence(part) for part in parts if part)

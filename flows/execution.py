"""A failover carried out in a flow run: stages as task runs, report and decision as pages, an event, a final state."""

from collections.abc import Iterable
from functools import partial

from prefect.artifacts import MarkdownArtifact

from standby.errors import sentence
from standby.fencing import Fence
from standby.flows.events import ACTIVATED, REFUSED, ROLLED_BACK, PlanEvent, emit_observation
from standby.flows.outcome import FlowOutcome, bullets, escaped, page, seconds, shown, table
from standby.flows.run import to_its_report
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import DecisionRecord, conclusion, requester
from standby.recovery.failover.failover import fail_over
from standby.recovery.failover.report import (
    FailoverReport,
    PhaseTime,
    detection_words,
    ending,
    outage_words,
    summary,
)
from standby.recovery.sync import synchronise
from standby.tasks.copy import TaskSteps
from standby.tasks.stage import TaskStages, tried

LATEST = 20  # Observations that are shown; the newest
DECISION_SECONDS = 5.0  # How long a failover may wait for the page of its decision
STATE_NAMES = {"activated": "Activated", "rolled_back": "RolledBack", "fenced": "Fenced"}
EVENTS = {"activated": ACTIVATED, "rolled_back": ROLLED_BACK}  # What happened, where it is what was asked for


async def carry_out(context: RecoveryContext, request: FailoverRequest) -> FailoverReport:
    """Carry a request out, with its stages and copies as task runs."""
    return await to_its_report(fail_over(context, request, TaskStages(), sync=partial(synchronise, steps=TaskSteps)))


def outcome_of(report: FailoverReport) -> FlowOutcome:
    """Say by the end of the run which resource serves."""
    name = STATE_NAMES[report.state]
    return FlowOutcome(
        f"Partially{name}" if report.serves_as_asked and not report.complete else name,
        summary(report),
        report,
        good=report.complete,
        interrupted=report.interrupted,
        artifact=MarkdownArtifact(
            key="failover-report", markdown=failover_page(report), description=sentence(ending(report))
        ),
        event=PlanEvent(
            EVENTS.get(report.state, REFUSED) if report.serves_as_asked else REFUSED,
            report.plan,
            report.facts,
            "info" if report.complete else "critical",
        ),
    )


async def leave_decision(record: DecisionRecord) -> None:
    """Leave the page of a recorded decision; a failover does not wait for it.

    That it found a resource healthy is emitted as well: no later evaluation counts what was before.
    """
    given = record.given
    own = given.own_probe
    if own is not None and own.healthy:
        emit_observation(own, given.plan, Fence(plan=given.plan, epoch=given.epoch, assignments=given.assignments))
    text = f"Plan **{given.plan}**: {conclusion(record.decision, given)}."
    decided = MarkdownArtifact(key="failover-decision", markdown=decision_page(record), description=text)
    await tried("the page of the decision", shown(decided).acreate, DECISION_SECONDS)


def decision_page(record: DecisionRecord) -> str:
    given, decision = record.given, record.decision
    newest = sorted(given.observations, key=lambda each: each.at)[-LATEST:]
    return page(
        f"# {escaped(f'{given.plan}: {conclusion(decision, given)}')}",
        f"Requested by {escaped(requester(given, record.actor))}. `standby explain {record.id}` replays the decision.",
        table(
            ("guard", "outcome", "because"),
            ((result.guard.value, result.outcome.value, sentence(result.text)) for result in decision.reasons),
        ),
        f"## Observations of {given.active}",
        table(
            ("at (UTC)", "by", "found", "evidence"),
            ((f"{each.at:%H:%M:%S}", each.observer, each.health, each.summary) for each in newest),
        ),
    )


def failover_page(report: FailoverReport) -> str:
    objective = report.rto_objective_seconds
    met = {True: "met", False: "**missed**", None: "unknown whether met"}[report.rto_met]
    rows = (
        ("from, to", f"{report.from_resource} → {report.to} ({report.mode}, epoch {report.epoch})"),
        ("why", report.reason or "no reason was given"),
        ("decision", report.decision_id or "none"),
        ("detected after", detection_words(report)),
        ("approved after", "" if report.approval_seconds is None else seconds(report.approval_seconds)),
        ("failed over in", seconds(report.recovery_seconds)),
        ("serving again", outage_words(report)),
        ("RTO objective", "none" if objective is None else f"{seconds(objective)}, {met}"),
        ("forced", ", ".join(report.forced) or "nothing"),
    )
    names = [sink.name if sink.required else f"{sink.name} (not required)" for sink in report.sinks]
    sinks = [(name, sink.status, sink.published, sink.reason) for name, sink in zip(names, report.sinks, strict=True)]
    it = report.restored
    return page(
        f"# {escaped(ending(report))}",
        bullets([report.next_action]) if report.next_action else "",
        # What was not measured is left out, such as the detection of an order.
        table(("", ""), (row for row in rows if row[1])),
        f"## Left out at {report.serving}" if report.missing else "",
        table(("analyzer", "because"), ((name, sentence(cause)) for name, cause in report.missing.items())),
        bullets(report.problems),
        "## Phases",
        phase_table(report.phases),
        "## Sinks",
        table(("sink", "status", "published", "reason"), sinks) or "None is configured: applications are not informed.",
        f"## Restored from snapshot {it.snapshot_id} of {it.taken_at:%Y-%m-%d %H:%M} UTC" if it else "",
        bullets(it.created) if it else "",
        table(("not restored", "reason"), it.failed.items()) if it else "",
    )


def phase_table(phases: Iterable[PhaseTime]) -> str:
    rows = ((phase.name, f"{phase.started_at:%H:%M:%S}", seconds(phase.seconds), phase.outcome) for phase in phases)
    return table(("phase", "began (UTC)", "took", "outcome"), rows)

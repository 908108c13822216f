"""Pages about a failover for the Prefect UI: the evidence of a decision, and what a switch did."""

from __future__ import annotations

from flows.markdown import bullets, page, seconds, table
from standby.config.durations import roughly
from standby.errors import sentence
from standby.recovery.decision.case import Case
from standby.recovery.decision.record import DecisionRecord
from standby.recovery.decision.verdict import Decision
from standby.recovery.failover.report import FailoverReport

LATEST = 20
"""Observations that are shown; the newest."""

ENDED = {
    "activated": "serves now",
    "rolled_back": "serves again",
    "fenced": "is the last side that served; nobody serves until this is run again",
    "refused": "still serves",
}


def decision_page(record: DecisionRecord) -> str:
    """Write what a decision is, guard by guard, and what was observed."""
    case, decision = record.case, record.decision
    newest = sorted(case.observations, key=lambda each: each.at)[-LATEST:]
    return page(
        f"# {case.plan}: {_asked(case, decision)}",
        f"Decision `{record.id}`; `standby explain {record.id}` replays it.",
        table(
            ("guard", "says", "because"),
            (
                (result.guard.value, result.verdict.value, sentence(result.text))
                for result in decision.reasons
            ),
        ),
        f"## What was seen of {case.active}",
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


def proposal_text(case: Case, decision: Decision) -> str:
    """Say in a few lines what is proposed: shown beside the form that approves it."""
    lasted = f" for {roughly(case.asked_at - decision.unhealthy_since)}" if decision.unhealthy_since else ""
    return (
        f"{case.active} has been unhealthy{lasted}. It is proposed that {decision.to} serves in its place. "
        "Approve, name another target, or reject. It is looked at once more before anything is done."
    )


def failover_page(report: FailoverReport) -> str:
    """Write what a switch did, what it took, and what to do next."""
    return page(
        f"# {report.plan}: {report.side} {ENDED[report.state]}",
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


def _asked(case: Case, decision: Decision) -> str:
    by = f"outage of {case.active}" if case.requested_by == "outage" else "an operator's order"
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

"""The sentences about a decision: the terminal, Prefect and notifications show the same ones."""

from __future__ import annotations

from typing import assert_never

from standby.config.durations import format_duration, roughly
from standby.recovery.decision.input import Decision, DecisionInput, Outcome
from standby.recovery.decision.record import DecisionRecord


def conclusion(decision: Decision, given: DecisionInput) -> str:
    """Say what a decision leads to, without a full stop."""
    instead = "" if given.primary == given.active else f" for {given.primary}"
    what = f"fail over from {given.active} to {decision.to}{instead}"
    match decision.outcome:
        case Outcome.ACT if decision.needs_approval:
            return f"propose to {what}"
        case Outcome.ACT:
            return what
        case Outcome.WAIT:
            return "wait; nothing was done"
        case Outcome.REFUSE:
            return "refuse; nothing was done"
        case _:
            assert_never(decision.outcome)


def requester(given: DecisionInput, actor: str) -> str:
    """Say who asked for a decision, and why."""
    if given.requested_by == "outage":
        return f"an outage of {given.outage_of or given.active} ({actor})"
    kind = "planned" if given.planned else "unplanned"
    return f"{actor}, {kind}{f': {given.reason}' if given.reason else ''}"


def reasons_against(decision: Decision) -> str:
    """Say why nothing is done: every guard that refuses or waits."""
    return "; ".join(f"{result.guard.value}: {result.text}" for result in decision.against)


def unanswered(record: DecisionRecord) -> str:
    """Say that an outage is not answered by a failover, and why."""
    return f"{record.given.active} is down, and no failover was started: {reasons_against(record.decision)}."


def proposal(record: DecisionRecord) -> str:
    """Say what is proposed: shown beside the form that approves it."""
    given, decision = record.given, record.decision
    lasted = f" for {roughly(given.asked_at - decision.unhealthy_since)}" if decision.unhealthy_since else ""
    return (
        f"{given.active} has been unhealthy{lasted}. The proposal is that {decision.to} serves instead. "
        "Approve it, name another target, or reject it. It is decided once more before anything is done."
    )


def not_approved(record: DecisionRecord, *, answered: bool, comment: str) -> str:
    """Say that a proposal was rejected, or that nobody answered; without a full stop."""
    failover = f"the failover from {record.given.active} to {record.decision.to}"
    if answered:
        return f"Somebody rejected {failover}{f': {comment}' if comment else ''}"
    return f"Nobody answered within {format_duration(record.given.policy.approval_timeout)} whether to start {failover}"

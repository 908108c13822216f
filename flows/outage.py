"""The answer to events that a resource is unhealthy: a decision, perhaps an approval, perhaps a failover."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import State
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.errors import SlotTaken
from flows.events import PROPOSED, REFUSED, PlanEvent, read_observations
from flows.execution import execute, leave_decision
from flows.limits import hold
from flows.outcome import FlowOutcome
from standby.errors import sentence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import Recall
from standby.recovery.decision.input import Outcome
from standby.recovery.decision.outage import (
    decide_outage,
    decision_slot,
    facts_of,
    nobody_has_to_act,
    report_refusal,
    request_of,
)
from standby.recovery.decision.record import (
    DecisionRecord,
    as_approved,
    as_decided,
    decide_and_record,
    not_approved,
    proposal,
    reasons_against,
    unanswered,
)
from standby.recovery.witnesses import looked

LOOK = 2
"""Seconds after which it is checked again whether somebody answered."""

SPARE = 600
"""Seconds for which Prefect lets the run wait beyond its time: then it would fail the run itself."""


class Approval(RunInput):
    """The form that somebody fills in."""

    approve: bool = Field(description="Fail over. Everything is checked once more before anything is done.")
    to: str = Field("", description="Another target than the one that is proposed.")
    comment: str = Field("", description="Why; it goes into the audit log.")


async def ask(text: str, patience: timedelta) -> Approval | None:
    """Pause this flow run until somebody fills in the form; `None` where nobody does in time."""
    form = Approval.with_initial_data(description=text)
    seconds = patience.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await apause_flow_run(form, timeout=int(seconds) + SPARE, poll_interval=LOOK)
    except TimeoutError:
        return None


HISTORY = timedelta(minutes=15)
"""How far back events are read."""

PATIENCE = 20.0
"""Seconds that another run of the plan is waited for. A busy Prefect server takes over 2 s to grant a free slot."""

AFTER_AN_ANSWER = 300.0
"""Seconds that it is waited for once somebody has approved."""


async def after_outage(context: RecoveryContext, outage_of: str, to: str) -> State[Any]:
    """Decide whether the outage is one, and act on it; a person is asked where the plan says so."""
    plan = context.plan.name
    try:
        async with hold(decision_slot(plan), PATIENCE):
            found = await decide_outage(context, outage_of, to, _observations(context, outage_of), leave_decision)
            if isinstance(found, str):
                return await FlowOutcome("NotNeeded", sentence(found)).finish()
            if found.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, found)
            if not found.decision.needs_approval:
                return await execute(context, as_decided(request_of(found), found))
            await _propose(context, found)
    except SlotTaken:
        return await FlowOutcome("NotNeeded", f"Another run is already deciding about plan {plan}.").finish()
    # Without the slot: an answer may take half an hour, and another primary of the plan may fail meanwhile.
    answer = await ask(proposal(found), context.plan.failover.approval_timeout)
    if answer is None or not answer.approve:
        return await _rejected(context, found, answer)
    return await _approved(context, found, answer)


def _observations(context: RecoveryContext, resource: str) -> Recall:
    return lambda: read_observations(resource, context.clock.now(), HISTORY)


async def _nothing_done(context: RecoveryContext, found: DecisionRecord) -> State[Any]:
    """End without a failover: completed where there is no outage, failed where one cannot be answered."""
    message = f"{reasons_against(found.decision)}. standby explain {found.id} shows all of it."
    if nobody_has_to_act(found.decision):
        return await FlowOutcome("NotNeeded", message).finish()
    event = PlanEvent(REFUSED, context.plan.name, facts_of(found))
    await report_refusal(context, found, lambda: event.emit(unanswered(found)))
    return await FlowOutcome("Refused", message, good=False).finish()


async def _propose(context: RecoveryContext, found: DecisionRecord) -> None:
    facts = facts_of(found)
    await record_action(context, AuditAction.PROPOSED, facts, epoch=found.given.epoch)
    PlanEvent(PROPOSED, context.plan.name, facts).emit(proposal(found))


async def _rejected(context: RecoveryContext, found: DecisionRecord, answer: Approval | None) -> State[Any]:
    comment = answer.comment if answer is not None else ""
    facts = {**facts_of(found), "answered": answer is not None, "comment": comment}
    await record_action(context, AuditAction.REJECTED, facts, epoch=found.given.epoch)
    message = sentence(not_approved(found, answered=answer is not None, comment=comment))
    event = PlanEvent(REFUSED, context.plan.name, facts)
    return await FlowOutcome("NotAnswered" if answer is None else "Rejected", message, event=event).finish()


async def _approved(context: RecoveryContext, found: DecisionRecord, answer: Approval) -> State[Any]:
    """Decide once more, since the answer may have taken long, and then act."""
    request = request_of(found, answer.to)
    facts = {**facts_of(found), "to": request.to, "comment": answer.comment}
    approved_at = context.clock.now()
    await record_action(context, AuditAction.APPROVED, facts, epoch=found.given.epoch)
    try:
        async with hold(decision_slot(context.plan.name), AFTER_AN_ANSWER):
            recall = _observations(context, request.outage_of)
            context = await looked(replace(context, known=None))
            again = await decide_and_record(context, request, history=found.given.observations, recall=recall)
            await leave_decision(again)
            if again.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, again)
            return await execute(context, as_approved(request, found, again, approved_at))
    except SlotTaken as error:
        return await FlowOutcome("Refused", str(error), good=False).finish()

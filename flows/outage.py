"""What follows from events that a resource is unhealthy: an evaluation, and only then perhaps a failover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import State

from flows.approval import Approval, ask
from flows.decision_artifact import leave_decision
from flows.endings import ended, fell_short
from flows.errors import SlotTaken
from flows.events import PROPOSED, REFUSED, tell_of_plan, told_of
from flows.failover_pages import proposal_text
from flows.leases import hold
from flows.proposals import why_not_now
from flows.refusals import tell_refusal
from flows.switching import switch
from standby.config.durations import format_duration
from standby.errors import sentence
from standby.fencing import read_fence
from standby.recovery.audit import Deed, note, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.case import Case
from standby.recovery.decision.evaluating import evaluate
from standby.recovery.decision.record import record_decision
from standby.recovery.decision.request import Request
from standby.recovery.decision.verdict import Decision, Guard, Outcome, Verdict
from standby.recovery.failover.order import FailoverOrder
from standby.recovery.failover.ordering import Ordered
from standby.recovery.watch.observation import Observation
from standby.service.models import JsonValue

HISTORY = timedelta(minutes=15)
"""How far back events are read."""

PATIENCE = 2.0
"""Seconds that another run of the plan is waited for: events that go on start a new one soon enough."""

AFTER_AN_ANSWER = 300.0
"""Seconds that it is waited for once somebody has approved."""

OF_THE_OUTAGE = frozenset(
    {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.OBSERVERS_AGREE, Guard.ALREADY_ACTIVE, Guard.ONE_AT_A_TIME}
)
"""Guards that say no where there is no outage, or somebody is at it already: nobody needs to act."""


@dataclass(frozen=True)
class Decided:
    """A recorded decision about one source of the plan."""

    request: Request
    case: Case
    decision: Decision
    decision_id: str

    @property
    def ordered(self) -> Ordered:
        """What is to be done, where it is decided to act."""
        order = FailoverOrder(
            home=self.request.home,
            to=str(self.decision.to),
            planned=False,
            reason=self.request.reason,
            decision_id=self.decision_id,
            detected_at=self.decision.detected_at,
            unhealthy_since=self.decision.unhealthy_since,
            epoch=self.case.epoch,
        )
        return Ordered(order, self.case.active, case=self.case, decision=self.decision)

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What the audit log and the events say of it."""
        return {
            "home": self.request.home,
            "from": self.case.active,
            "to": self.decision.to,
            "decision": self.decision_id,
        }


async def after_outage(context: RecoveryContext, outage_of: str, to: str) -> State[Any]:
    """Look whether the outage is one, decide, and do it; a person is asked where the plan says so.

    Args:
        context: of the recovery.
        outage_of: the resource that was reported to be unhealthy.
        to: the target; empty where the decision chooses.
    """
    plan = context.plan.name
    try:
        async with hold(slot_of(plan), PATIENCE):
            found = await _evaluated(context, outage_of, to)
            if isinstance(found, str):
                return ended("NotNeeded", sentence(found))
            if found.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, found)
            if not found.decision.needs_approval:
                return await switch(context, found.ordered)
            await _propose(context, found)
    except SlotTaken:
        return ended("NotNeeded", f"Another run decides about plan {plan} already.")
    # Without the slot: an answer may take half an hour, and another source of the plan may go dark meanwhile.
    answer = await ask(proposal_text(found.case, found.decision), context.plan.failover.approval_timeout)
    if answer is None or not answer.approve:
        return await _rejected(context, found, answer)
    return await _approved(context, found, answer)


def slot_of(plan: str) -> str:
    """Name the slot of the one run that decides about a plan."""
    return f"standby-failover-{plan}"


async def _evaluated(context: RecoveryContext, outage_of: str, to: str) -> Decided | str:
    """Decide about each source in whose place the resource serves, until there is something to do."""
    fence = await read_fence(context.vault, context.plan)
    homes = [home for home, side in fence.sides.items() if side.active == outage_of]
    found: Decided | str = f"{outage_of} serves for nobody in plan {fence.plan}"
    for home in homes:
        quiet = await _why_nobody_is_asked(context, home)
        if quiet:
            found = quiet
            continue
        request = Request(home=home, to=to, outage_of=outage_of, reason=f"outage of {outage_of}")
        found = await _decide(context, request)
        if found.decision.outcome is Outcome.ACT:
            break
    return found


async def _decide(context: RecoveryContext, request: Request, before: Sequence[Observation] = ()) -> Decided:
    async def told() -> Sequence[Observation]:
        return await told_of(request.outage_of, context.clock.now(), HISTORY)

    case, decision = await evaluate(context, request, history=before, recall=told)
    decision_id = await record_decision(context, case, decision)
    await leave_decision(context, decision_id)
    return Decided(request, case, decision, decision_id)


async def _why_nobody_is_asked(context: RecoveryContext, home: str) -> str:
    if context.plan.failover.automatic:
        return ""
    checked = await verify_audit(context.vault, context.plan.name, context.signer)
    return why_not_now(checked.lines, home, context.clock.now(), context.plan.failover)


async def _nothing_done(context: RecoveryContext, found: Decided) -> State[Any]:
    """End without a failover: quietly where there is no outage, aloud where one cannot be answered."""
    against = found.decision.saying(Verdict.REFUSE, Verdict.WAIT)
    told = "; ".join(f"{result.guard.value}: {result.text}" for result in against)
    message = f"{told}. standby explain {found.decision_id} has all of it."
    if any(result.guard in OF_THE_OUTAGE for result in against):
        return ended("NotNeeded", message)
    summary = f"{found.case.active} is down, and nothing was switched: {told}."
    await tell_refusal(context, found.facts, [result.guard for result in against], summary)
    return fell_short("Refused", message)


async def _propose(context: RecoveryContext, found: Decided) -> None:
    await note(context, Deed.PROPOSED, found.facts, epoch=found.case.epoch)
    summary = proposal_text(found.case, found.decision)
    tell_of_plan(PROPOSED, context.plan.name, {**found.facts, "summary": summary})


async def _rejected(context: RecoveryContext, found: Decided, answer: Approval | None) -> State[Any]:
    comment = answer.comment if answer is not None else ""
    facts = {**found.facts, "answered": answer is not None, "comment": comment}
    await note(context, Deed.REJECTED, facts, epoch=found.case.epoch)
    patience = format_duration(context.plan.failover.approval_timeout)
    said = "Nobody answered" if answer is None else "Somebody said no"
    told = f"{said} to the failover from {found.case.active} to {found.decision.to}" + (
        f" within {patience}" if answer is None else f": {comment}" if comment else ""
    )
    tell_of_plan(REFUSED, context.plan.name, {**facts, "summary": sentence(told)})
    return ended("NotAnswered" if answer is None else "Rejected", sentence(told))


async def _approved(context: RecoveryContext, found: Decided, answer: Approval) -> State[Any]:
    """Look once more, since the answer may have taken long, and then do it."""
    facts = {**found.facts, "to": answer.to or found.decision.to, "comment": answer.comment}
    await note(context, Deed.APPROVED, facts, epoch=found.case.epoch)
    request = replace(found.request, to=answer.to or str(found.decision.to))
    try:
        async with hold(slot_of(context.plan.name), AFTER_AN_ANSWER):
            again = await _decide(context, request, found.case.observations)
            if again.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, again)
            return await switch(context, again.ordered)
    except SlotTaken as error:
        return fell_short("Refused", str(error))
